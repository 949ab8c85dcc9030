"""The generations on disk, and which of them is active.

Promises: nothing is kept in memory, since one of 10,000 rows has 5 MB. Reading is safe from any thread;
`put`, `remove` and `point_at` want the store's lock.

Theory. Which bundles and receipts must stay because an old generation names them is asked of twenty files at
a time. So they are not parsed for it (100 ms each): whatever looks like an id counts as named. That may keep
something too long, and never removes a key that is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certstore import layout, records
from certstore.atomic import Disk
from certstore.errors import StoreError
from certstore.generation import Generation
from certstore.reading import read_active, read_generation_numbered

__all__ = ["Archive", "Mentions"]

_BUNDLE_IDS: Final = re.compile(rb"\"([0-9a-f]{64})\"")
_RECEIPT_IDS: Final = re.compile(rb"\"(\d{6,12}-[0-9a-f]{8})\"")


@dataclass(frozen=True, slots=True)
class Mentions:
    """The ids of bundles and of receipts that stand somewhere in a generation."""

    bundles: frozenset[str]
    receipts: frozenset[str]


class Archive:
    """The folder `generations/`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder."""
        self._root = root
        self._disk = disk

    def numbers(self) -> list[int]:
        """Give the numbers of all generations on disk, oldest first."""
        folder = self._root / layout.GENERATIONS
        if not folder.is_dir():
            return []
        return sorted(
            number for path in folder.iterdir() if (number := layout.generation_number(path.name)) is not None
        )

    def generation(self, number: int) -> Generation:
        """Give a generation. Raises NotFound or StoreCorrupt."""
        return read_generation_numbered(self._root, number)

    def newest_readable(self) -> Generation | None:
        """Give the newest generation that can be read, and is no newer than what the active file names."""
        pointed = self.pointed_at()
        for number in reversed(self.numbers()):
            if pointed is None or number <= pointed:
                with suppress(StoreError):
                    return self.generation(number)
        return None

    def mentions(self, number: int) -> Mentions:
        """Give all that a generation may lead to. One that can't be read leads nowhere."""
        try:
            content = (self._root / layout.generation_file(number)).read_bytes()
        except OSError:
            return Mentions(frozenset(), frozenset())
        bundles, receipts = (
            frozenset(word.decode("ascii") for word in words.findall(content))
            for words in (_BUNDLE_IDS, _RECEIPT_IDS)
        )
        return Mentions(bundles, receipts)

    def put(self, generation: Generation) -> None:
        """Write a generation; its number must be new."""
        path = self._root / layout.generation_file(generation.number)
        self._disk.write(path, records.pack(generation.to_json()))

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove generations; those that are gone already don't count."""
        self._disk.remove(self._root / layout.generation_file(number) for number in sorted(numbers))

    def point_at(self, number: int) -> None:
        """Make a generation the active one: the point of no return of every change.

        When this raises, the old one is active still.
        """
        try:
            self._disk.write(self._root / layout.ACTIVE, b"%d\n" % number)
        except StoreError:
            # The rename may have happened, and only the sync of the folder failed: then every reader sees
            # the new number, and so must we. Should a power cut bring the old one back, recovery puts the
            # rest back too.
            if not self.is_active(number):
                raise

    def is_active(self, number: int) -> bool:
        """Look whether the active file names this generation now."""
        return self.pointed_at() == number

    def pointed_at(self) -> int | None:
        """Look which generation the active file names now; None when it can't be read."""
        try:
            return read_active(self._root)
        except StoreError:
            return None
