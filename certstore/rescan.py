"""Rescan: read a directory of somebody else's files into a snapshot.

Blocking, so callers use a thread. It promises to end whatever lies there: nothing that could block or have
an effect is opened (a FIFO, a device), nothing is read beyond its limit, and what can't be read becomes a
finding, never an exception. It refuses to know what a certificate is.

What could go wrong, and why it is done this way:

- *The directory is swapped while it is read* (a symlink put over another one): all names are looked up from
  one open directory, so a group never mixes two of them. Kubernetes swaps `..data` *inside* the directory:
  there two files can come from two versions, and only the next, equal snapshot proves that they did not.
- *A file is changed within one tick of the file system's clock* after it was read, with the same size: its
  identity stays the same (git calls this "racily clean"). So an identity is trusted only when the content
  was read again `TRUST_S` after that identity was first seen; a young file is simply read again.
- *A symlink in the inbox points anywhere* (at /etc/shadow, at the store's own keys): it is followed,
  because swapping symlinks is a common way to deliver. Its content goes nowhere but into a candidate, and
  no finding quotes it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from certstore.findings import Finding, found
from certstore.snapshot import Entry, Group, Identity, Kind, Snapshot

__all__ = ["MAX_ENTRIES", "MAX_FILE_BYTES", "MAX_GROUPS", "TRUST_S", "identity_of", "read_snapshot"]

MAX_FILE_BYTES = 1 << 20  # a long chain with its key has 20 KB; a bundle of all public roots 230 KB
MAX_ENTRIES = 500  # certbot keeps five names a certificate; more is a directory that was not meant
MAX_GROUPS = 200  # certificates of one certbot
# All contents of a snapshot, which are kept from one look to the next: two hundred certificates of certbot
# have 5 MB, and five hundred files of the largest size would be 500 MB of a device's memory.
MAX_HELD_BYTES = 16 << 20
TRUST_S = 2.5  # the coarsest clock still in use is FAT's, 2 s

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read_snapshot(
    path: PurePath, kind: Kind, before: Snapshot | None = None, clock: Callable[[], float] = time.monotonic
) -> Snapshot:
    """Read what is in `path` now; contents that `before` holds are taken from it where that is safe.

    Hidden names are left out: they are other programs' temporary files, Kubernetes' machinery and our own
    `.refused`. The sub-directories of a watched path are groups of their own (certbot's `live/`), one deep;
    in the inbox a directory is an entry with the finding `is_directory`. `clock` gives monotonic seconds.
    """
    began = clock()
    known = (
        {group.path: {entry.name: entry for entry in group.entries} for group in before.groups}
        if before
        else {}
    )
    top = os.path.abspath(path)  # noqa: PTH100  names may hold undecodable bytes: plain text all the way
    room = _Room(MAX_HELD_BYTES)
    first, inner = _read_group(top, kind, _Before(known.get(top, {}), began, room))
    groups = [first]
    if kind is Kind.WATCH:
        for name in inner[:MAX_GROUPS]:
            path_inside = f"{top.rstrip('/')}/{name}"
            group, _ = _read_group(path_inside, kind, _Before(known.get(path_inside, {}), began, room))
            if not any(one.code == "path_missing" for one in group.trouble):  # removed between two looks
                groups.append(group)
        if len(inner) > MAX_GROUPS:
            groups.append(Group(top, (), (found("directory_too_full", path=top, limit=MAX_GROUPS),)))
    return Snapshot(kind, began, clock(), tuple(groups))


def identity_of(status: os.stat_result) -> Identity:
    """Take from a stat result what tells one state of a file from another."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(slots=True)
class _Room:
    """How many bytes of contents a snapshot may still take in."""

    left: int

    def has_for(self, status: os.stat_result | OSError) -> bool:
        """Say whether a file with this status fits; what isn't read at all always does."""
        if isinstance(status, OSError) or not stat.S_ISREG(status.st_mode):
            return True
        return status.st_size > MAX_FILE_BYTES or status.st_size <= self.left


@dataclass(frozen=True, slots=True)
class _Before:
    """What the reading of a group begins with: what is known of it, the time, the room for contents."""

    known: Mapping[str, Entry]
    now: float
    room: _Room


def _read_group(path: str, kind: Kind, before: _Before) -> tuple[Group, list[str]]:
    """Read one directory; give it and the names of its sub-directories (of a watched one)."""
    try:
        directory = os.open(path, _DIRECTORY)
    except OSError as error:
        return Group(path, (), (_why_no_directory(path, error),)), []
    entries: list[Entry] = []
    inner: list[str] = []
    trouble: tuple[Finding, ...] = ()
    try:
        names = sorted(name for name in os.listdir(directory) if name[0] != ".")  # noqa: PTH208  a descriptor
        if kind is Kind.INBOX and len(names) > MAX_ENTRIES:
            names = sorted(names, key=partial(_changed_at, directory), reverse=True)
        for name in names:
            status = _status(directory, name)
            if isinstance(status, os.stat_result) and stat.S_ISDIR(status.st_mode) and kind is Kind.WATCH:
                inner.append(name)
            elif status is None:
                continue
            elif len(entries) == MAX_ENTRIES or not before.room.has_for(status):
                trouble = (found("directory_too_full", path=path, limit=len(entries)),)
            else:
                entry = _entry(directory, name, status, before.known.get(name), before.now)
                before.room.left -= len(entry.content or b"")
                entries.append(entry)
    except OSError as error:  # the listing itself: the directory's disk or server is failing
        trouble = (_why_no_directory(path, error),)
    finally:
        os.close(directory)
    entries.sort(key=lambda entry: entry.name)
    return Group(path, tuple(entries), trouble), inner


def _changed_at(directory: int, name: str) -> int:
    """Tell when a name was put there, or changed last: of too many the newest are looked at."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_ctime_ns
    except OSError:
        return 0


def _why_no_directory(path: str, error: OSError) -> Finding:
    if error.errno == errno.ENOENT:
        return found("path_missing", path=path)
    if error.errno == errno.ENOTDIR:
        return found("not_a_directory", path=path)
    return found("directory_unreadable", path=path, why=_words(error))


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "unknown reason"


def _status(directory: int, name: str) -> os.stat_result | OSError | None:
    """Look at what the name leads to; None when the name itself is gone."""
    try:
        return os.stat(name, dir_fd=directory)
    except OSError as error:
        try:
            os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError:
            return error
        return error


def _entry(
    directory: int, name: str, status: os.stat_result | OSError, before: Entry | None, now: float
) -> Entry:
    if isinstance(status, OSError):
        return _faulty(name, None, _why_no_file(name, status), before, now)
    identity = identity_of(status)
    same = before is not None and before.identity == identity
    if before and same and before.content is not None and before.read_at - before.seen_at >= TRUST_S:
        return before
    content = _content(directory, name, status)
    if isinstance(content, Finding):
        return _faulty(name, identity, content, before, now)
    return Entry(name, identity, content, None, before.seen_at if before and same else now, now)


def _content(directory: int, name: str, status: os.stat_result) -> bytes | Finding:
    if stat.S_ISDIR(status.st_mode):
        return found("is_directory", file=name)
    content = None
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES:
        try:
            content = _read(directory, name)
        except OSError as error:
            return _why_no_file(name, error)
    if status.st_size > MAX_FILE_BYTES or (content and len(content) > MAX_FILE_BYTES):
        return found("file_too_large", file=name, limit=MAX_FILE_BYTES)
    return found("not_a_file", file=name) if content is None else content


def _read(directory: int, name: str) -> bytes | None:
    """Read one byte more than may be there at most; None when it is no plain file any more.

    The identity was taken before the reading: a change in between gives the next snapshot another one.
    """
    descriptor = os.open(name, _FILE, dir_fd=directory)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123  a descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        parts = bytearray()
        while len(parts) <= MAX_FILE_BYTES:
            part = file.read(MAX_FILE_BYTES + 1 - len(parts))
            if not part:
                break
            parts += part
        return bytes(parts)


def _why_no_file(name: str, error: OSError) -> Finding:
    if error.errno == errno.ELOOP:
        return found("symlink_loop", file=name)
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return found("symlink_dangling", file=name)
    return found("file_unreadable", file=name, why=_words(error))


def _faulty(
    name: str, identity: Identity | None, trouble: Finding, before: Entry | None, now: float
) -> Entry:
    """Make an entry without content; one that is as it was before stays as old as it was."""
    entry = Entry(name, identity, None, trouble, now, now)
    return before if before is not None and before.digest == entry.digest else entry
