"""What a hello says of what its client can use: one word for its version, one for keys, one for profiles.

Promises: the words come from `OFFERED_VERSIONS`, `USABLE_KEYS` and `FITS`, whatever the client says; no name
and no address goes into them. Refuses to know who counts them, and what is served.

Theory. TLS 1.3 chooses a certificate by the client's signature algorithms alone; TLS 1.2 by its cipher suites
too (RFC 8422 section 5.1). A client that doesn't name its algorithms means those with SHA-1 (RFC 5246
section 7.4.1.4.1), which nobody here signs with.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from tlsproxy.policy_tls import FITS

if TYPE_CHECKING:
    from tlsproxy.tls.clienthello import ClientHello

__all__ = ["ECDSA_SCHEMES", "ECDSA_SUITES", "FITS", "OFFERED_VERSIONS", "TLS13", "USABLE_KEYS", "offer_of"]

OFFERED_VERSIONS: Final = ("older", "TLSv1.2", "TLSv1.3")
USABLE_KEYS: Final = ("neither", "rsa", "ec", "both")
TLS13: Final = 0x0304
_TLS12: Final = 0x0303
# RFC 8446 section 4.2.3: PKCS #1 signs nothing in TLS 1.3
ECDSA_SCHEMES: Final = frozenset({0x0403, 0x0503, 0x0603})
_PSS = frozenset({0x0804, 0x0805, 0x0806})
_RSA = _PSS | {0x0401, 0x0501, 0x0601}
# The profiles' groups and suites (policy_tls.py), by IANA's numbers: X25519MLKEM768 and SecP256r1MLKEM768;
# X25519, P-256, P-384
_HYBRID_GROUPS = frozenset({0x11EC, 0x11EB})
_GROUPS = frozenset({0x001D, 0x0017, 0x0018})
_TLS13_SUITES = frozenset({0x1301, 0x1302, 0x1303})
ECDSA_SUITES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
        "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
        "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
    }
)
"""IANA's numbers of the suites that a policy may name (policy_tls.py) and that want an ECDSA signature."""
_ECDSA_NUMBERS = frozenset(ECDSA_SUITES.values())
# and the same three with RSA
_RSA_SUITES = frozenset({0xC02F, 0xC030, 0xCCA8})


def offer_of(hello: ClientHello) -> tuple[str, str, str]:
    """Say the newest version that a client offers, the keys that it can use with it, and what it fits."""
    algorithms = hello.signature_algorithms
    ec = not ECDSA_SCHEMES.isdisjoint(algorithms)
    if TLS13 in hello.versions:
        keys = USABLE_KEYS[2 * ec + (not _PSS.isdisjoint(algorithms))]
        return OFFERED_VERSIONS[2], keys, _fit_of_tls13(hello)
    if _TLS12 not in hello.versions:
        return OFFERED_VERSIONS[0], USABLE_KEYS[0], FITS[0]
    suites = hello.cipher_suites
    ec = ec and not _ECDSA_NUMBERS.isdisjoint(suites)
    rsa = not _RSA.isdisjoint(algorithms) and not _RSA_SUITES.isdisjoint(suites)
    fits = (ec or rsa) and not _GROUPS.isdisjoint(hello.groups)
    return OFFERED_VERSIONS[1], USABLE_KEYS[2 * ec + rsa], FITS[fits]


def _fit_of_tls13(hello: ClientHello) -> str:
    """Judge a client that offers TLS 1.3: it is spoken to in that, whatever else it offers."""
    if _TLS13_SUITES.isdisjoint(hello.cipher_suites):
        return FITS[0]
    if not _HYBRID_GROUPS.isdisjoint(hello.groups):
        return FITS[3]
    return FITS[0] if _GROUPS.isdisjoint(hello.groups) else FITS[2]
