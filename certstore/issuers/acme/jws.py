"""Signed requests: JWS in the one form that ACME takes (RFC 7515 flattened; RFC 8555 section 6.2).

Pure but for the randomness of new keys and of ECDSA. Promises: what is signed names its URL and nonce, so
that nothing can be used again or elsewhere. ES256 for what we make; ES384 and RS256 for keys of
certificates (revocation) and of accounts from elsewhere. Refuses to know nonces' origin and HTTP (client.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from certstore.bundle import PrivateKey, PublicKey
from certstore.issuers.acme.wishes import Binding

__all__ = ["MEDIA_TYPE", "Signer", "SigningKey", "b64url", "bind", "jwk", "new_key", "roll", "thumbprint"]

MEDIA_TYPE: Final = "application/jose+json"

SigningKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_Sign: TypeAlias = Callable[[bytes], bytes]
# by size of curve: name of the curve, of the algorithm (RFC 7518 section 3.4), bytes of a number, the hash
_CURVES: Final[Mapping[int, tuple[str, str, int, hashes.HashAlgorithm]]] = {
    256: ("P-256", "ES256", 32, hashes.SHA256()),
    384: ("P-384", "ES384", 48, hashes.SHA384()),
}


def b64url(content: bytes) -> str:
    """Encode as JOSE does: base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make the key of an account; when the random generator is ready (`firstboot.random_ready`)."""
    return ec.generate_private_key(ec.SECP256R1())


def jwk(public: PublicKey) -> dict[str, str]:
    """Give a public key as JWK, its members in the order of a thumbprint. ValueError for other kinds."""
    if isinstance(public, ec.EllipticCurvePublicKey) and public.key_size in _CURVES:
        curve, _, size, _ = _CURVES[public.key_size]
        numbers = public.public_numbers()
        x, y = (b64url(n.to_bytes(size, "big")) for n in (numbers.x, numbers.y))
        return {"crv": curve, "kty": "EC", "x": x, "y": y}
    if isinstance(public, rsa.RSAPublicKey):
        rsa_numbers = public.public_numbers()
        return {"e": _uint(rsa_numbers.e), "kty": "RSA", "n": _uint(rsa_numbers.n)}
    raise ValueError("requests are signed with EC keys of 256 or 384 bits, or RSA keys")


def thumbprint(public: PublicKey) -> str:
    """Give the SHA-256 thumbprint (RFC 7638), which is the second half of a key authorization."""
    return b64url(hashlib.sha256(_json(jwk(public))).digest())


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs a request: an account's key with its URL (`kid`), or a key that shows itself (`kid` None)."""

    key: SigningKey = field(repr=False)
    kid: str | None = None

    @classmethod
    def of(cls, key: PrivateKey, kid: str | None = None) -> Signer:
        """Take any private key. ValueError for a kind that no authority takes."""
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("requests are signed with EC or RSA keys")  # noqa: TRY004  as `jwk`
        jwk(key.public_key())
        return cls(key, kid)

    def sign(self, payload: Mapping[str, object] | None, url: str, nonce: str | None = None) -> bytes:
        """Give the body of a POST; `payload` None is a POST-as-GET (RFC 8555 section 6.3)."""
        whole = b"" if payload is None else _json(payload)
        return _json(self._flat(whole, url, nonce))

    def _flat(self, payload: bytes, url: str, nonce: str | None) -> dict[str, str]:
        head: dict[str, object] = {"alg": _algorithm(self.key), "url": url}
        if nonce is not None:
            head["nonce"] = nonce
        head |= {"jwk": jwk(self.key.public_key())} if self.kid is None else {"kid": self.kid}
        return _flattened(head, payload, lambda signed: _signature(self.key, signed))


def bind(binding: Binding, key: PublicKey, url: str) -> dict[str, str]:
    """Give an account key's binding to the authority's customer (RFC 8555 section 7.3.4)."""
    head = {"alg": "HS256", "kid": binding.kid, "url": url}
    return _flattened(
        head, _json(jwk(key)), lambda signed: hmac.digest(binding.mac_key, signed, hashlib.sha256)
    )


def roll(old: SigningKey, new: SigningKey, account: str, url: str) -> dict[str, str]:
    """Give the inner part of a key change: the new key asks for the old one's place (section 7.3.5)."""
    payload = _json({"account": account, "oldKey": jwk(old.public_key())})
    return Signer(new)._flat(payload, url, None)  # noqa: SLF001  the same module


def _flattened(head: Mapping[str, object], payload: bytes, sign: _Sign) -> dict[str, str]:
    protected, body = b64url(_json(head)), b64url(payload)
    signature = sign(f"{protected}.{body}".encode("ascii"))
    return {"protected": protected, "payload": body, "signature": b64url(signature)}


def _algorithm(key: SigningKey) -> str:
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else _CURVES[key.key_size][1]


def _signature(key: SigningKey, signed: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    _, _, size, algorithm = _CURVES[key.key_size]
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(algorithm)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")  # RFC 7518 section 3.4


def _uint(number: int) -> str:
    return b64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _json(data: Mapping[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode("ascii")
