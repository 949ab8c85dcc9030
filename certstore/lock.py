"""One holder per store at a time, across processes.

An advisory lock (flock) on the store's `lock` file. The kernel lets go of it when its holder dies, however
it dies, so there is no stale lock to reason about. The file's text only tells people who holds it, and is
never trusted. flock belongs to the open file: a second `Store` in the same process is shut out like any
other.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from certstore.errors import StoreLocked, StoreNotWritable

__all__ = ["Lock"]

_LOOK_AGAIN_S = 0.02
_NOTE_BYTES = 200


class Lock:
    """A held lock; whoever acquired it releases it. `descriptor` is -1 once it is released."""

    def __init__(self, descriptor: int) -> None:
        """Take over an open, locked file. Use `acquire`."""
        self.descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path, note: str, wait_s: float = 0.0) -> Lock:
        """Lock the file `path`, made if absent, and write `note` (who holds it) into it.

        Waits up to `wait_s` (blocking the thread), then raises StoreLocked with the holder's note. Raises
        StoreNotWritable where the file can't be opened or the file system knows no locks.
        """
        try:
            descriptor = _open(path)
        except OSError as error:
            raise StoreNotWritable(path, error.strerror or str(error)) from error
        try:
            _wait_for(descriptor, path, time.monotonic() + wait_s)
            # for people only: a full or read-only disk must not keep us from serving
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, note.encode()[:_NOTE_BYTES], 0)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def is_at(self, path: Path) -> bool:
        """Say whether the file at `path` is the one that is locked: not removed, nor replaced since."""
        try:
            ours, there = os.fstat(self.descriptor), os.lstat(path)
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def release(self) -> None:
        """Let go; again does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        # a store on a read-only file system can still be held, and served; if this fails too, it says why
        return os.open(path, flags | os.O_RDONLY)


def _wait_for(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StoreLocked(path.parent, _holder(descriptor)) from None
            time.sleep(_LOOK_AGAIN_S)
        except OSError as error:
            raise StoreNotWritable(path, f"it can't be locked: {error.strerror}") from error
        else:
            return


def _holder(descriptor: int) -> str:
    note = os.pread(descriptor, _NOTE_BYTES, 0).decode("utf-8", "replace").strip()
    return note if note and note.isprintable() else "another process"
