"""The key log: the secrets of sessions, for who looks with Wireshark into what they carry.

Promises: nothing is written but to the file that was opened, in lines as SSLKEYLOGFILE has them (RFC 9850),
each whole. Refuses to know who may want that (`unsafe_key_log`).

Theory. Whoever has this file and a recording reads everything. It must therefore be a plain file at the very
path that was named, never what a link leads to, and its owner's alone. A worker opens it before its fence,
which then leaves room for this one file; Python's `ssl` opens it again by itself for each context, by a path
below /proc that leads to the same file and to no other.
"""

from __future__ import annotations

import os

__all__ = ["KeyLog"]


class KeyLog:
    """A key log, by a descriptor that stays open as long as the process lives."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def path(self) -> str:
        """Where this process can open it again."""
        return f"/proc/self/fd/{self._fd}"

    def write(self, line: bytes) -> None:
        """Append a line, which has no end yet. Raises OSError."""
        os.write(self._fd, line + b"\n")
