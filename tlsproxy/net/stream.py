"""A plain socket as a byte stream: a call that the kernel can satisfy is made, not waited for.

Promises: `ByteStream`, the one interface that plain and TLS connections share, and `SocketStream`, its
plain form. A failed peer is `trio.BrokenResourceError`, a stream closed under its user
`trio.ClosedResourceError`; no OSError leaves this room. Refuses to know what the bytes mean, and every
deadline: the sweeper keeps those.

Theory. trio's own SocketStream makes a checkpoint of each call, which costs more than the call. Here a call
that the kernel can satisfy at once returns without one, so that a peer who always has bytes ready could
hold the loop for ever. Only a read after one that brought little waits first: the socket was empty a moment
ago, and asking it in vain costs more than to be told (readiness.py). Therefore each call is charged what it
moved plus a constant, and a stream that has spent `policy.YIELD_BYTES` without once having waited yields to
the others before it goes on. Cancellation arrives at a wait or at such a yield, never between a successful
`recv` and its return: no byte that was received is lost by it. A cancelled `send_all` may have sent any
part of its data; the only sane thing left to do with that stream is to close it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from typing import Protocol

import trio
from trio.lowlevel import checkpoint

from tlsproxy import policy
from tlsproxy.readiness import Readiness, notify_closing, wait_writable

BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)
"""What every stream raises once its peer or its owner is done with it."""

Data = bytes | bytearray | memoryview


class ByteStream(Protocol):
    """What forwarding needs of a connection, TLS or not; whoever made it closes it."""

    @property
    def sock(self) -> socket.socket:
        """The socket below: for its descriptor and options, never for reading past TLS."""
        ...

    async def receive_some(self, max_bytes: int = 65536, /) -> bytes:
        """Return what is there, waiting for at least one byte; b"" once the peer has ended its side."""
        ...

    async def send_all(self, data: Data, /) -> None:
        """Send everything, waiting while the peer doesn't read."""
        ...

    async def send_eof(self) -> None:
        """End our side; receiving goes on."""
        ...

    def ask_first(self) -> None:
        """Have the next receive ask the socket before it waits, though it was empty a moment ago."""
        ...

    def close(self) -> None:
        """Let go at once, in good order, waking whoever waits on it. Idempotent."""
        ...

    def abort(self) -> None:
        """Let go at once so that the peer can tell a message cut off from one that ended. Idempotent."""
        ...


class SocketStream:
    """A connected, non-blocking stream socket (TCP or UNIX). Owns the socket: `close` closes it."""

    __slots__ = ("_poll", "_readiness", "_spent", "_wait_first", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._readiness = Readiness(sock)
        self._wait_first = True
        self._spent = 0
        self._poll: select.poll | None = None

    async def receive_some(self, max_bytes: int = 65536, /) -> bytes:
        """Return up to `max_bytes` that the kernel has, or wait for some; b"" is the peer's end of file.

        Raises trio.BrokenResourceError (reset, timed out) and trio.ClosedResourceError (closed or woken by
        us).
        """
        if self._spent > policy.YIELD_BYTES:
            await self._yield()
        if self._wait_first:
            await self._wait_readable()
        while (data := self._take(max_bytes)) is None:
            await self._wait_readable()
        return data

    async def send_all(self, data: Data, /) -> None:
        """Send all of `data` in order; wait while the peer doesn't read. Errors as in `receive_some`."""
        if self._spent > policy.YIELD_BYTES:
            await self._yield()
        try:
            sent = self.sock.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._broken(error) from error
        self._spent += sent + policy.YIELD_CALL_BYTES
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])

    async def send_eof(self) -> None:
        """Send FIN; the peer's bytes still arrive. Nothing happens where the connection is already gone."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._broken(error) from error
        await checkpoint()

    def is_quiet(self) -> bool:
        """Say whether nothing waits to be read: no byte, no end, no error. Costs 0.5 us; never waits."""
        if self._poll is None:  # made at the first look: most connections never need one
            self._poll = select.poll()
            self._poll.register(self.sock, select.POLLIN | select.POLLRDHUP)
        return not self._poll.poll(0)

    def ask_first(self) -> None:
        """Have the next receive ask the socket before it waits."""
        self._wait_first = False

    def close(self) -> None:
        """Close the socket; whoever waits on it sees trio.ClosedResourceError."""
        if self.sock.fileno() >= 0:
            notify_closing(self.sock)
            self.sock.close()

    def abort(self) -> None:
        """Close so that the peer sees a reset (SO_LINGER 0), not an end; what it has not got is dropped.

        For a message whose only end is the end of the connection: an orderly close would turn a broken
        transfer into a complete one (RFC 9112 section 8).
        """
        if self.sock.fileno() >= 0:
            with contextlib.suppress(OSError):  # the peer may have been quicker
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def _take(self, max_bytes: int) -> bytes | None:
        try:
            data = self.sock.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._broken(error) from error
        size = len(data)
        self._readiness.emptied = size < max_bytes
        self._wait_first = size < policy.SMALL_READ_BYTES
        self._spent += size + policy.YIELD_CALL_BYTES
        return data

    async def _send_rest(self, rest: memoryview) -> None:
        while rest:
            try:
                await wait_writable(self.sock)
                self._spent = 0
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._broken(error) from error

    async def _wait_readable(self) -> None:
        if await self._readiness.wait():
            self._spent = 0

    async def _yield(self) -> None:
        self._spent = 0
        await checkpoint()

    def _broken(self, error: Exception) -> trio.BrokenResourceError | trio.ClosedResourceError:
        """Say in trio's words what an OSError means here."""
        if self.sock.fileno() < 0:
            return trio.ClosedResourceError("this stream was already closed")
        return trio.BrokenResourceError(f"the connection broke: {error}")


def is_readable(sock: socket.socket) -> bool:
    """Say whether bytes or an end wait to be read; never waits."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def delivered_bytes(sock: socket.socket) -> int | None:
    """Return how many bytes the peer has acknowledged in all, None where the kernel can't say (UNIX, closed).

    The one honest measure of a slow reader's progress: what `send` took may only lie in a buffer of ours.
    tcpi_bytes_acked stands at offset 120 of Linux's struct tcp_info (tcp(7); there since Linux 4.1).
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    except OSError:
        return None
    return int(struct.unpack_from("=Q", info, 120)[0]) if len(info) >= 128 else None


def set_keepalive(sock: socket.socket) -> None:
    """Have the kernel probe an idle TCP peer, so that one who vanished doesn't hold a connection.

    Does nothing for sockets without it.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, policy.KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, policy.KEEPALIVE_PROBE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, policy.KEEPALIVE_PROBES)
    except OSError:
        return


async def linger(sock: socket.socket) -> None:
    """End our side of a connection and read past what the peer still sends, until it ends or has sent enough.

    Without it, closing while unread bytes come in makes the kernel send a reset, which may overtake our
    last words on their way to the client (RFC 9112 section 9.6). Reads below TLS, and decrypts nothing.
    Returns also when it is woken by `notify_closing`: the deadline is the caller's.
    """
    stream, left = SocketStream(sock), policy.LINGER_BYTES
    with contextlib.suppress(*BROKEN):
        await stream.send_eof()
        while left > 0 and (data := await stream.receive_some(policy.UP_READ_BYTES)):
            left -= len(data)
