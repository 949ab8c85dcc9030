"""Bundles: a private key, its leaf certificate and the ordered chain, proved to belong together.

Promises: a `Bundle` that exists has a key that is its leaf's (the public keys are equal; the gate proves
more). It is immutable and known by its id: SHA-256 over the DER of leaf and chain, so that the same leaf
with a mended chain is another bundle. The key never stands in a repr.
Refuses to know: whether clients would like it (checks.py), where it is kept (store.py), who sent it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from certstore.errors import Refusal
from certstore.extensions import alternative_names, subject_words
from certstore.findings import found
from certstore.loading import is_consistent, touch

__all__ = [
    "Bundle",
    "PrivateKey",
    "PublicKey",
    "is_issued_by",
    "is_proven_by",
    "key_from_pem",
    "key_to_pem",
    "key_type_of",
    "key_words",
    "spki_of",
]

PrivateKey: TypeAlias = PrivateKeyTypes
PublicKey: TypeAlias = PublicKeyTypes

_TYPES: tuple[tuple[type, str], ...] = (
    (ec.EllipticCurvePublicKey, "EC"),
    (rsa.RSAPublicKey, "RSA"),
    (ed25519.Ed25519PublicKey, "Ed25519"),
    (ed448.Ed448PublicKey, "Ed448"),
    (dsa.DSAPublicKey, "DSA"),
)
# Real ones have 17. A key that is made to fit a signature has one as long as its modulus; for one of 32 bits
# the modulus would have to be a product of known primes that divides one number.
_MOST_EXPONENT_BITS = 32


def spki_of(public_key: PublicKey) -> str:
    """Give SHA-256 over the DER SubjectPublicKeyInfo, in lower-case hex: what a pin holds (RFC 7469)."""
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def key_type_of(public_key: PublicKey) -> str:
    """Name the kind of key: EC, RSA, Ed25519, Ed448, DSA, or other."""
    return next((name for kind, name in _TYPES if isinstance(public_key, kind)), "other")


def key_words(public_key: PublicKey) -> str:
    """Name a key to people by kind, size or curve, and the start of its hash: `EC secp256r1 (1f0c...)`."""
    kind = key_type_of(public_key)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        kind = f"EC {public_key.curve.name}"
    elif isinstance(public_key, rsa.RSAPublicKey):
        kind = f"RSA {public_key.key_size}"
    return f"{kind} ({spki_of(public_key)[:12]})"


def key_to_pem(key: PrivateKey) -> bytes:
    """Give a private key as PEM (PKCS#8, unencrypted): for a 0600 file, or for memory, only."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_from_pem(pem: bytes) -> PrivateKey:
    """Read what `key_to_pem` gave. Raises ValueError, TypeError or UnsupportedAlgorithm for anything else.

    The primes were proved when the key came in; to prove them again would cost 36 to 250 ms each time.
    """
    key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    if isinstance(key, rsa.RSAPrivateKey) and not is_consistent(key):
        raise ValueError("the key's numbers don't belong together")
    return key


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `issuer` made this certificate: its name is the issuer's, and its key made the signature.

    Where the signature's algorithm is one that can't be verified any more (MD5), the names alone decide: it
    is for order only; clients verify for themselves.
    """
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except UnsupportedAlgorithm:
        return True
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def is_proven_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `issuer` proves to have made this certificate; either may come from a stranger.

    Unlike with `is_issued_by` a name proves nothing, and what can't be verified is not proved. Nor does an
    RSA key with a large exponent prove anything: to any signature such a key can be made, with its private
    half (duplicate-signature key selection; Blake-Wilson and Menezes 1999).
    """
    try:
        key = issuer.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e.bit_length() > _MOST_EXPONENT_BITS:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Bundle:
    """A key with its certificate and chain. Equal bundles have equal ids. Make one by `make` or `from_pem`.

    `chain` begins with the leaf's issuer and holds no root. `names` are the normalised alternative names,
    sorted. `fingerprint` is SHA-256 of the leaf's DER, `spki` of its public key; both and the id in
    lower-case hex. The dates are aware, in UTC.
    """

    id: str
    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey
    names: tuple[str, ...]
    fingerprint: str
    spki: str
    not_before: datetime
    not_after: datetime
    key_type: str
    self_signed: bool

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Bundle) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Bundle({self.id[:12]}, names={self.names}, not_after={self.not_after:%Y-%m-%d})"

    @classmethod
    def make(cls, key: PrivateKey, leaf: x509.Certificate, chain: Sequence[x509.Certificate]) -> Bundle:
        """Prove that key and leaf belong together, and bind them.

        Refusal: key_mismatch, key_type_unsupported. `chain` is taken as it is; `decode.assemble` is what
        puts one in order.
        """
        try:
            public = leaf.public_key()
        except (UnsupportedAlgorithm, ValueError) as error:
            raise Refusal(found("key_type_unsupported", key=str(error) or "unknown")) from None
        mine = key.public_key()
        spki = spki_of(public)
        if spki != spki_of(mine):
            raise Refusal(
                found(
                    "key_mismatch",
                    subject=subject_words(leaf),
                    wanted=key_words(public),
                    given=key_words(mine),
                )
            )
        leaf_der = leaf.public_bytes(Encoding.DER)
        digest = hashlib.sha256(leaf_der)
        for certificate in chain:
            digest.update(certificate.public_bytes(Encoding.DER))
        return cls(
            id=digest.hexdigest(),
            leaf=leaf,
            chain=tuple(chain),
            key=key,
            names=alternative_names(leaf)[0],
            fingerprint=hashlib.sha256(leaf_der).hexdigest(),
            spki=spki,
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            key_type=key_type_of(public),
            self_signed=is_issued_by(leaf, leaf),
        )

    @classmethod
    def from_pem(cls, key_pem: bytes, chain_pem: bytes) -> Bundle:
        """Read what `key_pem()` and `chain_pem()` gave; ValueError when unreadable, Refusal as `make`."""
        try:
            key = key_from_pem(key_pem)
            leaf, *chain = x509.load_pem_x509_certificates(chain_pem)
            for certificate in (leaf, *chain):
                touch(certificate)
        except (TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise ValueError(str(error)) from error
        return cls.make(key, leaf, chain)

    def key_pem(self) -> bytes:
        """Give the private key as PEM (PKCS#8, unencrypted): for a 0600 file only."""
        return key_to_pem(self.key)

    def chain_pem(self) -> bytes:
        """Give the leaf and then the chain as PEM, as TLS sends them (RFC 8446 section 4.4.2)."""
        return b"".join(c.public_bytes(Encoding.PEM) for c in (self.leaf, *self.chain))
