"""The ClientHello: a client's first bytes to values, before any TLS library sees them (RFC 8446, 4.1.2).

Promises: `parse` takes any bytes and gives a hello, None (more are needed), `NotTLS` or `BadHello`, nothing
else; what it reads and keeps is bounded by policy; what it admits it reads as OpenSSL does (held by a
differential test). Refuses to know which certificate fits, and whether the handshake can succeed: that is
the selector's and the engine's business, so that values that nobody here uses (key shares, unknown
extensions) pass unread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import unpack, unpack_from

from tlsproxy import policy
from tlsproxy.errors import Fault, ProxyError

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _GROUPS, _SIGNATURE_ALGORITHMS, _ALPN, _VERSIONS = 0, 10, 13, 16, 43
_SESSION_TICKET, _PRE_SHARED_KEY = 35, 41
_KEY_NAME = 16  # bytes of a ticket (RFC 5077 section 4)
_MAX_RECORD = 16_384  # RFC 8446 section 5.1: a plaintext record

# The methods of RFC 9110, PATCH, and HTTP/2's preface: what a browser, a script or a scanner begins plain
# HTTP with.
_HTTP = tuple(
    word + b" "
    for word in (
        b"GET",
        b"HEAD",
        b"POST",
        b"PUT",
        b"DELETE",
        b"CONNECT",
        b"OPTIONS",
        b"TRACE",
        b"PATCH",
        b"PRI",
    )
)

_LABEL = rb"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rb"(?:" + _LABEL + rb"\.)*(" + _LABEL + rb")\.?")


class NotTLS(ProxyError):  # noqa: N818  says what the bytes are, which is no fault where a redirect can answer
    """The client doesn't speak TLS; `looks_like_http` where it began an HTTP request."""

    code = "not_tls"
    fault = Fault.CLIENT

    def __init__(self, *, looks_like_http: bool) -> None:
        super().__init__(looks_like_http)
        self.looks_like_http = looks_like_http

    def __str__(self) -> str:
        return "plain HTTP came to a TLS port" if self.looks_like_http else "what came is not TLS"


class BadHello(ProxyError):  # noqa: N818  named for what it is, as the interface of this room says
    """TLS records came, but no well-formed ClientHello in them; it deserves a `decode_error` alert."""

    code = "bad_hello"
    fault = Fault.CLIENT

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the ClientHello is malformed: {self.reason}"


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client asked for; lists are in its order, with its GREASE values (RFC 8701) left in.

    server_name: lower case, no trailing dot; None where it sent none, an address, or no valid host name.
    alpn: protocol names as on the wire (RFC 7301). versions, signature_algorithms, groups, cipher_suites:
    IANA's numbers; versions falls back to the one of the hello itself where the extension is missing (TLS
    1.2 and older). ticket: the name of the key that sealed its session ticket, b"" where it has none.
    """

    server_name: str | None
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]
    signature_algorithms: tuple[int, ...]
    groups: tuple[int, ...]
    cipher_suites: tuple[int, ...]
    ticket: bytes = b""


@dataclass(frozen=True, slots=True)
class Outline:
    """A hello as its sender has built it: what tells one TLS library from another.

    version: the one of the hello itself; extensions: by their numbers, in their order, with what is in them.
    """

    version: int
    cipher_suites: tuple[int, ...]
    extensions: dict[int, bytes]

    def numbers(self, kind: int, width: int) -> tuple[int, ...]:
        """Read an extension that is one vector of 16-bit numbers, its length in `width` bytes; () for none.

        Raises BadHello.
        """
        return _numbers(self.extensions.get(kind), width)


def outline(data: bytes | bytearray) -> Outline | None:
    """Read what `parse` does, for what it passes by; as slow. None and errors as there."""
    body = _message(data)
    if body is None:
        return None
    suites, extensions = _parts(body)
    return Outline(unpack_from(">H", body)[0], _shorts(suites), extensions)


def parse(data: bytes | bytearray) -> ClientHello | None:
    """Read the hello at the beginning of a stream; None while it isn't whole. Bytes after it are left alone.

    Raises NotTLS and BadHello as soon as the bytes can't become a hello.
    """
    body = _message(data)
    return None if body is None else _read(body)


def _message(data: bytes | bytearray) -> bytes | None:
    """Join the hello's body out of its records, or say None while any record of it is incomplete."""
    if not data:
        return None
    if data[0] != _HANDSHAKE:
        _refuse_unless_http(bytes(data[:8]))
        return None
    joined, at, seen = b"", 0, len(data)
    for _ in range(policy.MAX_HELLO_RECORDS):
        if seen >= at + 2 and data[at + 1] != 3:
            raise NotTLS(looks_like_http=False) if at == 0 else BadHello("record_version")
        if seen < at + 5:
            return None
        size = data[at + 3] << 8 | data[at + 4]
        if data[at] != _HANDSHAKE or not 0 < size <= _MAX_RECORD:
            raise BadHello("record")
        if seen < at + 5 + size:
            _announced(joined or data[at + 5 : at + 9])
            return None
        # nearly always the first record holds it all, so that this join copies once
        joined += data[at + 5 : at + 5 + size]
        wanted = _announced(joined)
        if wanted is not None and len(joined) >= wanted:
            return joined[4:wanted]
        at += 5 + size
    raise BadHello("too_many_records")


