"""A device's service that can be switched off and on at one place: what health is tried against.

`off` ends everything at once, as a crash does; `on` is there again at the same place, which `hangs` where
that is set: it accepts, and says nothing. What it answers is in `status`; a WebSocket is echoed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from tests.forwarding import Peer, TruncatedError
from tlsproxy.net.stream import BROKEN, SocketStream


@dataclass
class Device:
    """The service. `asked`: the request lines that came, in order."""

    nursery: trio.Nursery
    unix: Path | None = None
    port: int = 0
    status: int = 200
    hangs: bool = False
    head: bytes = b""
    """Sent before the answer, as it is."""
    asked: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    grew: trio.Event = field(default_factory=trio.Event)
    _scope: trio.CancelScope | None = None
    _gone: trio.Event = field(default_factory=trio.Event)

    @property
    def upstream(self) -> str:
        return f"unix:{self.unix}" if self.unix is not None else f"http://127.0.0.1:{self.port}"

    async def on(self) -> None:
        """Be there."""
        if self.unix is not None:
            self.unix.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.fspath(self.unix))
            listener.listen()
        else:
            listener = socket.create_server(("127.0.0.1", self.port))
            self.port = listener.getsockname()[1]
        self._gone = trio.Event()
        self._scope = await self.nursery.start(self._serve, listener, self._gone)

    async def off(self) -> None:
        """Be gone: connections break, and new ones are refused, when this returns."""
        assert self._scope is not None
        self._scope.cancel()
        await self._gone.wait()

    async def wait_asked(self, count: int) -> None:
        """Wait until so many requests have come."""
        while len(self.asked) < count:
            await self.grew.wait()

    async def _serve(
        self, listener: socket.socket, gone: trio.Event, *, task_status: trio.TaskStatus[trio.CancelScope]
    ) -> None:
        listener.setblocking(False)
        try:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    task_status.started(scope)
                    while True:
                        await trio.lowlevel.wait_readable(listener)
                        nursery.start_soon(self._talk, SocketStream(listener.accept()[0]))
        finally:
            listener.close()
            gone.set()

    async def _talk(self, stream: SocketStream) -> None:
        peer = Peer(stream)
        try:
            while True:
                head = await peer.head()
                self.heads.append(head)
                self.asked.append(head.split(b"\r\n", 1)[0].decode())
                self.grew.set()
                self.grew = trio.Event()
                if self.hangs:
                    await trio.sleep_forever()
                if b"upgrade: websocket" in head.lower():
                    await _echo(peer, head)
                    return
                close = b"connection: close" in head.lower()
                fields = b"Content-Length: 2\r\n" + (b"Connection: close\r\n" if close else b"")
                await peer.send(self.head + b"HTTP/1.1 %d Said\r\n%b\r\nok" % (self.status, fields))
                if close:
                    await peer.eof()
        except (*BROKEN, TruncatedError):
            pass
        finally:
            stream.abort()


async def _echo(peer: Peer, head: bytes) -> None:
    """Be a WebSocket from its opening request on, and say what is said."""
    websocket = WSConnection(ConnectionType.SERVER)
    data = head
    while data:
        websocket.receive_data(data)
        for event in websocket.events():
            answer = _answer(event)
            if answer is not None:
                await peer.send(websocket.send(answer))
        data = await peer.more()


def _answer(event: Event) -> Event | None:
    match event:
        case Request():
            return AcceptConnection()
        case TextMessage():
            return TextMessage(event.data)
        case CloseConnection():
            return event.response()
    return None


@asynccontextmanager
async def a_device(unix: Path | None = None, **kinds: object) -> AsyncIterator[Device]:
    """Run a device, switched on, until the block ends."""
    async with trio.open_nursery() as nursery:
        device = Device(nursery, unix, **kinds)  # type: ignore[arg-type]
        await device.on()
        yield device
        nursery.cancel_scope.cancel()
