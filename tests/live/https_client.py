"""A small HTTPS client for the live tests: trio's own TLS stream, and h11."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11
import trio


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


def trusting_nobody() -> ssl.SSLContext:
    """Give a client context that takes any certificate: the tests compare certificates themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One keep-alive connection; `fingerprint` is that of the certificate it was served with."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream], host: str) -> None:
        self._stream, self._host = stream, host
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    @asynccontextmanager
    async def to(
        cls,
        port: int,
        *,
        server_name: str = "device.test",
        context: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
    ) -> AsyncIterator[Client]:
        """Connect and shake hands; closed at the end of the block."""
        stream = trio.SSLStream(
            await trio.open_tcp_stream(address, port),
            context or trusting_nobody(),
            server_hostname=server_name,
            https_compatible=True,
        )
        client = cls(stream, server_name)
        try:
            await stream.do_handshake()
            yield client
            with trio.move_on_after(1):
                await stream.aclose()
        finally:
            await trio.aclose_forcefully(stream.transport_stream)

    @property
    def local_port(self) -> int:
        """The port that we have come from."""
        port: int = self._stream.transport_stream.socket.getsockname()[1]
        return port

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._stream.getpeercert(binary_form=True)).hexdigest()

    async def get(self, path: str) -> Answer:
        head, parts = await self.start(path), [part async for part in self.parts()]
        return Answer(head.status_code, dict(head.headers), b"".join(parts))

    async def start(
        self, path: str, *, method: str = "GET", headers: tuple[tuple[str, str], ...] = ()
    ) -> h11.Response:
        await self.send(h11.Request(method=method, target=path, headers=[("host", self._host), *headers]))
        await self.send(h11.EndOfMessage())
        event = await self._next()
        assert isinstance(event, h11.Response), event
        return event

    async def send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """Give the body as it comes; then the connection is ready for the next request."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                    self._http.start_next_cycle()
                return

    async def ended(self) -> bool:
        """Wait until the server ends; False where it says something more instead."""
        try:
            return not await self._stream.receive_some(65536)
        except trio.BrokenResourceError:
            return True

    async def is_at_end(self) -> bool:
        """Wait for what comes next; whether that is the end of the connection."""
        return not await self._stream.receive_some(65536)

    async def _next(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                assert isinstance(event, h11.Event), event
                return event
            self._http.receive_data(bytes(await self._stream.receive_some(65536)))
