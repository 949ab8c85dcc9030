"""The file `unit.json`: which unit the store belongs to, as unit.py decides it.

Written whole (atomic.py), and only when there is something new to remember. Wants the store's lock.
"""

from __future__ import annotations

from pathlib import Path

from certstore import layout, records
from certstore.atomic import Disk
from certstore.errors import StoreCorrupt
from certstore.reading import read_file
from certstore.unit import Unit

__all__ = ["Registration"]


class Registration:
    """One store's record. `damaged` says, after `load`, why what is there can't be read."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        """Take the store's folder."""
        self._path = root / layout.UNIT
        self._disk = disk or Disk()
        self._on_disk: Unit | None = None
        self.damaged: StoreCorrupt | None = None

    def load(self) -> Unit | None:
        """Read what is remembered; None where that is nothing."""
        try:
            self._on_disk = Unit.from_json(records.load(read_file(self._path)))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self.damaged = StoreCorrupt(self._path, str(error))
        return self._on_disk

    def save(self, unit: Unit) -> None:
        """Remember it from now on. Raises StoreNotWritable."""
        if unit != self._on_disk:
            self._disk.write(self._path, records.dump(unit.to_json()))
            self._on_disk = unit
