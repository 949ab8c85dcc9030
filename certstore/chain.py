"""Chain: certificates in any order, to the order in which TLS sends them.

Promises: each certificate of the chain signed the one before it (RFC 8446 section 4.4.2), the leaf's issuer
is first, and a root is left out: clients have it, or wouldn't believe it. Takes bounded time, whatever the
certificates claim about each other.
Refuses to know: trust, dates, keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from certstore.bundle import is_issued_by
from certstore.extensions import read

__all__ = ["Chain", "build_chain", "is_authority"]

# Real chains have at most four; clients give up at about ten (cryptography's verifier at 8). Each step
# costs a signature check for each certificate that bears the issuer's name.
LONGEST_CHAIN = 10


@dataclass(frozen=True, slots=True)
class Chain:
    """The `certificates` above the leaf, in order; whether a root was there to end them; and the `others`."""

    certificates: tuple[x509.Certificate, ...]
    has_root: bool
    others: tuple[x509.Certificate, ...]


def is_authority(certificate: x509.Certificate) -> bool:
    """Say whether this is an authority's: basicConstraints with CA:TRUE (RFC 5280 section 4.2.1.9)."""
    constraints = read(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def build_chain(leaf: x509.Certificate, given: Sequence[x509.Certificate]) -> Chain:
    """Find the leaf's chain among `given`, which may hold the leaf, roots, strangers, in any order.

    Where an authority has a root and a cross-signed certificate for the same key, the cross-signed one is
    taken: who sends it along wants it sent. Of several, the one that ends last.
    """
    rest = [certificate for certificate in given if certificate != leaf]
    chain: list[x509.Certificate] = []
    has_root = is_issued_by(leaf, leaf)
    child = leaf
    while not has_root and len(chain) < LONGEST_CHAIN:
        issuers = [c for c in rest if _may_issue(c) and is_issued_by(child, c)]
        if not issuers:
            break
        for_order = [(not is_issued_by(c, c), c.not_valid_after_utc) for c in issuers]
        issuer = issuers[for_order.index(max(for_order))]
        rest.remove(issuer)
        if is_issued_by(issuer, issuer):
            has_root = True
        else:
            chain.append(issuer)
            child = issuer
    return Chain(tuple(chain), has_root, tuple(rest))


def _may_issue(certificate: x509.Certificate) -> bool:
    # version 1 certificates have no extensions, and old company roots are such
    constraints = read(certificate, x509.BasicConstraints)
    return constraints is None or constraints.ca
