"""Listening sockets that a service manager has opened for us (sd_listen_fds(3)).

Promises: what is given is taken once, by the process that it was meant for, and hidden from children. Refuses
to know which listener of the configuration a socket belongs to: `matching` tells by its address.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence

from tlsproxy.errors import ListenError

__all__ = ["matching", "take_inherited"]

_FIRST = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_ANY = {"::", "0.0.0.0"}  # noqa: S104  a unit's `ListenStream=443` and our `*:443` mean the same


def take_inherited(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Take the sockets that `environment` tells of, which is then told of them no more; none if not for us.

    They are made non-blocking, are not passed on by an exec, and belong to the caller.

    Raises:
        ListenError: one of them is no listening TCP socket.

    """
    pid, count = environment.get("LISTEN_PID", ""), environment.get("LISTEN_FDS", "")
    for variable in _VARIABLES:
        environment.pop(variable, None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return [_adopt(fd) for fd in range(_FIRST, _FIRST + int(count))]


def matching(address: tuple[str, int], sockets: Sequence[socket.socket]) -> tuple[socket.socket, ...]:
    """Give those of `sockets` that are bound to this address (host and port as getsockname has them)."""
    hosts = _ANY if address[0] in _ANY else {address[0]}
    return tuple(s for s in sockets if s.getsockname()[0] in hosts and s.getsockname()[1] == address[1])


def _adopt(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"descriptor {fd}", "the service manager passed no socket there") from error
    sock.set_inheritable(False)
    sock.setblocking(False)
    if not listens or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.close()
        raise ListenError(
            f"descriptor {fd}",
            "the service manager passed something else than a listening TCP socket",
            "in the socket unit use ListenStream= with an address and a port",
        )
    return sock
