"""The choice between a row's EC and its RSA bundle: which of both a client can use. Pure, by its hello.

Promises: EC for every client whose handshake with it can succeed, RSA for everybody else; the same hello gets
the same answer, so that a client that comes back finds the context that its ticket is of. Refuses to know
which names the row has, and how contexts are made.

Theory. EC first: its signature costs the server a tenth of RSA's, and its certificate is smaller. What must
fit is more than a signature algorithm. TLS 1.3 binds each ECDSA scheme to one curve (RFC 8446 section 4.2.3),
and nothing else counts there. In TLS 1.2 a scheme names only its hash (RFC 5246 section 7.4.1.4.1), but the
cipher suite must name ECDSA, and the certificate's curve must be among the groups that the client lists (RFC
8422 sections 5.1 and 5.3). Two clients of TLS 1.2 no bundle can serve: one that lists no groups, which
OpenSSL refuses, and one that names no algorithms, which means SHA-1 (RFC 5246 section 7.4.1.4.1). What the
chain is signed with doesn't count: a client that doesn't know that signature is still given the chain (RFC
8446 section 4.4.2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from tlsproxy.tls.offers import ECDSA_SCHEMES, ECDSA_SUITES, TLS13

if TYPE_CHECKING:
    from certstore import PrivateKey
    from tlsproxy.tls.clienthello import ClientHello
    from tlsproxy.tls.engines.port import Context

__all__ = ["CURVES", "Curve", "curve_of", "ecdsa_suites", "suits", "takes_ecdsa"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve that certificates' keys lie on, by IANA's numbers: its group, and its scheme in TLS 1.3."""

    group: int
    scheme: int


CURVES: Final[Mapping[str, Curve]] = MappingProxyType(
    {
        "secp256r1": Curve(0x0017, 0x0403),
        "secp384r1": Curve(0x0018, 0x0503),
        "secp521r1": Curve(0x0019, 0x0603),
    }
)
"""By the names that `cryptography` has for them."""


def curve_of(key: PrivateKey) -> Curve | None:
    """Give the curve that a bundle's key lies on; None where it is no ECDSA key."""
    return CURVES.get(key.curve.name) if isinstance(key, EllipticCurvePrivateKey) else None


@lru_cache(maxsize=8)  # a process has one policy, or two; each hello for a pair asks
def ecdsa_suites(ciphers: tuple[str, ...]) -> frozenset[int]:
    """Give the numbers of those TLS 1.2 ciphers of a policy, named as there, that want an ECDSA signature."""
    return frozenset(ECDSA_SUITES[name] for name in ciphers if name in ECDSA_SUITES)


def suits(hello: ClientHello, context: Context) -> bool:
    """Say whether a client is served by a context that is the EC one of a pair; False where it has no key."""
    curve = context.curve
    return curve is not None and takes_ecdsa(hello, curve, ecdsa_suites(context.policy.ciphers))


def takes_ecdsa(hello: ClientHello, curve: Curve, suites: frozenset[int]) -> bool:
    """Say whether a handshake with a key on `curve` can succeed; `suites`: as `ecdsa_suites`, of the policy.

    A client that offers TLS 1.3 gets it, so that what it would have taken in TLS 1.2 doesn't count.
    """
    algorithms = hello.signature_algorithms
    if TLS13 in hello.versions:
        return curve.scheme in algorithms
    return (
        not ECDSA_SCHEMES.isdisjoint(algorithms)
        and not suites.isdisjoint(hello.cipher_suites)
        and curve.group in hello.groups
    )
