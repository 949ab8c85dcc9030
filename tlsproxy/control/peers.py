"""Who is at the other end of a connection to the control socket, and whether it may ask.

Promises: what is known of a peer is what the kernel says (SO_PEERCRED, unix(7)), never what the peer says;
it is as the peer was when it connected. root and the proxy's own user may always ask; others by their user,
their group or any further group of theirs. Refuses to know what is asked.
"""

from __future__ import annotations

import ctypes
import errno
import grp
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from tlsproxy.observe.log import logger
from tlsproxy.privilege.libc import call

__all__ = ["Access", "Peer", "peer_of"]

_log = logger("control")
# socket(7) of Linux since 4.13; Python has no name for it.
_SO_PEERGROUPS = 59
# Python's getsockopt takes no more than this at once, 256 groups; some people are in more.
_AT_ONCE_BYTES = 1_024
_MOST_GROUPS = 65_536  # NGROUPS_MAX


@dataclass(frozen=True, slots=True)
class Peer:
    """A process that has connected: its ids, and all groups that it is in."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


class _Socket(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...

    def fileno(self) -> int: ...


def peer_of(sock: _Socket) -> Peer:
    """Ask the kernel who connected. Raises OSError."""
    pid, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid, gid, frozenset({gid, *_groups_of(sock)}))


def _groups_of(sock: _Socket) -> Iterable[int]:
    packed = b""
    with suppress(OSError):  # an older kernel: then its main group is all that we know
        try:
            packed = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _AT_ONCE_BYTES)
        except OSError as error:
            if error.errno != errno.ERANGE:
                raise
            packed = _all_groups_of(sock)
    return (gid for (gid,) in struct.iter_unpack("I", packed))


def _all_groups_of(sock: _Socket) -> bytes:
    packed = ctypes.create_string_buffer(4 * _MOST_GROUPS)
    size = ctypes.create_string_buffer(struct.pack("I", len(packed)), 4)
    call("getsockopt", sock.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, packed, size)
    return packed.raw[: struct.unpack("I", size.raw)[0]]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, beside root and ourselves; the mode of the socket's file, and its group where given."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    mode: int = 0o660
    own: int = field(default_factory=os.geteuid)

    @classmethod
    def of(cls, users: Iterable[str], groups: Iterable[str], mode: int) -> Access:
        """Look the names up; one that the system doesn't know is logged, and nobody gets in by it."""
        return cls(
            _looked_up(users, "user", lambda name: pwd.getpwnam(name).pw_uid),
            _looked_up(groups, "group", lambda name: grp.getgrnam(name).gr_gid),
            mode,
        )

    def admits(self, peer: Peer) -> bool:
        """Say whether this peer may ask."""
        return self.is_owner(peer) or peer.uid in self.uids or not self.gids.isdisjoint(peer.groups)

    def is_owner(self, peer: Peer) -> bool:
        """Say whether it is root, or the proxy's own user."""
        return peer.uid in {0, self.own}


def _looked_up(names: Iterable[str], kind: str, find: Callable[[str], int]) -> frozenset[int]:
    found = set()
    for name in names:
        try:
            found.add(int(name) if name.isascii() and name.isdigit() else find(name))
        except KeyError:
            hint = f"make the {kind}, or mend [control] {kind}s in the configuration; then reload"
            _log.warning(f"control_{kind}_unknown", name=name, hint=hint)
    return frozenset(found)
