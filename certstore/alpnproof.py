"""The certificate that proves a name within a handshake: tls-alpn-01's (RFC 8737; for addresses RFC 8738).

Pure but for its key, which is made here, for this one use, and leaves the process nowhere. Promises: nobody
takes it for a device's: it is self-signed, good for days, and says in a critical extension what it is for.
Refuses to know who asks, and when.

It stands apart from the issuers, because workers make it, behind a fence, who carry nothing of an issuer.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certstore.bundle import Bundle
from certstore.names import is_address

__all__ = ["ACME_TLS", "alpn_proof", "asked_as"]

ACME_TLS: Final = b"acme-tls/1"
"""The one protocol of such a handshake (RFC 8737 section 6.2)."""

_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # id-pe-acmeIdentifier (section 6.1)
_DIGEST_BYTES: Final = 32
_LIFETIME: Final = timedelta(days=7)
_BACKDATED: Final = timedelta(days=1)


def alpn_proof(name: str, digest: bytes, now: datetime) -> Bundle:
    """Make it for a name or address. digest: of the key authorization, 32 bytes. ValueError for another."""
    if len(digest) != _DIGEST_BYTES:
        raise ValueError("a digest of SHA-256 has 32 bytes")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme-tls/1")])
    leaf = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
        # an OCTET STRING (section 3)
        .add_extension(x509.UnrecognizedExtension(_IDENTIFIER, b"\x04\x20" + digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Bundle.make(key, leaf, ())


def asked_as(name: str) -> str:
    """Give the server name by which an authority asks for a name: an address by its reverse (RFC 8738, 6)."""
    return ipaddress.ip_address(name).reverse_pointer if is_address(name) else name


def _general(name: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
