"""Whether watched directories are looked at: a factory reset suspends them, until somebody enables them.

Else certbot's directory would bring the old owner's certificate straight back. The file `suspended.json` says
so, whatever is in it; writing it wants the store's lock, `since` may be read from any thread.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from certstore import layout, records
from certstore.atomic import Disk
from certstore.reading import read_file

__all__ = ["Suspension"]


class Suspension:
    """The file `suspended.json`. `is_on` is as of the last write, or of `load`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._path = root / layout.SUSPENDED
        self._disk = disk
        self.is_on = False

    def load(self) -> None:
        """Look whether the file is there. One that can't be read counts: better silence than the old key."""
        try:
            read_file(self._path)
        except FileNotFoundError:
            self.is_on = False
        except OSError:
            self.is_on = True
        else:
            self.is_on = True

    def begin(self, receipt: str, at: datetime) -> None:
        """Suspend them for good, in the name of the reset with this receipt."""
        self.is_on = True
        self._disk.write(self._path, records.dump({"receipt": receipt, "at": records.moment_text(at)}))

    def end(self) -> bool:
        """Have them looked at again; False where they were."""
        if not self.is_on:
            return False
        self._disk.remove([self._path])
        self.is_on = False
        return True
