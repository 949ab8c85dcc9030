"""Write, sync, rename, sync the folder: the only caller of rename and fsync.

Theory. A reader, a crash and a power cut may come between any two system calls. What must hold then:

- *Nobody sees half a file.* Content goes to a name that no reader looks at (`.new-...`), and a rename, which
  POSIX makes atomic, gives it its real name. A folder of files (a key and its chain) is renamed as one, so
  that a key is never seen beside another's certificate.
- *A name never points at data that isn't there yet.* Renames can reach the disk before the data does (ext4's
  delayed allocation: the zero-length files of 2009), so the data is synced first, then renamed.
- *What was reported done stays done.* The rename lives in the folder, so the folder is synced after it. Only
  then does a call return.
- *A failed write leaves the old file.* The half-written one is removed; if that fails too, the next start
  does.

Every step is announced to `before` first, so that tests can stop, fail or cut the power at each of them. All
that goes wrong with the disk leaves this room as `StoreNotWritable`. No locking here: whoever holds the
store's lock is the only writer.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from certstore.errors import StoreNotWritable
from certstore.layout import ASIDE, aside

__all__ = ["Before", "Disk"]

# (step, path): create, write, sync, rename, sync_folder, mkdir, unlink, rmdir, rmtree, and to what it is done
Before = Callable[[str, Path], None]

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


def _undisturbed(step: str, path: Path) -> None:
    """Let every step happen."""


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreNotWritable(path, error.strerror or str(error)) from error


class Disk:
    """A folder tree that changes in whole steps only. Holds nothing open."""

    def __init__(self, before: Before = _undisturbed) -> None:
        """Take what is called before each step; whatever it raises happens instead of the step."""
        self._before = before

    def write(self, path: Path, content: bytes, aside_in: Path | None = None) -> None:
        """Make `path` (mode 0600) hold exactly `content`: after a crash it is the old file or this one.

        aside_in: where it is written first, if no start looks for leftovers in its own folder.
        When this raises, the old content is almost always still there: but where the sync of the folder was
        what failed, the new one is visible already and may or may not survive a power cut.
        """
        new = (aside_in or path.parent) / aside(path.name)
        with _disk_errors(path):
            try:
                self._fill(new, content)
                self._rename(new, path)
            except BaseException:
                with suppress(OSError):
                    self._unlink(new)
                raise
            self._sync_folder(path.parent)

    def place_folder(self, path: Path, files: Mapping[str, bytes]) -> None:
        """Make the folder `path` (0700) with these files (0600), all or nothing. It must not exist yet."""
        new = path.with_name(aside(path.name))
        with _disk_errors(path):
            try:
                if new.exists():  # left by a failure whose cleaning failed too
                    self._erase(new)
                self._mkdir(new)
                for name, content in files.items():
                    self._fill(new / name, content)
                self._sync_folder(new)
                self._rename(new, path)
            except BaseException:
                with suppress(OSError):
                    self._erase(new)
                raise
            self._sync_folder(path.parent)

    def make_folder(self, path: Path) -> None:
        """Make a folder (0700) unless it is there; its parent must be."""
        with _disk_errors(path):
            if not path.is_dir():
                self._mkdir(path)
                self._sync_folder(path.parent)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files; those that are gone already don't count. One sync per folder, at the end."""
        folders: dict[Path, None] = {}
        for path in paths:
            with _disk_errors(path), suppress(FileNotFoundError):
                self._unlink(path)
                folders[path.parent] = None
        for folder in folders:
            with _disk_errors(folder):
                self._sync_folder(folder)

    def remove_folder(self, path: Path) -> None:
        """Remove a folder and its files, so that nobody ever sees it with some of them missing."""
        gone = path.with_name(aside(path.name))
        with _disk_errors(path):
            if gone.exists():
                self._erase(gone)
            try:
                self._rename(path, gone)
            except FileNotFoundError:
                return
            self._sync_folder(path.parent)
            self._erase(gone)

    def empty(self, folder: Path) -> None:
        """Remove all that lies in a folder, but not the folder; no link in it is followed.

        Whoever may write there (an inbox) can't lead this elsewhere. What can't be removed keeps nothing
        else, and is raised at the end. Does nothing where there is no such folder.
        """
        failures: list[OSError] = []
        with _disk_errors(folder):
            if not folder.is_dir():
                return
            inside = sorted(folder.iterdir())
            for path in inside:
                try:
                    self._uproot(path)
                except OSError as error:
                    failures.append(error)
            if inside:
                self._sync_folder(folder)
            for failure in failures:
                raise failure

    def move(self, old: Path, new: Path) -> None:
        """Give a file, link or folder another place on the same file system, and sync both folders.

        Replaces a file that lies there. A symbolic link is moved, not what it leads to.
        """
        with _disk_errors(old):
            self._rename(old, new)
            self._sync_folder(new.parent)
            self._sync_folder(old.parent)

    def clear_aside(self, folder: Path) -> None:
        """Remove what a crash left half done in this folder. Only under the store's lock."""
        with _disk_errors(folder):
            for path in sorted(folder.glob(f"{ASIDE}*")):
                self._erase(path)

    def _fill(self, path: Path, content: bytes) -> None:
        self._before("create", path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, _FILE_MODE)
        try:
            self._before("write", path)
            rest = memoryview(content)
            while rest:  # a nearly full disk takes a part, and refuses the next one
                rest = rest[os.write(descriptor, rest) :]
            self._before("sync", path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _rename(self, old: Path, new: Path) -> None:
        self._before("rename", new)
        old.rename(new)

    def _mkdir(self, path: Path) -> None:
        self._before("mkdir", path)
        path.mkdir(mode=_FOLDER_MODE, exist_ok=True)

    def _unlink(self, path: Path) -> None:
        self._before("unlink", path)
        path.unlink()

    def _sync_folder(self, folder: Path) -> None:
        self._before("sync_folder", folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # some network and FUSE file systems can't sync a folder and say so; theirs is to keep the order
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)

    def _uproot(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            self._before("rmtree", path)
            try:
                shutil.rmtree(path)  # by descriptors, so that nobody swaps a folder for a link meanwhile
            except RecursionError as error:
                raise OSError(errno.ELOOP, "folders are nested too deeply", path) from error
        else:
            with suppress(FileNotFoundError):
                self._unlink(path)

    def _erase(self, path: Path) -> None:
        """Remove a file, or a folder of files. Not synced: what comes back is removed at the next start."""
        if path.is_dir() and not path.is_symlink():
            for inner in sorted(path.iterdir()):
                self._unlink(inner)
            self._before("rmdir", path)
            path.rmdir()
        else:
            self._unlink(path)
