"""Listening sockets: from an address as a person writes it to sockets that are bound and listening.

Promises: `[::]:443` and `*:443` listen on both families; a name such as `localhost` listens on every address
that it has, on one port; each address has as many sockets as are asked for, a reuse-port group. All of a
listener's sockets are opened, or none. Refuses to know what is spoken on them.

Theory. SO_REUSEPORT lets any process of the same user join a group, silently: two proxies started by mistake
for one port would share its connections. So a socket without it is bound first, as a question: Linux refuses
it while anybody listens there. It is closed again before the group is opened (a socket that gets the option
only after it was bound doesn't become part of the group: tried).
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from tlsproxy import policy
from tlsproxy.errors import ListenError
from tlsproxy.net.stream import set_keepalive

__all__ = ["Group", "addresses_of", "open_listeners", "widen"]

Group = tuple[socket.socket, ...]
"""The sockets of one address; connections are spread over them by the kernel."""

_ANY = ("", "*", "::")
# Between two looks whether a taken port has become free.
_LOOK_AGAIN_S = 0.02


def open_listeners(host: str, port: int, size: int = 1) -> list[Group]:
    """Bind and listen on every address of `host` with `size` sockets each; port 0 takes a free one for all.

    The sockets are non-blocking and belong to the caller, who closes them. A taken port is asked for again
    for `policy.LISTEN_PATIENCE_S` (blocking).

    Raises:
        ListenError: an address can't be resolved, is taken, isn't ours, or needs a privilege that we lack.

    """
    opened: list[Group] = []
    try:
        for family, address in _resolve(host, port):
            taken = opened[0][0].getsockname()[1] if opened and not port else port
            wanted = (address[0], taken, *address[2:])
            opened.append(_open_group(family, wanted, size, dual_stack=host in _ANY))
    except OSError as error:
        for group in opened:
            _close(group)
        raise ListenError(_shown(host, port), *_why(error)) from error
    return opened


def widen(group: Group, size: int) -> Group:
    """Give a group with `size` sockets at least, opening what is missing; the caller owns them all.

    One that systemd opened without ReusePort= stays as it is. Raises ListenError.
    """
    first = group[0]
    if not first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        return group
    address = first.getsockname()
    dual = first.family == socket.AF_INET6 and not first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    more: list[socket.socket] = []
    try:
        while len(group) + len(more) < size:
            more.append(_open(first.family, address, dual_stack=dual))
    except OSError as error:
        _close(more)
        raise ListenError(_shown(address[0], address[1]), *_why(error)) from error
    return (*group, *more)


def addresses_of(host: str, port: int) -> list[tuple[str, int]]:
    """Give where a listener is to be bound, as `getsockname` will tell it. Raises ListenError."""
    try:
        return [(address[0], address[1]) for _, address in _resolve(host, port)]
    except OSError as error:
        raise ListenError(_shown(host, port), *_why(error)) from error


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


def _open_group(
    family: socket.AddressFamily, address: tuple[Any, ...], size: int, *, dual_stack: bool
) -> Group:
    if address[1]:
        _wait_free(family, address, dual_stack=dual_stack)
    opened: list[socket.socket] = []
    try:
        while len(opened) < size:
            opened.append(_open(family, address, dual_stack=dual_stack))
            address = (address[0], opened[0].getsockname()[1], *address[2:])
    except BaseException:
        _close(opened)
        raise
    return tuple(opened)


def _wait_free(family: socket.AddressFamily, address: tuple[Any, ...], *, dual_stack: bool) -> None:
    """Wait until nobody else listens at `address` (see the theory above). Raises OSError."""
    deadline = time.monotonic() + policy.LISTEN_PATIENCE_S
    while True:
        with _socket(family, dual_stack=dual_stack) as question:
            try:
                question.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                    raise
            else:
                return
        time.sleep(_LOOK_AGAIN_S)


def _open(family: socket.AddressFamily, address: tuple[Any, ...], *, dual_stack: bool) -> socket.socket:
    sock = _socket(family, dual_stack=dual_stack)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Linux hands these on to every connection accepted here, which saves each of them the calls: answers
        # leave at once, and the kernel finds out about clients that vanished from an event stream.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_keepalive(sock)
        sock.bind(address)
        sock.listen(policy.LISTEN_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _socket(family: socket.AddressFamily, *, dual_stack: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # Without it a restart fails for a minute while old connections linger in TIME-WAIT.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
    return sock


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


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
        "it may be this proxy, running already; see who has that address: ss -ltnp; or name another",
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
