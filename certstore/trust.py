"""Trust sets: whose certificates of clients are accepted, and which of them are revoked.

Promises: a set is whole and never changes; its id is the SHA-256 over all that is in it. Every authority in
it is an anchor, also one that another issued: who wants the clients of one sub-authority names that one. Of
one that another's list calls revoked nothing is in force, while it is called so.
Refuses to know the disk, listeners and names, what may become a set (trustchecks.py), and who verifies chains
(OpenSSL does, in each handshake).

Theory. A chain ends at the first authority that is an anchor, so OpenSSL never looks an anchor up in a list;
and whoever's clients are to be looked up has to be one, for its own list. A revoked authority would so live
on for ever. It stays in the set, since a list may also take a revocation back, but its certificate and its
lists aren't handed to OpenSSL: where there are lists, a client for whose issuer there is none is refused, by
whatever chain it comes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

__all__ = ["CRL_PEM", "Crl", "TrustSet", "extension_of", "is_signed_by", "is_trust_name", "words"]

Crl = x509.CertificateRevocationList
E = TypeVar("E", bound=x509.ExtensionType)

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

    def revoker_of(self, anchor: x509.Certificate) -> Crl | None:
        """Give the list by which another authority has revoked this one; None for none."""
        for crl in self.crls:
            by_another = crl.issuer == anchor.issuer != anchor.subject
            if by_another and crl.get_revoked_certificate_by_serial_number(anchor.serial_number) is not None:
                return crl
        return None

    def in_force(self) -> TrustSet:
        """Give what lets clients in: without authorities that are revoked, and their lists."""
        left = tuple(one for one in self.anchors if self.revoker_of(one) is None)
        if len(left) == len(self.anchors):
            return self
        return TrustSet(left, tuple(one for one in self.crls if any(is_signed_by(one, by) for by in left)))

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


def is_signed_by(crl: Crl, anchor: x509.Certificate) -> bool:
    """Whether this authority has signed this list, and may."""
    if crl.issuer != anchor.subject:
        return False
    usage = extension_of(anchor, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:  # RFC 5280 section 6.3.3 (f); OpenSSL refuses it too
        return False
    try:
        return crl.is_signature_valid(anchor.public_key())  # type: ignore[arg-type]  # others: TypeError
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def extension_of(anchor: x509.Certificate, kind: type[E]) -> E | None:
    """Give an authority's extension of this kind; None for none, and for one that can't be read."""
    try:
        return anchor.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def words(name: x509.Name) -> str:
    """Write a distinguished name for people (RFC 4514)."""
    return name.rfc4514_string() or "(no name)"


def _der(one: x509.Certificate | Crl) -> bytes:
    return one.public_bytes(Encoding.DER)
