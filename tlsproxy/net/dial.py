"""Dialling: an address becomes a connected, non-blocking socket, or one error that says why not.

Promises: every address that a name has is tried, in the resolver's order, within one deadline, of which one
that doesn't answer uses up only its share; TCP sockets have TCP_NODELAY (a request is one send, and must not
wait for an acknowledgement). Refuses to know pools, HTTP, and what to do when it fails.

Theory, three traps of connecting on Linux. (1) A connect over loopback is done before the call returns, but
still says EINPROGRESS: asking a second time saves a turn of the loop. (2) A UNIX socket whose backlog is
full says EAGAIN, and no poll tells when there is room: it has to be asked again. (3) A TCP connect to a
free port in the ephemeral range of our own host may meet *itself* (simultaneous open); a dead upstream
would then echo requests.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from functools import partial
from math import inf
from typing import Protocol

import trio
from trio.lowlevel import wait_writable

from tlsproxy import policy
from tlsproxy.net.stream import SocketStream

Place = tuple[socket.AddressFamily, object]
"""Where to connect: a family, and what `socket.connect` takes for it."""


class Address(Protocol):
    """An upstream's address as configured: "http" or "https" with host and port, or "unix" with path."""

    @property
    def scheme(self) -> str:
        """Say "http", "https" or "unix"."""
        ...

    @property
    def host(self) -> str:
        """The name or IP address, without brackets; unused for "unix"."""
        ...

    @property
    def port(self) -> int:
        """The TCP port; unused for "unix"."""
        ...

    @property
    def path(self) -> object:
        """The socket's path (str or Path), used for "unix" only."""
        ...


class Dialler:
    """Opens connections to one address; what its name resolved to is kept for a while."""

    __slots__ = ("_address", "_known", "_known_until", "_resolving", "connect_s")

    def __init__(self, address: Address, *, connect_s: float = policy.UPSTREAM_CONNECT_S) -> None:
        self._address = address
        self._known: tuple[Place, ...] = ()
        self._known_until = 0.0
        # threads of its own: a resolver that hangs must not use up those that the store and the inbox work in
        self._resolving = trio.CapacityLimiter(policy.RESOLVERS)
        self.connect_s = connect_s

    async def __call__(self) -> SocketStream:
        """Open one, within `connect_s` in all; the caller closes it.

        Raises TimeoutError where that was too short, else the last OSError.
        """
        return SocketStream(await self.connect())

    async def connect(self) -> socket.socket:
        """Open one as a bare socket; all else as by calling us."""
        try:
            with trio.fail_after(self.connect_s):
                return await dial(await self._places())
        except trio.TooSlowError as error:
            raise TimeoutError(errno.ETIMEDOUT, f"no connection within {self.connect_s:g} s") from error
        except OSError:
            self._known = ()  # the name may have moved: ask again next time
            raise

    async def _places(self) -> tuple[Place, ...]:
        now = trio.current_time()
        if not self._known or now >= self._known_until:
            self._known = await resolve(self._address, self._resolving)
            self._known_until = now + policy.RESOLVE_KEEP_S
        return self._known


async def resolve(address: Address, threads: trio.CapacityLimiter) -> tuple[Place, ...]:
    """Return every place of `address`, at least one; no resolver is asked for an IP literal or a path.

    Raises OSError (socket.gaierror) where a name has no address. Cancellable; the resolver's thread may go
    on, and is one of `threads` until it ends.
    """
    if address.scheme == "unix":
        return ((socket.AF_UNIX, str(address.path)),)
    try:
        literal = ipaddress.ip_address(address.host)
    except ValueError:
        ask = partial(socket.getaddrinfo, address.host, address.port, type=socket.SOCK_STREAM)
        try:
            found = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=threads)
        except RuntimeError as error:  # what threading says where no thread is to be had
            raise OSError(errno.EAGAIN, f"the resolver has no thread: {error}") from error
        return tuple((socket.AddressFamily(family), where) for family, _, _, _, where in found)
    family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
    return ((family, (address.host, address.port)),)


async def dial(places: tuple[Place, ...]) -> socket.socket:
    """Connect to the first of `places` that accepts; the caller closes the socket and sets the deadline.

    Raises the last OSError where none does. Cancelled cleanly: nothing is left open.
    """
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "no address to connect to")
    for tried, (family, where) in enumerate(places):
        share = _share(len(places) - tried)
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:  # a family that this kernel lacks, or no descriptor left
            failure = error
            continue
        try:
            await _connect_within(share, sock, where)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _refuse_self(sock)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _share(left: int) -> float:
    """Give the seconds of what is left of the deadline that one of `left` places may take."""
    return (trio.current_effective_deadline() - trio.current_time()) / left if left > 1 else inf


async def _connect_within(seconds: float, sock: socket.socket, where: object) -> None:
    if seconds == inf:  # the last one, or the only one: no scope of its own
        await _connect(sock, where)
        return
    with trio.move_on_after(max(0.0, seconds)) as scope:
        await _connect(sock, where)
    if scope.cancelled_caught:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


async def _connect(sock: socket.socket, where: object) -> None:
    pause = policy.BACKLOG_PAUSE_S
    while (code := sock.connect_ex(where)) == errno.EAGAIN:  # type: ignore[arg-type]  # typeshed: any address is Any
        await trio.sleep(pause)
        pause = min(2 * pause, policy.BACKLOG_PAUSE_MAX_S)
    if code == errno.EINPROGRESS:
        code = sock.connect_ex(where)  # type: ignore[arg-type]  # as above
    if code == errno.EALREADY:
        await wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code and code != errno.EISCONN:
        raise OSError(code, os.strerror(code))


def _refuse_self(sock: socket.socket) -> None:
    if sock.getsockname() == sock.getpeername():
        raise OSError(errno.ECONNREFUSED, "connected to itself: nothing listens there")
