"""What of a store must not be in an image that many units are made of: keys, and what would bring one.

Reads only, a whole file system if need be; never a key's content. Promises: what can't be looked at is raised
(OSError), so that silence means that there is nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from certstore import layout

__all__ = ["Leak", "leaks_of", "stores_under"]

# What every store has from its first moment on (premises.py).
_MARKS: Final = frozenset({str(layout.FORMAT), str(layout.BUNDLES), str(layout.GENERATIONS)})


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that every copy would have; `is_error`: a secret, or what becomes one."""

    path: Path
    words: str
    is_error: bool = True


def stores_under(root: Path) -> list[Path]:
    """Find every store below a folder, that folder too; links are not followed. Raises OSError."""
    found = []
    for folder, folders, files in os.walk(root, onerror=_raise):
        if {*folders, *files} >= _MARKS:
            found.append(Path(folder))
            folders.clear()
    return sorted(found)


def leaks_of(store: Path, inbox: Path | None = None) -> Iterator[Leak]:
    """Say what in a store, and in its inbox, must not be copied. Raises OSError."""
    for path in _files(store / layout.BUNDLES):
        if path.name == layout.KEY:
            yield Leak(path, "a private key: every unit that is made of this image would have it")
    for path in _files(store / layout.AUTHORITY):
        yield Leak(path, "a secret of this unit's authority, accounts or requests")
    for path in _files(inbox or store / "inbox"):
        yield Leak(path, "every unit that is made of this image would take this up")
    for name in (layout.UNIT, layout.ACTIVE):
        if (store / name).exists():
            yield Leak(store / name, "this store has been in use: leave it out of the image", is_error=False)


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for inner, folders, files in os.walk(folder, onerror=_raise):
            folders.sort()
            yield from (Path(inner, name) for name in sorted(files))


def _raise(error: OSError) -> NoReturn:
    raise error
