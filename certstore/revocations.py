"""Revocations: which bundles here their authority has taken back, as far as somebody has told the store.

Promises: rows are computed by it from then on, over restarts; it may be taken back. What can't
be read is as if nothing had been told: who watches tells it again. Refuses to know who asks authorities, and
what they say.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from certstore import layout, records
from certstore.atomic import Disk
from certstore.reading import read_file

__all__ = ["Revocations"]


class Revocations:
    """The file `revoked.json`. `table` has bundles' ids; it is swapped whole, and read from any thread."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._path, self._disk = root / layout.REVOKED, disk
        self.table: frozenset[str] = frozenset()
        self.is_owed = False
        """Whether the disk doesn't have yet what is known."""

    def __contains__(self, id_: object) -> bool:
        """Whether this bundle is revoked."""
        return id_ in self.table

    def load(self) -> None:
        """Read what was told before."""
        try:
            told = records.texts(records.load(read_file(self._path)), "bundles")
        except (OSError, ValueError):
            told = ()
        self.table = frozenset(filter(records.is_bundle_id, told))

    def have(self, bundles: Iterable[str]) -> None:
        """Let exactly these be revoked from now on. Raises StoreError; in memory they are all the same."""
        wanted = frozenset(bundles)
        if wanted == self.table and not self.is_owed:
            return
        self.know(wanted)
        if wanted:
            self._disk.write(self._path, records.dump({"bundles": sorted(wanted)}))
        else:
            self._disk.remove([self._path])
        self.is_owed = False

    def know(self, bundles: Iterable[str]) -> None:
        """Let exactly these be revoked, in memory only."""
        self.table, self.is_owed = frozenset(bundles), True
