"""A real HTTP server on loopback that answers as it is told: what the tests of fetching ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network

import trio

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
Answerer = Callable[[trio.SocketStream, bytes], Awaitable[None]]


@dataclass
class Library:
    """Answers by path; `heads` are the requests that came, `bodies` what they sent along."""

    port: int = 0
    pages: dict[str, bytes | Answerer] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def asked(self) -> list[str]:
        return [head.split()[1].decode() for head in self.heads]

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the client has gone
                await self._answer(stream)

    async def _answer(self, stream: trio.SocketStream) -> None:
        got = b""
        while b"\r\n\r\n" not in got:
            got += await stream.receive_some() or b"\r\n\r\n"
        head, _, body = got.partition(b"\r\n\r\n")
        if not head:
            return
        size = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
        while len(body) < size:
            body += await stream.receive_some()
        self.heads.append(head)
        self.bodies.append(body)
        page = self.pages.get(head.split()[1].decode(), answer(b"", status=404))
        if isinstance(page, bytes):
            await stream.send_all(page)
        else:
            await page(stream, head)


def answer(body: bytes, status: int = 200, **fields: str) -> bytes:
    told = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Any\r\ncontent-length: {len(body)}\r\n{told}\r\n".encode() + body


def redirect(to: str, status: int = 302) -> bytes:
    return answer(b"", status, location=to)


@asynccontextmanager
async def a_library(host: str = "127.0.0.1") -> AsyncIterator[Library]:
    """Run one while the block runs."""
    library = Library()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, library.serve, 0, host=host)
        (listener,) = await nursery.start(serve)
        library.port = listener.socket.getsockname()[1]
        yield library
        nursery.cancel_scope.cancel()
