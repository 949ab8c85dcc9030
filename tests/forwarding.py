"""A proxy without TLS between raw peers, all on real sockets: what the tests of forwarding stand on.

`forwarding(handler)` gives a `Rig`: its upstream runs `handler(peer)` for each connection, its clients are
`Peer`s as well, whose responses are read by h11. Time is moved by `rig.sweep_later`, never waited for.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import h11
import trio
import trio.testing

from tlsproxy.errors import ClientProtocolError
from tlsproxy.forward.connection import Connection
from tlsproxy.forward.site import (
    ClientFacts,
    ExchangeRecord,
    Forwarded,
    Limits,
    Site,
    SocketUpstream,
    make_upstream,
)
from tlsproxy.net.dial import Dialler
from tlsproxy.net.stream import BROKEN, SocketStream
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.net.tcpinfo import carried_bytes
from tlsproxy.routing.table import Route, RouteTable

DEADLINE_S = 30
GET = b"GET / HTTP/1.1\r\nHost: device.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class TruncatedError(Exception):
    """A response ended before its end; `got` is the body so far."""

    def __init__(self, got: bytes) -> None:
        super().__init__(len(got))
        self.got = got


@dataclass
class Answer:
    """A response as h11 reads it; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str]
    interim: list[int]


class Peer:
    """One end of a connection, with a buffer."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def eof(self) -> None:
        await self.stream.send_eof()

    def close(self) -> None:
        self.stream.close()

    async def more(self) -> bytes:
        """Return what is buffered or comes next; b"" at the end."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        return await self.stream.receive_some()

    async def until(self, mark: bytes) -> bytes:
        while (at := self.buffer.find(mark)) < 0:
            data = await self.stream.receive_some()
            if not data:
                raise TruncatedError(self.buffer)
            self.buffer += data
        at += len(mark)
        got, self.buffer = self.buffer[:at], self.buffer[at:]
        return got

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = await self.stream.receive_some()
            if not data:
                raise TruncatedError(self.buffer)
            self.buffer += data
        got, self.buffer = self.buffer[:size], self.buffer[size:]
        return got

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def everything(self) -> bytes:
        parts = [self.buffer]
        while data := await self.stream.receive_some():
            parts.append(data)
        self.buffer = b""
        return b"".join(parts)

    async def answer(self, method: bytes = b"GET", *, body: bool = True) -> Answer:
        """Read one response; with body=False only its head (the rest stays in the buffer)."""
        if not body:
            lines = (await self.head()).decode().split("\r\n")[:-2]
            pairs = (line.split(": ", 1) for line in lines[1:])
            return Answer(int(lines[0].split()[1]), {k.lower(): v for k, v in pairs}, b"", {}, [])
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        http.send(h11.EndOfMessage())
        parsed = Answer(0, {}, b"", {}, [])
        parts: list[bytes] = []
        if self.buffer:
            http.receive_data(self.buffer)
        while True:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError as error:
                raise TruncatedError(b"".join(parts)) from error
            if event is h11.NEED_DATA:
                http.receive_data(await self.stream.receive_some(1 << 20))
            elif isinstance(event, h11.InformationalResponse):
                parsed.interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                parsed.status = event.status_code
                parsed.headers = {k.decode(): v.decode() for k, v in event.headers}
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                parsed.trailers = {k.decode(): v.decode() for k, v in event.headers}
                parsed.body = b"".join(parts)
                self.buffer = http.trailing_data[0]
                return parsed
            else:
                raise TruncatedError(b"".join(parts))

    async def ask(self, request: bytes = GET, method: bytes = b"GET") -> Answer:
        await self.send(request)
        return await self.answer(method)


Handler = Callable[[Peer], Awaitable[None]]


async def always_ok(peer: Peer) -> None:
    """Answer every request without a body with two bytes, for as long as the connection lives."""
    while True:
        await peer.head()
        await peer.send(OK)


