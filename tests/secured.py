"""A service behind us that insists on TLS: real sockets, and whatever certificate a test wants.

`a_secure_service(issued)` serves `handler(peer)` for each connection; `sessions` tells of each handshake
whether it was resumed, `failures` why those failed that did.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.forwarding import OK
from tests.pki import Issued


@dataclass
class SecurePeer:
    """The service's end of a connection."""

    stream: trio.SSLStream[trio.SocketStream]
    buffer: bytes = b""

    async def until(self, mark: bytes) -> bytes:
        while (at := self.buffer.find(mark)) < 0:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self.buffer += data
        at += len(mark)
        got, self.buffer = self.buffer[:at], self.buffer[at:]
        return got

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self.buffer += data
        got, self.buffer = self.buffer[:size], self.buffer[size:]
        return got

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def send(self, data: bytes | bytearray) -> None:
        await self.stream.send_all(data)


SecureHandler = Callable[[SecurePeer], Awaitable[None]]


async def always_ok(peer: SecurePeer) -> None:
    while True:
        await peer.head()
        await peer.send(OK)


@dataclass
class SecureService:
    """port: where it listens. certified: what clients showed, as DER."""

    port: int = 0
    context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    resumed: list[bool] = field(default_factory=list)
    certified: list[bytes | None] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    versions: list[str | None] = field(default_factory=list)


def context_for(issued: Issued, folder: Path) -> ssl.SSLContext:
    """Make a server's context; the files are there only while it is made."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = folder / "service.pem"
    file.write_bytes(issued.key_pem + issued.chain_pem)
    context.load_cert_chain(file)
    file.unlink()
    return context


async def _send_alert(stream: trio.SSLStream[trio.SocketStream], raw: trio.SocketStream) -> None:
    """Send the alert that trio's stream keeps to itself, as servers do, and wait until it was read."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        if alert := stream._outgoing.read():
            await raw.send_all(alert)
            await raw.send_eof()
            while await raw.receive_some():
                pass


@asynccontextmanager
async def a_secure_service(
    issued: Issued,
    folder: Path,
    handler: SecureHandler = always_ok,
    *,
    client_roots: str = "",
    version: ssl.TLSVersion | None = None,
) -> AsyncIterator[SecureService]:
    """Run a service until the block ends; client_roots: it requires a certificate that these certify."""
    service = SecureService(context=context_for(issued, folder))
    if version is not None:
        service.context.minimum_version = service.context.maximum_version = version
    if client_roots:
        service.context.verify_mode = ssl.CERT_REQUIRED
        service.context.load_verify_locations(cadata=client_roots)

    def note_name(_socket: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        service.names.append(name)

    service.context.sni_callback = note_name

    async def serve(raw: trio.SocketStream) -> None:
        stream = trio.SSLStream(raw, service.context, server_side=True, https_compatible=True)
        try:
            await stream.do_handshake()
            service.resumed.append(bool(stream.session_reused))
            service.certified.append(stream.getpeercert(binary_form=True))
            service.versions.append(stream.version())
            await handler(SecurePeer(stream))
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError) as error:
            service.failures.append(str(error.__cause__ or error))
            await _send_alert(stream, raw)
        finally:
            await trio.aclose_forcefully(raw)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        service.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield service
        nursery.cancel_scope.cancel()
