"""With which algorithm a handshake was signed here, as far as that follows from our key and the version.

Promises: what is said is so. In TLS 1.3 an EC key signs with the one algorithm of its curve, and an Edwards
key signs with its own in either version (RFC 8446 section 4.2.3, RFC 8422 section 5.1.1). An RSA key, and an
EC key in TLS 1.2, could take another hash; neither TLS library tells which before Python 3.15, so the name
ends where knowledge does: `rsa_pss_rsae`, `rsa`, `ecdsa`. A resumed session isn't signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from certstore import Bundle

__all__ = ["SIGNATURES", "UNKNOWN", "UNSIGNED", "Signed", "signed_by"]

UNSIGNED: Final = "none"
UNKNOWN: Final = "unknown"
_CURVES: Final = {
    "secp256r1": "ecdsa_secp256r1_sha256",
    "secp384r1": "ecdsa_secp384r1_sha384",
    "secp521r1": "ecdsa_secp521r1_sha512",
}
_KEYS: Final = {
    "RSA": ("rsa", "rsa_pss_rsae"),
    "Ed25519": ("ed25519", "ed25519"),
    "Ed448": ("ed448", "ed448"),
}
SIGNATURES: Final = frozenset(
    {UNSIGNED, UNKNOWN, "ecdsa", *_CURVES.values(), *(name for names in _KEYS.values() for name in names)}
)
"""All that may be said."""


class Signed:
    """What the handshakes of one context are signed with: in TLS 1.2, and in TLS 1.3."""

    __slots__ = ("tls12", "tls13")

    def __init__(self, tls12: str = UNKNOWN, tls13: str = UNKNOWN) -> None:
        self.tls12, self.tls13 = tls12, tls13

    def __call__(self, version: str, *, resumed: bool) -> str:
        """Say it for a handshake that came to `version`."""
        if resumed:
            return UNSIGNED
        return self.tls13 if version == "TLSv1.3" else self.tls12


def signed_by(bundle: Bundle) -> Signed:
    """Say it for a bundle's key."""
    key = bundle.key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return Signed("ecdsa", _CURVES.get(key.curve.name, UNKNOWN))
    return Signed(*_KEYS.get(bundle.key_type, (UNKNOWN, UNKNOWN)))
