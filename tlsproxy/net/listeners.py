"""Listening sockets: from an address as a person writes it to sockets that are bound and listening.

Promises: `[::]:443` and `*:443` listen on both families; a name such as `localhost` listens on every address
that it has, on one port. All of a listener's sockets are opened, or none. Refuses to know what is spoken on
them.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from tlsproxy import policy
from tlsproxy.errors import ListenError
from tlsproxy.net.stream import set_keepalive

_ANY = ("", "*", "::")


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Bind and listen on every address of `host`; port 0 takes a free one, the same for each of them.

    The sockets are non-blocking and belong to the caller, who closes them.

    Raises:
        ListenError: an address can't be resolved, is taken, isn't ours, or needs a privilege that we lack.

    """
    opened: list[socket.socket] = []
    try:
        for family, address in _resolve(host, port):
            wanted = (address[0], opened[0].getsockname()[1] if opened and not port else port, *address[2:])
            opened.append(_open(family, wanted, dual_stack=host in _ANY))
    except OSError as error:
        for sock in opened:
            sock.close()
        raise ListenError(_shown(host, port), *_why(error)) from error
    return opened


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    if host in _ANY:
        if _has_ipv6():
            return [(socket.AF_INET6, ("::", port, 0, 0))]
        return [(socket.AF_INET, ("0.0.0.0", port))]  # noqa: S104  # what `*` asks for
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    families: list[tuple[socket.AddressFamily, tuple[Any, ...]]] = [
        (family, address) for family, _, _, _, address in found
    ]
    usable = [(f, a) for f, a in dict.fromkeys(families) if f != socket.AF_INET6 or _has_ipv6()]
    return usable or families


def _open(family: socket.AddressFamily, address: tuple[Any, ...], *, dual_stack: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Without it a restart fails for a minute while old connections linger in TIME-WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Linux hands these on to every connection accepted here, which saves each of them the calls: answers
        # leave at once, and the kernel finds out about clients that vanished from an event stream.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_keepalive(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        sock.bind(address)
        sock.listen(policy.LISTEN_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return os.path.exists("/proc/net/if_inet6") or not os.path.exists("/proc/net")  # noqa: PTH110  # one question each


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"


# By errno: the reason in words, and what to do about it.
_REASONS = {
    errno.EADDRINUSE: (
        "another program listens there",
        "name another address, or see who has this one: ss -ltnp",
    ),
    errno.EACCES: (
        "ports below 1024 need a privilege",
        "take a higher port, or give the service AmbientCapabilities=CAP_NET_BIND_SERVICE",
    ),
    errno.EADDRNOTAVAIL: ("this machine has no such address", "see which it has: ip address"),
    socket.EAI_NONAME: (
        "no address is known for that name",
        "name an address, or mend the name's resolution",
    ),
}


def _why(error: OSError) -> tuple[str, str]:
    unknown = ((error.strerror or str(error)).lower(), "")
    return _REASONS.get(error.errno or 0, unknown)
