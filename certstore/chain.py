"""Chain: certificates in any order, to the order in which TLS sends them.

Promises: each certificate of the chain signed the one before it (RFC 8446 section 4.4.2), the leaf's issuer
is first, and a root is left out: clients have it, or wouldn't believe it. Takes bounded time, whatever the
certificates claim about each other.
Refuses to know: trust, the time, keys.

Where there are several ways up, the best is one that lasts as long as the leaf; then one that ends at a root
that came along, then the shortest, then the one that ends last. Only a cross-signed certificate that
continues a way is always taken along, although the same authority's root may be there: clients that know the
root stop at it, others need the rest, and who sends it along wants it sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from certstore.bundle import is_issued_by, is_proven_by
from certstore.extensions import read

__all__ = ["Chain", "build_chain", "is_authority", "issuer_among"]

# Real chains have at most four; clients give up at about ten (cryptography's verifier at 8).
LONGEST_CHAIN = 10
# Each look at two certificates may cost a signature check: 0.1 ms, and some ms for an RSA key of absurd size.
MOST_CHECKS = 1000
MOST_WAYS = 100  # that are followed at once; real bundles have three


@dataclass(frozen=True, slots=True)
class Chain:
    """The `certificates` above the leaf, in order; whether a root was there to end them; and the `others`.

    `is_misled`: the way ends at an issuer whose name one of the others has, which did not sign.
    """

    certificates: tuple[x509.Certificate, ...]
    has_root: bool
    others: tuple[x509.Certificate, ...]
    is_misled: bool = False


def is_authority(certificate: x509.Certificate) -> bool:
    """Say whether this is an authority's: basicConstraints with CA:TRUE (RFC 5280 section 4.2.1.9)."""
    constraints = read(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def issuer_among(certificate: x509.Certificate, given: Iterable[x509.Certificate]) -> x509.Certificate | None:
    """Give the first authority that proves to have signed this one; None where none of them does.

    For certificates that nobody handed in: unlike `is_issued_by`, a name proves nothing here.
    """
    named = (one for one in given if one.subject == certificate.issuer and is_authority(one))
    return next((one for one in named if is_proven_by(certificate, one)), None)


def build_chain(leaf: x509.Certificate, given: Sequence[x509.Certificate]) -> Chain:
    """Find the leaf's chain among `given`, which may hold the leaf, roots, strangers, in any order."""
    rest = [certificate for certificate in given if certificate != leaf]
    if is_issued_by(leaf, leaf):
        return Chain((), has_root=True, others=tuple(rest))
    issuance = _Issuance([certificate for certificate in rest if _may_issue(certificate)])
    best = min(_ways(leaf, issuance), key=lambda way: _order(leaf, way))
    used = {*best.links} | ({best.root} if best.root is not None else set())
    last = best.links[-1] if best.links else leaf
    misled = best.root is None and any(
        c.subject == last.issuer for c in rest if c not in used and _may_issue(c)
    )
    return Chain(best.links, best.root is not None, tuple(c for c in rest if c not in used), misled)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way up from the leaf: what is sent, and the root at its end where that is there."""

    links: tuple[x509.Certificate, ...] = ()
    root: x509.Certificate | None = None


@dataclass(slots=True)
class _Issuance:
    """Who signed whom, looked up once for each two."""

    given: Sequence[x509.Certificate]
    checks_left: int = MOST_CHECKS
    known: dict[tuple[x509.Certificate, x509.Certificate], bool] = field(default_factory=dict)

    def of(self, child: x509.Certificate) -> list[x509.Certificate]:
        """Give those that signed `child`, a root among them."""
        return [issuer for issuer in self.given if self.is_issued(child, issuer)]

    def is_issued(self, child: x509.Certificate, issuer: x509.Certificate) -> bool:
        if child.issuer != issuer.subject:
            return False
        pair = (child, issuer)
        if pair not in self.known:
            if not self.checks_left:
                return False
            self.checks_left -= 1
            self.known[pair] = is_issued_by(child, issuer)
        return self.known[pair]


def _ways(leaf: x509.Certificate, issuance: _Issuance) -> list[_Way]:
    """Find the ways that lead no further; the shorter ones first."""
    ended: list[_Way] = []
    waiting = deque([_Way()])
    while waiting and len(ended) + len(waiting) <= MOST_WAYS:
        way = waiting.popleft()
        issuers = issuance.of(way.links[-1] if way.links else leaf)
        further = [c for c in issuers if c not in way.links and not issuance.is_issued(c, c)]
        if further and len(way.links) < LONGEST_CHAIN:
            waiting.extend(_Way((*way.links, issuer)) for issuer in further)
        else:
            roots = [c for c in issuers if issuance.is_issued(c, c)]
            ended.append(_Way(way.links, max(roots, key=lambda c: c.not_valid_after_utc, default=None)))
    return [*ended, *waiting]


def _order(leaf: x509.Certificate, way: _Way) -> tuple[bool, bool, int, float]:
    end = min((c.not_valid_after_utc for c in way.links), default=leaf.not_valid_after_utc)
    return end < leaf.not_valid_after_utc, way.root is None, len(way.links), -end.timestamp()


def _may_issue(certificate: x509.Certificate) -> bool:
    # version 1 certificates have no extensions, and old company roots are such
    constraints = read(certificate, x509.BasicConstraints)
    return constraints is None or constraints.ca
