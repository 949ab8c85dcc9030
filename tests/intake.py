"""The corpus of files as customers have them (tests/vectors/intake), for the tests that walk through it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from certstore import Candidate

FOLDER = Path(__file__).parent / "vectors" / "intake"


@dataclass(frozen=True)
class Case:
    """One case of the table: `codes` are what decode and assembly find, sorted."""

    name: str
    paths: tuple[Path, ...]
    codes: tuple[str, ...]
    passphrase: str | None

    @property
    def candidate(self) -> Candidate:
        files = tuple((path.name, path.read_bytes()) for path in self.paths)
        return Candidate(files, () if self.passphrase is None else (self.passphrase.encode(),))


@cache
def corpus() -> tuple[Case, ...]:
    """Give all cases, in the order of the table."""
    table = json.loads((FOLDER / "table.json").read_text("utf-8"))
    return tuple(
        Case(
            row["name"],
            tuple(FOLDER / "files" / row["name"] / file for file in row["files"]),
            tuple(sorted(row["codes"])),
            row.get("passphrase"),
        )
        for row in table
    )
