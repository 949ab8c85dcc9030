"""Bans: keys that are never served again, because others may have them; and the reasons why one leaves.

`Bans` is the folder `banned/`, a file for each key, named by the SHA-256 of its SPKI. Promises: a ban counts
from the generation on that it came with, whatever stops us in between; what is in its file may be damaged,
its name bans all the same. Nothing here lifts a ban. Refuses to know whose keys they are.

Theory. A ban is written before the generation that it belongs to becomes active. Were it in force by that
alone, a crash in between would take away a certificate whose successor was never served, and a device would
greet its owner with a stranger's face after a power cut. So it names that generation, and means nothing
while an older one is active; the next start removes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from certstore import layout, records
from certstore.atomic import Disk
from certstore.reading import read_file

__all__ = ["Ban", "Bans", "Reason", "is_spki", "read_bans"]

_SPKI: Final = re.compile(r"[0-9a-f]{64}")


class Reason(StrEnum):
    """Why a certificate leaves, in the words of RFC 5280 section 5.3.1."""

    SUPERSEDED = "superseded"
    CESSATION = "cessation-of-operation"
    KEY_COMPROMISE = "key-compromise"

    @property
    def bans(self) -> bool:
        """Whether its key may never be served again."""
        return self is Reason.KEY_COMPROMISE

    @property
    def ends(self) -> bool:
        """Whether what was begun with it ends."""
        return self is not Reason.SUPERSEDED


@dataclass(frozen=True, slots=True)
class Ban:
    """A key that is never served again: its SPKI's SHA-256 in lower-case hex, since when, and by which way.

    since: the number of the generation that it came with; 0 where its file can't be read. at: None there.
    """

    spki: str
    since: int
    at: datetime | None
    via: str

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads, and what is shown."""
        at = records.moment_text(self.at) if self.at is not None else None
        return {"spki": self.spki, "since": self.since, "at": at, "via": self.via}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Ban:
        """Read what `to_json` made; ValueError for anything else."""
        return cls(
            spki=records.text(data, "spki"),
            since=records.number(data, "since"),
            at=records.optional(records.moment, data, "at"),
            via=records.text(data, "via"),
        )


def is_spki(text: str) -> bool:
    """Whether this is the SHA-256 of a key, in lower-case hex."""
    return _SPKI.fullmatch(text) is not None


def read_bans(root: Path, active: int | None) -> tuple[list[Ban], list[Ban]]:
    """Read the bans that count while generation `active` is served (None: unknown), and those that don't."""
    counting: list[Ban] = []
    void: list[Ban] = []
    folder = root / layout.BANNED
    for path in sorted(folder.glob("[!.]*.json")) if folder.is_dir() else ():
        if is_spki(path.stem):
            ban = _read(path)
            (counting if active is None or ban.since <= active else void).append(ban)
    return counting, void


def _read(path: Path) -> Ban:
    try:
        ban = Ban.from_json(records.load(read_file(path)))
        if ban.spki != path.stem:
            raise ValueError("it is another key's")  # noqa: TRY301  one way to tell damage
    except (OSError, ValueError):
        return Ban(path.stem, 0, None, "")
    return ban


class Bans:
    """The folder `banned/`. `table` is by SPKI hash; it is swapped whole, and read from any thread."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._root, self._disk = root, disk
        self._void: tuple[Ban, ...] = ()
        self.table: Mapping[str, Ban] = MappingProxyType({})

    def __contains__(self, spki: object) -> bool:
        """Whether this key is banned."""
        return spki in self.table

    def load(self, active: int | None) -> None:
        """Read those that count while generation `active` is served; None: all do."""
        counting, void = read_bans(self._root, active)
        self._void = tuple(void)
        self.table = MappingProxyType({ban.spki: ban for ban in counting})

    def sweep(self) -> None:
        """Remove those that came with a generation which was never served. Raises StoreError."""
        self.lift(self._void)
        self._void = ()

    def put(self, ban: Ban) -> None:
        """Write a ban; it is in force from now on. Raises StoreError."""
        self._disk.write(self._path(ban), records.dump(ban.to_json()))
        self.table = MappingProxyType({**self.table, ban.spki: ban})

    def lift(self, bans: Iterable[Ban]) -> None:
        """Take back bans whose change was not carried out. In memory also where the disk fails."""
        gone = {ban.spki: ban for ban in bans}
        self.table = MappingProxyType({spki: ban for spki, ban in self.table.items() if spki not in gone})
        self._disk.remove(self._path(ban) for ban in gone.values())

    def _path(self, ban: Ban) -> Path:
        return self._root / layout.ban_file(ban.spki)
