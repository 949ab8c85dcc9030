"""Snapshots: what was seen in a directory at one moment, as values.

`rescan` makes them, `gathering` reads them. A snapshot holds the contents of the files, private keys among
them, so no `repr` here shows any. It knows nothing about certificates, and it never touches a disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from certstore.findings import Finding

__all__ = ["Entry", "Group", "Identity", "Kind", "Snapshot"]


class Kind(StrEnum):
    """Whose directory it is, which decides what may be done to its files.

    The inbox is ours: all that lies in it is meant for us, is judged, and may be moved. A watched directory
    is somebody else's: only what looks like a certificate or a key is judged, and nothing is ever touched.
    """

    INBOX = "inbox"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file system tells about a file without reading it.

    `ctime_ns` stands here besides the usual four because a program that restores the modification time
    (rsync -t, tar) can change a file in place and leave the others as they were.
    """

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory: its content, or the finding that says why there is none.

    `name` is as the system gave it (undecodable bytes as surrogates), not yet fit to be shown. `seen_at` and
    `read_at` are monotonic seconds: when this identity was first seen, and when the content was last read.
    """

    name: str
    identity: Identity | None
    content: bytes | None = field(repr=False)
    trouble: Finding | None
    seen_at: float
    read_at: float
    digest: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Name the content (or, without one, the trouble) by 64 hex digits."""
        if self.content is not None:
            text = b"content\0" + self.content
        else:
            code = self.trouble.code if self.trouble else ""
            text = f"{code}\0{self.name}\0{self.identity}".encode("utf-8", "surrogateescape")
        object.__setattr__(self, "digest", hashlib.sha256(text).hexdigest())


@dataclass(frozen=True, slots=True)
class Group:
    """A directory whose files may belong together. `path` is its absolute path as text."""

    path: str
    entries: tuple[Entry, ...]
    trouble: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All groups of a watched path; the first one is the path itself.

    Every content was read between `began_at` and `ended_at` (monotonic seconds), so two equal snapshots prove
    that nothing changed from the end of the first to the beginning of the second.
    """

    kind: Kind
    began_at: float
    ended_at: float
    groups: tuple[Group, ...]

    @property
    def trouble(self) -> tuple[Finding, ...]:
        """What keeps whole directories from being read."""
        return tuple(finding for group in self.groups for finding in group.trouble)

    def marks(self) -> Iterator[tuple[tuple[str, str], Entry]]:
        """Go through all entries, each with a key that is its own in the snapshot."""
        for group in self.groups:
            for entry in group.entries:
                yield (group.path, entry.name), entry
