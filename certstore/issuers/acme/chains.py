"""Chains that an authority gives: proved to be what was asked for, and chosen among.

Pure. Promises: what passes has the wanted key and all wanted names, and each certificate was issued by the
next. Refuses to know dates and trust: the store checks those, as for any candidate (checks.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certstore.bundle import is_issued_by, spki_of
from certstore.extensions import alternative_names, name_words
from certstore.loading import touch

__all__ = ["MOST_CERTIFICATES", "Chain", "prefer"]

MOST_CERTIFICATES: Final = 10


@dataclass(frozen=True, slots=True)
class Chain:
    """A leaf and what it was issued by, in order."""

    leaf: x509.Certificate
    issuers: tuple[x509.Certificate, ...]

    @classmethod
    def read(cls, content: bytes, spki: str, names: Iterable[str]) -> Chain:
        """Read PEM, and prove it. ValueError says what is wrong, in words fit to be shown."""
        try:
            certificates = x509.load_pem_x509_certificates(content)
            for one in certificates:
                touch(one)
            leaf, *issuers = certificates
            is_ours = spki_of(leaf.public_key()) == spki
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
            raise ValueError("what was downloaded is no chain of certificates") from None
        if len(certificates) > MOST_CERTIFICATES:
            raise ValueError(f"the chain has more than {MOST_CERTIFICATES} certificates")
        if not is_ours:
            raise ValueError("it has another key")
        if missing := sorted(set(names) - set(alternative_names(leaf)[0])):
            raise ValueError(f"it isn't for {', '.join(missing)}")
        for one, issuer in zip(certificates, issuers, strict=False):
            if not is_issued_by(one, issuer):
                raise ValueError(f"{name_words(one.subject)} wasn't issued by {name_words(issuer.subject)}")
        return cls(leaf, tuple(issuers))

    @property
    def roots(self) -> frozenset[str]:
        """The names of the authorities in it, its root's among them, which isn't sent along itself."""
        issuers = (one.issuer for one in (self.leaf, *self.issuers))
        return frozenset(name_words(name) for name in issuers)

    def pem(self) -> bytes:
        """Give it as TLS sends it."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in (self.leaf, *self.issuers))


def prefer(chains: Sequence[Chain], root: str | None) -> Chain:
    """Choose the first chain that leads to the root of this name; where there is none, the first."""
    top = (
        one
        for one in chains
        if root is not None and name_words((one.issuers or (one.leaf,))[-1].issuer) == root
    )
    return next(top, None) or next((one for one in chains if root in one.roots), chains[0])
