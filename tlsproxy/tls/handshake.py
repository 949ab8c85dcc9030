"""The handshake: the hello is read first, then the context is chosen, then TLS starts.

Promises: a handshake is served by the table that is active at the moment when its hello is complete, and by
no older one; a client that can't be served is told so by an alert. Plain HTTP is recognised, and left to the
caller. Refuses to know deadlines: it is woken by `readiness.notify_closing`.

Theory. Between the hello's last byte and the choice no await may stand: a new generation would be committed
in between, its receipt say live, and this handshake still be served by the old one. Bytes that came with the
hello (early data of a resumption, or a second flight that a fast client sends) go into the engine as they
are.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import NoReturn, TypeAlias

import trio

from certstore import ACME_TLS
from tlsproxy import policy
from tlsproxy.errors import Fault, HandshakeError, ProxyError
from tlsproxy.readiness import Readiness, notify_closing
from tlsproxy.tls.asking import Asks
from tlsproxy.tls.choice import suits
from tlsproxy.tls.clienthello import BadHello, ClientHello, NotTLS, parse
from tlsproxy.tls.engines.port import Context, ContextError, Engine
from tlsproxy.tls.selector import Table
from tlsproxy.tls.stream import TLSStream

__all__ = [
    "BUSY_ALERT",
    "CLIENT_REFUSED",
    "HandOn",
    "HandedOn",
    "Heard",
    "PlainHTTP",
    "Prove",
    "Proved",
    "Tables",
    "accept_tls",
    "local_port",
]

Tables: TypeAlias = Callable[[], Table[Context]]
"""Gives the table that is active now."""

HandOn: TypeAlias = Callable[[socket.socket, bytes, bytes, str], bool]
"""Hands a connection to whoever has the key of its ticket; False where it is to be served here.

Gets the socket, all bytes that were read, the name of the ticket's key, and the bundle that would be served.
"""

Heard: TypeAlias = Callable[[ClientHello, bool], None]
"""Is told of each hello that is answered here with a certificate, and whether a row covers its name."""

Prove: TypeAlias = Callable[[str], Context | None]
"""Gives what proves a server name to an ACME authority (RFC 8737); None where nobody waits for that."""

CLIENT_REFUSED = "client_certificate"
"""How the reasons begin for which a client's certificate is refused, or its absence."""

_ACME = (ACME_TLS,)
_TLS13 = 0x0304
# Alert descriptions (RFC 8446 section 6.2)
_DECODE_ERROR, _INTERNAL_ERROR, _MISSING_EXTENSION = 50, 80, 109
_UNRECOGNIZED_NAME, _NO_APPLICATION_PROTOCOL = 112, 120


def _alert(description: int) -> bytes:
    """Write a fatal alert in the clear, as it is before a ServerHello."""
    return bytes((21, 3, 3, 0, 2, 2, description))


BUSY_ALERT = _alert(_INTERNAL_ERROR)
"""What a client is told before its hello was read, where there is no room for it: TLS has no better word."""


class PlainHTTP(ProxyError):  # noqa: N818  no fault where a redirect can answer it
    """The client speaks plain HTTP; `data` is what it has sent so far."""

    code = "plain_http"
    fault = Fault.CLIENT

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data

    def __str__(self) -> str:
        return "plain HTTP came to a TLS port"


class HandedOn(Exception):  # noqa: N818  says what has become of the connection, which is no fault
    """Another process serves this connection now; `sock` is only to be closed."""


class Proved(Exception):  # noqa: N818  as above
    """An ACME authority has seen the proof that it looked for, and the connection is closed."""


async def accept_tls(
    sock: socket.socket,
    tables: Tables,
    first: bytes = b"",
    hand_on: HandOn | None = None,
    heard: Heard | None = None,
    prove: Prove | None = None,
) -> TLSStream:
    """Read the hello, choose the context from the table that is active then, and make the handshake.

    `sock` is connected and non-blocking; the stream that is returned owns it. Whoever keeps its deadline
    wakes us by `readiness.notify_closing(sock)`, and we raise trio.ClosedResourceError. Raises
    HandshakeError after the alert was sent and `sock` closed, Proved where it is closed, and PlainHTTP or
    HandedOn, after which (as after a cancellation) `sock` is still the caller's; so it is where the reason
    begins with CLIENT_REFUSED, for in TLS 1.3 such a client has sent its request already, and a close would
    reset the alert away. `first`: bytes that were read from it already.
    """
    data = b""
    try:
        readiness = Readiness(sock)
        data, hello = await _read_hello(sock, readiness, first)
        table = tables()
        context = _choose(sock, hello, table)
        if context is None:
            if hello.alpn == _ACME and prove is not None:
                await _prove(sock, readiness, hello, table, prove, data)
            raise _refused(sock, hello, table)
        may_resume = hello.ticket and context.rule is None
        if may_resume and hand_on is not None and hand_on(sock, data, hello.ticket, context.bundle_id):
            readiness.forget()
            raise HandedOn
        if heard is not None:
            heard(hello, table.has_row(hello.server_name))
        stream = await _shake_hands(sock, readiness, context, data)
        if _TLS13 not in hello.versions:
            await stream.send_owed()  # our Finished, which in TLS 1.2 comes last and is waited for
    except HandshakeError as error:
        error.hello = data
        if not error.reason.startswith(CLIENT_REFUSED):
            _close(sock)
        raise
    except trio.BrokenResourceError as error:
        _close(sock)
        raise HandshakeError("reset") from error
    return stream


