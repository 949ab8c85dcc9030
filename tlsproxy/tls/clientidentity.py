"""Who a client is, by the chain that its handshake has verified.

Promises: what is read here was verified by the TLS library in this handshake. Reading it costs some 0.1 ms,
once a connection. Refuses to know rules and what is done with it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certstore import TrustSet, is_signed_by, spki_of
from tlsproxy.tls.clientrules import Shown

__all__ = ["Acceptance", "ClientIdentity", "identify"]


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """A verified client. anchor: the SHA-256 of the authority that ends its chain; chain: DER, leaf first."""

    shown: Shown
    issuer: x509.Name
    serial: int
    anchor: str
    chain: tuple[bytes, ...] = field(repr=False)

    @property
    def between(self) -> int:
        """How many authorities stand between the certificate and the one that is trusted."""
        return max(len(self.chain) - 2, 0)

    @property
    def subject(self) -> str:
        """The subject as RFC 4514 writes it."""
        return self.shown.subject.rfc4514_string()

    def fields(self, *, forward: str, facts: bool) -> bytes:
        """Write the header fields that tell the upstream, each with its CRLF."""
        lines: list[tuple[bytes, bytes]] = []
        if forward != "none":
            lines.append((b"Client-Cert", _sequence(self.chain[:1])))
        if forward == "chain" and len(self.chain) > 1:  # RFC 9440 section 2.3: without the leaf
            lines.append((b"Client-Cert-Chain", _sequence(self.chain[1:])))
        if facts:
            lines += [
                (b"X-Client-Cert-Verified", b"yes"),
                (b"X-Client-Cert-Subject", _value(self.subject)),
                (b"X-Client-Cert-Serial", b"%x" % self.serial),
                (b"X-Client-Cert-Fingerprint", self.shown.certificate.encode("ascii")),
            ]
            names = [*(f"DNS:{one}" for one in self.shown.dns), *(f"URI:{one}" for one in self.shown.uris)]
            names += [f"email:{one}" for one in self.shown.emails]
            lines += [(b"X-Client-Cert-Names", _list(names))] if names else []
            spiffe = self.shown.spiffe
            lines += [(b"X-Client-Cert-Spiffe", _value(spiffe))] if spiffe else []
        return b"".join([b"%b: %b\r\n" % line for line in lines])


# OpenSSL verifies more than cryptography reads.
_UNREADABLE = (
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
_PLAIN = [
    bytes((byte,)) if 0x20 <= byte < 0x7F and byte != ord("%") else b"%%%02X" % byte for byte in range(256)
]


class Acceptance:
    """Whom a trust set lets in still: whose authority is there, and who isn't revoked.

    A list speaks for the authority whose key has signed it: one that changes its key keeps its name.
    """

    def __init__(self, held: TrustSet) -> None:
        """Read the set's lists, once."""
        held = held.in_force()
        self._anchors = held.fingerprints
        self._revoked: dict[tuple[x509.Name, str], set[int]] = {}
        self._keys: dict[bytes, str] = {}
        for crl in held.crls:
            serials = {one.serial_number for one in crl}
            for key in {_key_of(anchor) for anchor in held.anchors if is_signed_by(crl, anchor)}:
                self._revoked.setdefault((crl.issuer, key), set()).update(serials)
        self._has_lists = bool(held.crls)

    def lets_in(self, client: ClientIdentity) -> bool:
        """Whether this client would get in again; where there are lists, its issuer has to have one."""
        if client.anchor not in self._anchors:
            return False
        if not self._has_lists:
            return True
        revoked = self._revoked.get((client.issuer, self._issuing_key(client)))
        return revoked is not None and client.serial not in revoked

    def _issuing_key(self, client: ClientIdentity) -> str:
        """Give the key that signed a client's certificate; "" for one that can't be read."""
        issuer = client.chain[min(1, len(client.chain) - 1)]
        if issuer not in self._keys:
            self._keys[issuer] = _key_of(x509.load_der_x509_certificate(issuer))
        return self._keys[issuer]


def _key_of(certificate: x509.Certificate) -> str:
    try:
        return spki_of(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return ""


def identify(chain: Sequence[bytes]) -> ClientIdentity:
    """Read a verified chain, leaf first. Raises ValueError where a part of the leaf can't be read."""
    try:
        return _identify(chain)
    except _UNREADABLE as error:
        raise ValueError(str(error)) from error


def _identify(chain: Sequence[bytes]) -> ClientIdentity:
    leaf = x509.load_der_x509_certificate(chain[0])
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return ClientIdentity(
        Shown(
            subject=leaf.subject,
            dns=tuple(names.get_values_for_type(x509.DNSName)),
            emails=tuple(names.get_values_for_type(x509.RFC822Name)),
            uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
            certificate=hashlib.sha256(chain[0]).hexdigest(),
            spki=spki_of(leaf.public_key()),
            signs=_signs(leaf),
        ),
        leaf.issuer,
        leaf.serial_number,
        hashlib.sha256(chain[-1]).hexdigest(),
        tuple(chain),
    )


def _signs(leaf: x509.Certificate) -> bool:
    for extension in leaf.extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True):
                return True
            case x509.KeyUsage(key_cert_sign=signs, crl_sign=lists) if signs or lists:
                return True
    return False


def _sequence(certificates: Sequence[bytes]) -> bytes:
    """Write RFC 9440's byte sequences (RFC 8941 section 3.3.5)."""
    return b", ".join([b":%b:" % base64.b64encode(one) for one in certificates])


def _value(text: str) -> bytes:
    """Make a field's value of a stranger's text: visible ASCII; all else percent-encoded, and "%" too."""
    return b"".join([_PLAIN[byte] for byte in text.encode("utf-8", "surrogateescape")])


def _list(texts: Iterable[str]) -> bytes:
    """Make a field's value of several: no comma of a stranger's text may begin another one."""
    return b", ".join([_value(one).replace(b",", b"%2C") for one in texts])