@dataclass
class Rig:
    """The proxy under test, its upstreams and its records."""

    nursery: trio.Nursery
    site: Site
    listener: socket.socket
    facts: ClientFacts
    records: list[ExchangeRecord] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    carried: list[tuple[int, int]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    accepted: list[Peer] = field(default_factory=list)
    """The upstream's ends of the connections that the proxy opened, in order."""
    open: list[SocketStream] = field(default_factory=list)

    def exchange_done(self, record: ExchangeRecord) -> None:
        self.records.append(record)

    def request_refused(self, _client: ClientFacts, error: ClientProtocolError) -> None:
        self.refused.append(error.status)

    def connection_ended(self, sock: socket.socket) -> None:
        self.carried.append(carried_bytes(sock))

    async def connect(self, *, small_buffers: bool = False, scope: trio.CancelScope | None = None) -> Peer:
        """Connect a new client to the proxy, which serves it inside `scope`."""
        sock = socket.socket()
        if small_buffers:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(self.listener.getsockname())
        ours, _ = self.listener.accept()
        if small_buffers:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection = Connection(SocketStream(ours), self.facts, self.site)
        self.connections.append(connection)
        self.nursery.start_soon(_serve_inside, scope or trio.CancelScope(), connection)
        self.open.append(SocketStream(sock))
        return Peer(self.open[-1])

    def sweep(self) -> None:
        """Sweep now: whoever hung up is noticed."""
        self.site.sweeper.sweep(trio.current_time())

    async def sweep_later(self, seconds: float) -> None:
        """Sweep as if `seconds` had passed, once everybody waits."""
        await trio.testing.wait_all_tasks_blocked(0.01)
        self.site.sweeper.sweep(trio.current_time() + seconds)

    async def settle(self) -> None:
        """Let everybody run until all wait."""
        await trio.testing.wait_all_tasks_blocked(0.01)


async def _serve_inside(scope: trio.CancelScope, connection: Connection) -> None:
    with scope:
        await connection.serve()


@dataclass
class Place:
    """An upstream's address."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""


def _listen(unix: Path | None) -> tuple[socket.socket, Place]:
    if unix is None:
        listener = socket.create_server(("127.0.0.1", 0))
        return listener, Place("http", "127.0.0.1", listener.getsockname()[1])
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(unix))
    listener.listen()
    return listener, Place("unix", path=str(unix))


async def _accept(listener: socket.socket, handler: Handler, rig: Rig) -> None:
    async def handle(sock: socket.socket) -> None:
        peer = Peer(SocketStream(sock))
        rig.accepted.append(peer)
        try:
            await handler(peer)
        except (*BROKEN, TruncatedError):
            pass  # the proxy ended the connection, as many tests want it to
        finally:
            peer.close()

    listener.setblocking(False)
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            nursery.start_soon(handle, listener.accept()[0])


@asynccontextmanager
async def forwarding(
    handler: Handler | Mapping[str, Handler] = always_ok,
    *,
    limits: Limits | None = None,
    forwarded: Forwarded | None = None,
    facts: ClientFacts | None = None,
    unix: Path | None = None,
    trace: bool = False,
    deadline_s: float = DEADLINE_S,
) -> AsyncIterator[Rig]:
    """Run a proxy whose routes lead to upstreams run by handlers; nothing sweeps but the test."""
    handlers = handler if isinstance(handler, Mapping) else {"/": handler}
    with trio.fail_after(deadline_s), socket.create_server(("127.0.0.1", 0)) as listener:
        sweeper = Sweeper()
        upstreams: dict[str, SocketUpstream] = {}
        listeners: list[tuple[socket.socket, Handler]] = []
        for prefix, script in handlers.items():
            sock, place = _listen(unix)
            listeners.append((sock, script))
            upstreams[prefix] = make_upstream(prefix, Dialler(place, connect_s=5.0), sweeper)
        site = Site(
            routes=RouteTable(tuple(Route(prefix, prefix) for prefix in handlers)),
            upstreams=upstreams,
            sweeper=sweeper,
            limits=limits or Limits(),
            forwarded=forwarded or Forwarded(),
            trace=trace,
        )
        async with trio.open_nursery() as nursery:
            rig = Rig(nursery, site, listener, facts or ClientFacts("192.0.2.7", "https"))
            rig.site = replace(site, observer=rig)
            for sock, script in listeners:
                nursery.start_soon(_accept, sock, script, rig)
            try:
                yield rig
            finally:
                nursery.cancel_scope.cancel()
                for upstream in upstreams.values():
                    upstream.close()
                for stream in rig.open:
                    stream.close()
                for sock, _ in listeners:
                    trio.lowlevel.notify_closing(sock)
                    sock.close()
