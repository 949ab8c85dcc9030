"""What a new connection to the proxy is served with, found by making one.

Promises: a real TCP connection, a real TLS handshake and a real request each time, so that what is shown is
what a client gets, not what somebody believes. Nothing is verified: the certificate is what is looked at,
whoever issued it.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from dataclasses import dataclass
from datetime import datetime

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

LOOK_S = 5.0  # one handshake and one request on the same machine take milliseconds
_MAX_REPLY_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Front:
    """Where the proxy is reached, and by which name."""

    host: str
    port: int
    name: str = "localhost"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a person wants to know of a leaf certificate; `fingerprint` is SHA-256 in lower-case hex."""

    fingerprint: str
    subject: str
    issuer: str
    self_signed: bool
    key: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Read a certificate; ValueError when it is none."""
        leaf = x509.load_der_x509_certificate(der)
        return cls(
            fingerprint=hashlib.sha256(der).hexdigest(),
            subject=_shown(leaf.subject),
            issuer=_shown(leaf.issuer),
            self_signed=leaf.subject == leaf.issuer,
            key=_key(leaf),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            names=_names(leaf),
        )


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one new connection got; `generation` is None where the proxy doesn't tell it."""

    certificate: Certificate
    generation: int | None


async def look(front: Front) -> Sighting:
    """Connect to `front` and say what came.

    Raises OSError (refused, reset, too slow), ssl.SSLError or ValueError (an answer that can't be read).
    """
    with trio.move_on_after(LOOK_S):
        stream = await trio.open_tcp_stream(front.host, front.port)
        tls = trio.SSLStream(stream, _CONTEXT, server_hostname=front.name, https_compatible=True)
        try:
            return await _ask(tls, front)
        except trio.BrokenResourceError as error:
            raise _cause(error) from error
        finally:
            await trio.aclose_forcefully(stream)
    raise TimeoutError("no answer in time")


async def _ask(tls: trio.SSLStream[trio.SocketStream], front: Front) -> Sighting:
    await tls.send_all(
        b"GET /api/connection HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % front.name.encode("ascii")
    )
    certificate = Certificate.from_der(tls.getpeercert(binary_form=True))
    reply = bytearray()
    while (data := await tls.receive_some()) and len(reply) < _MAX_REPLY_BYTES:
        reply += data
    head, _, body = bytes(reply).partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ValueError("the device doesn't answer through the proxy")
    told = json.loads(body)
    generation = told.get("generation") if isinstance(told, dict) else None
    return Sighting(certificate, generation if isinstance(generation, int) else None)


def _cause(error: trio.BrokenResourceError) -> Exception:
    """Give the system's or OpenSSL's own words for a broken stream."""
    cause = error.__cause__
    return (
        cause if isinstance(cause, (OSError, ssl.SSLError)) else ConnectionResetError("the connection broke")
    )


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


_CONTEXT = _context()


def _shown(name: x509.Name) -> str:
    """Name a subject or issuer as people do: its common name, else all of it."""
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string() or "(no name)"


def _key(leaf: x509.Certificate) -> str:
    match leaf.public_key():
        case ec.EllipticCurvePublicKey() as key:
            return {"secp256r1": "EC P-256", "secp384r1": "EC P-384", "secp521r1": "EC P-521"}.get(
                key.curve.name, f"EC {key.curve.name}"
            )
        case rsa.RSAPublicKey() as key:
            return f"RSA {key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case other:
            return type(other).__name__.removesuffix("PublicKey")


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = found.get_values_for_type(x509.DNSName)
    return (*hosts, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))
