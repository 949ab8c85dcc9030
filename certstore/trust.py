"""Trust sets: whose certificates of clients are accepted, and which of them are revoked.

Promises: a set is whole and never changes; its id is the SHA-256 over all that is in it. Every authority in
it is an anchor, also one that another issued: who wants the clients of one sub-authority names that one.
Refuses to know the disk, listeners and names, what may become a set (trustchecks.py), and who verifies chains
(OpenSSL does, in each handshake).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

__all__ = ["CRL_PEM", "Crl", "TrustSet", "is_trust_name", "words"]

Crl = x509.CertificateRevocationList

CRL_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\s*", re.DOTALL)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class TrustSet:
    """Authorities and their revocation lists, ordered by their bytes."""

    anchors: tuple[x509.Certificate, ...]
    crls: tuple[Crl, ...] = ()

    @classmethod
    def of(cls, anchors: Iterable[x509.Certificate], crls: Iterable[Crl] = ()) -> TrustSet:
        """Make a set of these, each once."""
        return cls(
            tuple({_der(one): one for one in sorted(anchors, key=_der)}.values()),
            tuple({_der(one): one for one in sorted(crls, key=_der)}.values()),
        )

    @property
    def id(self) -> str:
        """Name the set by all that is in it."""
        digest = hashlib.sha256()
        for part in (*map(_der, self.anchors), b"", *map(_der, self.crls)):
            digest.update(len(part).to_bytes(4, "big") + part)
        return digest.hexdigest()

    @property
    def fingerprints(self) -> frozenset[str]:
        """The SHA-256 of each authority's certificate."""
        return frozenset(hashlib.sha256(_der(one)).hexdigest() for one in self.anchors)

    def anchors_pem(self) -> bytes:
        """Write the authorities."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.anchors)

    def crls_pem(self) -> bytes:
        """Write the lists."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.crls)

    @classmethod
    def from_pem(cls, anchors: bytes, crls: bytes) -> TrustSet:
        """Read what `anchors_pem` and `crls_pem` wrote. ValueError for anything else."""
        return cls.of(
            x509.load_pem_x509_certificates(anchors),
            [x509.load_pem_x509_crl(one) for one in CRL_PEM.findall(crls)],
        )


def is_trust_name(text: str) -> bool:
    """Whether this may name a set: lower-case letters, digits and hyphens."""
    return _NAME.fullmatch(text) is not None


def words(name: x509.Name) -> str:
    """Write a distinguished name for people (RFC 4514)."""
    return name.rfc4514_string() or "(no name)"


def _der(one: x509.Certificate | Crl) -> bytes:
    return one.public_bytes(Encoding.DER)