async def _read_hello(sock: socket.socket, readiness: Readiness, data: bytes) -> tuple[bytes, ClientHello]:
    """Return all bytes that came up to the one that completed the hello, `data` first, and what it says."""
    while True:
        data = data or await _receive(sock, readiness)
        try:
            hello = parse(data)
        except NotTLS as error:
            if error.looks_like_http:
                raise PlainHTTP(data) from None
            raise HandshakeError("not_tls") from error
        except BadHello as error:
            _send_alert(sock, _DECODE_ERROR)
            raise HandshakeError("bad_hello") from error
        if hello is not None:
            return data, hello
        data += await _receive(sock, readiness)


async def _receive(sock: socket.socket, readiness: Readiness) -> bytes:
    while True:
        try:
            data = sock.recv(policy.SMALL_READ_BYTES)
        except BlockingIOError:
            await readiness.wait()
            continue
        except OSError as error:
            raise HandshakeError("reset") from error
        if not data:
            raise HandshakeError("closed")
        readiness.emptied = len(data) < policy.SMALL_READ_BYTES
        return data


def _choose(sock: socket.socket, hello: ClientHello, table: Table[Context]) -> Context | None:
    """Choose the context; None where there is none to choose, or nothing to talk about."""
    address = _local_address(sock) if hello.server_name is None and table.has_addresses else None
    context = table.choose(hello.server_name, address)
    if context is not None:
        beside = table.beside(context)
        if beside is not None and not suits(hello, context):
            context = beside
    # RFC 7301 section 3.2. Neither engine does it: both would go on without a protocol.
    if context is not None and table.asks is not None:
        context = _asking(sock, hello, table.asks, context)
    if context is None or (hello.alpn and not any(name in hello.alpn for name in context.policy.alpn)):
        return None
    return context


def _asking(sock: socket.socket, hello: ClientHello, asks: Asks[Context], context: Context) -> Context:
    """Choose who asks for a certificate in a context's place, where a rule wants that."""
    name = hello.server_name if hello.server_name is not None else _local_address(sock)
    rule = asks.rule_for(name, local_port(sock))
    return context if rule is None else asks.entry(context.bundle_id, rule)


def local_port(sock: socket.socket) -> int:
    """Give the port that the client has reached; 0 for none. Asked of the socket, wherever it came from."""
    return sock.getsockname()[1] if sock.family in {socket.AF_INET, socket.AF_INET6} else 0


def _refused(sock: socket.socket, hello: ClientHello, table: Table[Context]) -> HandshakeError:
    """Tell a client that can't be served why, before any certificate is shown."""
    address = _local_address(sock) if hello.server_name is None and table.has_addresses else None
    if table.choose(hello.server_name, address) is not None:
        _send_alert(sock, _NO_APPLICATION_PROTOCOL)
        return HandshakeError("no_application_protocol")
    if not table.is_strict:
        _send_alert(sock, _INTERNAL_ERROR)
        return HandshakeError("no_bundle")
    if hello.server_name is None:  # RFC 8446 section 9.2
        _send_alert(sock, _MISSING_EXTENSION)
        return HandshakeError("no_server_name")
    _send_alert(sock, _UNRECOGNIZED_NAME)  # RFC 6066 section 3
    return HandshakeError("unknown_name")


async def _prove(
    sock: socket.socket,
    readiness: Readiness,
    hello: ClientHello,
    table: Table[Context],
    prove: Prove,
    data: bytes,
) -> NoReturn:
    """Answer who speaks nothing but `acme-tls/1`: with the proof of a name that is waited for, or an alert.

    The handshake is all there is (RFC 8737 section 3): no request comes behind it. Raises Proved, or
    HandshakeError.
    """
    name = hello.server_name
    try:
        context = prove(name) if name is not None else None
    except ContextError as error:
        _send_alert(sock, _INTERNAL_ERROR)
        raise HandshakeError("no_bundle") from error
    if context is None:
        is_ours = table.has_row(name)
        _send_alert(sock, _NO_APPLICATION_PROTOCOL if is_ours else _UNRECOGNIZED_NAME)
        raise HandshakeError("no_application_protocol" if is_ours else "unknown_name")
    stream = await _shake_hands(sock, readiness, context, data)
    await stream.send_owed()
    stream.close()
    raise Proved


async def _shake_hands(sock: socket.socket, readiness: Readiness, context: Context, data: bytes) -> TLSStream:
    try:
        engine = context.accept()
    except ContextError as error:
        _send_alert(sock, _INTERNAL_ERROR)
        raise HandshakeError("no_bundle") from error
    stream = TLSStream(sock, engine, context.bundle_id, readiness)
    engine.feed(data)
    try:
        await _exchange_flights(engine, stream)
    except HandshakeError:
        with contextlib.suppress(trio.BrokenResourceError):
            stream.offer_owed()  # the alert
        raise
    if context.rule is not None:
        stream.rule, stream.client_chain = context.rule, engine.client_chain()
    return stream


async def _exchange_flights(engine: Engine, stream: TLSStream) -> None:
    while not engine.handshake():
        await stream.answer_and_wait()
        if stream.truncated:
            raise HandshakeError("closed")


def _local_address(sock: socket.socket) -> str | None:
    """Return the address that the client reached, as certificates name it (mapped IPv4 as IPv4)."""
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    text: str = sock.getsockname()[0].partition("%")[0]
    return text.removeprefix("::ffff:") if "." in text else text


def _send_alert(sock: socket.socket, description: int) -> None:
    """Send a fatal alert in the clear; once, without waiting."""
    with contextlib.suppress(OSError):
        sock.send(_alert(description))


def _close(sock: socket.socket) -> None:
    if sock.fileno() >= 0:
        notify_closing(sock)
        sock.close()