def _announced(message: bytes | bytearray) -> int | None:
    """Return how long the message says it is, header included; None while that isn't visible."""
    if message and message[0] != _CLIENT_HELLO:
        raise BadHello("not_a_hello")
    if len(message) < 4:
        return None
    size = message[1] << 16 | message[2] << 8 | message[3]
    if size > policy.MAX_HELLO_BYTES:
        raise BadHello("too_long")
    return size + 4


def _refuse_unless_http(start: bytes) -> None:
    """Raise NotTLS, unless more bytes could still make this the method of an HTTP request."""
    if not any(word.startswith(start) and word != start for word in _HTTP):
        raise NotTLS(looks_like_http=start.startswith(_HTTP))


def _parts(body: bytes) -> tuple[bytes, dict[int, bytes]]:
    """Give the list of cipher suites and the extensions of a hello's body."""
    if len(body) < 35:  # version 2, random 32, length of the session id 1
        raise BadHello("cut_short")
    session_end = 35 + body[34]
    if body[34] > 32 or len(body) < session_end:
        raise BadHello("session_id")
    suites, at = _vector(body, session_end, 2)
    compression, at = _vector(body, at, 1)
    if not compression:
        raise BadHello("compression")
    extensions: dict[int, bytes] = {}
    if at < len(body):  # TLS 1.2 allows a hello without any (RFC 5246 section 7.4.1.2)
        block, at = _vector(body, at, 2)
        extensions = _extensions(block)
    if at != len(body):
        raise BadHello("trailing_bytes")
    return suites, extensions


def _read(body: bytes) -> ClientHello:
    suites, extensions = _parts(body)
    return ClientHello(
        _server_name(extensions.get(_SERVER_NAME)),
        _protocols(extensions.get(_ALPN)),
        _numbers(extensions[_VERSIONS], 1) if _VERSIONS in extensions else unpack_from(">H", body),
        _numbers(extensions.get(_SIGNATURE_ALGORITHMS), 2),
        _numbers(extensions.get(_GROUPS), 2),
        _shorts(suites),
        _ticket(extensions),
    )


def _vector(body: bytes, at: int, width: int) -> tuple[bytes, int]:
    """Return the vector at `at`, whose length stands before it in `width` bytes, and where it ends."""
    start = at + width
    end = start + int.from_bytes(body[at:start], "big")
    if end > len(body) or start > len(body):
        raise BadHello("cut_short")
    return body[start:end], end


def _extensions(block: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at, end = 0, len(block)
    while at < end:
        if end - at < 4:
            raise BadHello("extension")
        kind, size = unpack_from(">HH", block, at)
        at += 4
        if kind in found or size > end - at:  # RFC 8446 section 4.2: no type twice
            raise BadHello("extension")
        found[kind] = block[at : at + size]
        at += size
    return found


def _whole(data: bytes, width: int) -> bytes:
    """Return the one vector that `data` must be made of."""
    inner, end = _vector(data, 0, width)
    if end != len(data) or not inner:
        raise BadHello("extension")
    return inner


def _server_name(data: bytes | None) -> str | None:
    """Read RFC 6066 section 3; as in OpenSSL exactly one entry, a host name (no other was ever defined)."""
    if data is None:
        return None
    entry = _whole(data, 2)
    if entry[0] != 0:
        raise BadHello("server_name")
    name = _whole(entry[1:], 2)
    match = _HOST.fullmatch(name)
    # RFC 6066 forbids addresses here, and what ends in a number is meant as an IPv4 address
    if match is None or len(name) > 254 or match[1].isdigit():
        return None
    return name.lower().removesuffix(b".").decode("ascii")


def _ticket(extensions: dict[int, bytes]) -> bytes:
    """Give the beginning of the first ticket; whether it is one, the engine finds out."""
    identities = extensions.get(_PRE_SHARED_KEY)  # of each its length stands before it, as that of the list
    ticket = extensions.get(_SESSION_TICKET, b"") if identities is None else identities[4:]
    return ticket[:_KEY_NAME] if len(ticket) > _KEY_NAME else b""


def _protocols(data: bytes | None) -> tuple[bytes, ...]:
    if data is None:
        return ()
    names, at = [], 0
    listed = _whole(data, 2)
    while at < len(listed):
        name, at = _vector(listed, at, 1)
        if not name:  # RFC 7301 section 3.1
            raise BadHello("alpn")
        names.append(name)
    return tuple(names)


def _numbers(data: bytes | None, width: int) -> tuple[int, ...]:
    return () if data is None else _shorts(_whole(data, width))


def _shorts(data: bytes) -> tuple[int, ...]:
    if len(data) % 2 or not data:
        raise BadHello("odd_list")
    return unpack(f">{len(data) // 2}H", data)
