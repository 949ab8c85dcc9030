"""Quarantine: where the inbox's refused files go, `.refused/<receipt>/`, and for how long.

A refused file would otherwise be looked at for ever, and its key would lie about. It promises that nothing
but the file that was judged is moved: one that was replaced meanwhile stays, and is a new arrival. It
decides nothing; it does as the inbox says.

What could go wrong, and why it is done this way:

- *Others may write to the inbox* (group-writable, sticky). One of them could put a symlink named `.refused`
  there, and have keys moved to where he reads them. So the folder must be a real one and our own, else
  nothing is moved.
- *A key is readable to others*. The folder is 0700, so it is safe as soon as it is moved; files are made
  0600 after that, by descriptor and never through a link: a file with a second name somewhere else keeps
  its mode, for somebody may rely on it there (/etc/passwd, where the proxy runs as root).
- *The clock is wrong.* Age is only judged when the clock is plausible; a folder from before the software
  was built gets today's date instead of being removed.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from certstore.atomic import Disk
from certstore.errors import StoreError
from certstore.findings import Finding, found
from certstore.firstboot import BUILD_DATE
from certstore.rescan import identity_of
from certstore.snapshot import Entry

__all__ = ["KEPT", "KEPT_FOR", "Quarantine"]

KEPT_FOR = timedelta(days=7)
KEPT = 100  # a configuration manager that pushes other rubbish each minute must not fill the flash

_FOLDER = ".refused"


class Quarantine:
    """The folder `.refused` of one inbox. Blocking."""

    def __init__(self, inbox: Path) -> None:
        """Take the inbox; the folder is made when something has to go there."""
        self._inbox = inbox
        self._folder = inbox / _FOLDER
        self._disk = Disk()

    def take(self, receipt: str, entries: Iterable[Entry]) -> Finding | None:
        """Move these files to the folder of their receipt; say what kept one of them where it is."""
        trouble: Finding | None = None
        for entry in entries:
            try:
                if self._is_unchanged(entry):
                    self._take(receipt, entry)
            except (OSError, StoreError) as error:
                trouble = found("quarantine_failed", path=self._inbox, why=error)
        return trouble

    def prune(self, now: datetime) -> None:
        """Remove what is older than `KEPT_FOR`, and the oldest beyond `KEPT`. `now` must be plausible.

        Where the folder can't be read (no descriptor left, a disk that fails) nothing is removed.
        """
        try:
            inside = tuple(self._folder.iterdir()) if self._is_ours() else ()
        except OSError:
            return
        folders = []
        for folder in inside:
            with suppress(OSError):
                at = folder.lstat().st_mtime
                if at < BUILD_DATE.timestamp():
                    at = now.timestamp()
                    os.utime(folder, (at, at), follow_symlinks=False)
                folders.append((at, folder))
        folders.sort(reverse=True)
        for place, (at, folder) in enumerate(folders):
            if place >= KEPT or now.timestamp() - at > KEPT_FOR.total_seconds():
                shutil.rmtree(folder, ignore_errors=True)

    def _is_unchanged(self, entry: Entry) -> bool:
        path = self._inbox / entry.name
        try:
            identity = identity_of(path.stat())
        except OSError:  # a loop or a dangling link had no identity when it was judged either
            return entry.identity is None and path.is_symlink()
        return identity == entry.identity

    def _take(self, receipt: str, entry: Entry) -> None:
        if not self._is_ours():
            self._disk.make_folder(self._folder)
            if not self._is_ours():
                raise PermissionError(f"{_FOLDER} is not a directory of our own")
        folder = self._folder / receipt
        self._disk.make_folder(folder)
        self._disk.move(self._inbox / entry.name, folder / entry.name)
        with suppress(OSError):  # somebody else's file in a directory that only we can enter
            _close_to_others(folder / entry.name)

    def _is_ours(self) -> bool:
        try:
            status = self._folder.lstat()
        except OSError:
            return False
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            return False
        if status.st_mode & 0o077:
            self._folder.chmod(0o700)
        return True


def _close_to_others(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            os.fchmod(descriptor, 0o700)
        elif status.st_nlink == 1:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
