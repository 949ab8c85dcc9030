"""A TLS connection in memory: one of our engines, and Python's own `ssl` as its client."""

from __future__ import annotations

import contextlib
import ssl
import warnings
from typing import Any

from tlsproxy.tls.engines import Context, Engine


def client_context(
    *,
    version: str | None = None,
    ciphers: str | None = None,
    alpn: tuple[str, ...] = (),
    trust: bytes | None = None,
) -> ssl.SSLContext:
    """Give a client that verifies nobody, unless it is told to trust somebody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if trust is not None:
        context.load_verify_locations(cadata=trust.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # TLS 1.1 is deprecated; that it fails is tested
            context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class Client:
    """The client's side; `take` and `feed` as an engine has them."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
        server_name: str = "device.test",
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(
            self.incoming, self.outgoing, server_hostname=server_name, session=session
        )
        self.done = False

    def feed(self, data: bytes) -> None:
        self.incoming.write(data)

    def take(self) -> bytes:
        return self.outgoing.read()

    def handshake(self) -> bool:
        if not self.done:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                self.done = True
        return self.done

    def write(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]

    def read_all(self) -> bytes:
        """Read what has come, and stop at close_notify."""
        parts = []
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self.tls.read(65_536):
                parts.append(part)
        return b"".join(parts)

    def is_ended(self) -> bool:
        """Whether close_notify has come."""
        try:
            return not self.tls.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLWantReadError:
            return False

    def shut(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()


def shake_hands(client: Client, server: Engine, *, piece: int = 65_536) -> None:
    """Carry flights to and fro, in pieces of that many bytes, until both sides are done."""
    shaken = served = False
    for _ in range(10):
        shaken = client.handshake()
        flight = client.take()
        for at in range(0, len(flight), piece):
            server.feed(flight[at : at + piece])
            served = served or server.handshake()
        answer = server.take()
        for at in range(0, len(answer), piece):
            client.feed(answer[at : at + piece])
            shaken = client.handshake()
        if shaken and served:
            return
    raise AssertionError("the handshake came to no end")


def connect(
    context: Context, client: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
) -> tuple[Client, Engine]:
    """Give both ends of a connection whose handshake is done."""
    ends = Client(client, session), context.accept()
    shake_hands(*ends)
    return ends


def read_all(engine: Engine, size: int = 65_536) -> bytes:
    """Read what has come, and stop at close_notify."""
    parts = []
    while part := engine.read(size):
        parts.append(part)
    return b"".join(parts)
