"""A TLS client on a real socket, under trio, that does each step only when it is told."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from tests.tlsproxy.tls_pair import Client
from tlsproxy.tls.engines import Context
from tlsproxy.tls.handshake import accept_tls
from tlsproxy.tls.selector import Table
from tlsproxy.tls.stream import TLSStream


async def sockets(family: int = socket.AF_INET) -> tuple[trio.SocketStream, socket.socket]:
    """Give a client's stream, and our non-blocking end of it as the accept loop hands it over."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen(1)
        client = await trio.open_tcp_stream(host, listener.getsockname()[1])
        server, _ = listener.accept()
    server.setblocking(False)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, server


class Wire(Client):
    """The client of tls_pair with a socket under it."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext | None = None, **more) -> None:
        super().__init__(context, **more)
        self.stream = stream

    async def flush(self) -> None:
        if data := self.take():
            await self.stream.send_all(data)

    async def more(self) -> bool:
        """Wait for bytes of the server; False at the end of TCP."""
        data = await self.stream.receive_some(65_536)
        self.feed(data)
        return bool(data)

    async def shake_hands(self) -> None:
        while not self.handshake():
            await self.flush()
            if not await self.more():
                raise EOFError
        await self.flush()

    async def send(self, data: bytes) -> None:
        self.write(data)
        await self.flush()

    async def receive(self, size: int) -> bytes:
        """Read exactly `size` bytes; EOFError where the server ends before."""
        got = self.read_all()
        while len(got) < size:
            if not await self.more():
                raise EOFError(got)
            got += self.read_all()
        return got


def table_of(context: Context | None, number: int = 1, **rows: Context) -> Callable[[], Table[Context]]:
    table = Table(number, {f"{name}.test": entry for name, entry in rows.items()}, {}, context)
    return lambda: table


@asynccontextmanager
async def connected(
    context: Context, asking: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Wire, TLSStream]]:
    """Give both ends of a connection whose handshake is done; both are closed at the end."""
    client, server = await sockets()
    wire = Wire(client, asking)
    streams: list[TLSStream] = []

    async def accept() -> None:
        streams.append(await accept_tls(server, table_of(context)))

    async with client:
        with server:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept)
                await wire.shake_hands()
            yield wire, streams[0]
