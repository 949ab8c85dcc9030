"""Certificate signing requests: a key made here, and a PKCS #10 request that only it can have signed.

Pure but for the randomness of a new key. Promises: the request holds the names that are wanted as subject
alternative names, and nothing else but its subject: what a certificate may be used for, its authority
decides (a request that asks for more than a profile gives is refused by some). Refuses to know where keys
lie, and what becomes of a request (requesting.py).

The common name is the first name that is wanted, unless said otherwise: clients don't look at it (RFC 9525
section 2), but `openssl ca`, Vault and many web forms take no request without one. An empty subject makes the
alternative names critical (RFC 5280 section 4.2.1.6).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certstore import records
from certstore.bundle import PrivateKey, PublicKey
from certstore.issuers.selfsigned import general_names
from certstore.names import normalise

__all__ = [
    "LONGEST_COMMON_NAME",
    "MOST_NAMES",
    "KeyType",
    "RequestKey",
    "Subject",
    "Wanted",
    "new_key",
    "request",
]

RequestKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
# What public authorities take for one certificate; a device has a handful.
MOST_NAMES: Final = 100
LONGEST_COMMON_NAME: Final = 64  # RFC 5280 appendix A: ub-common-name


class KeyType(StrEnum):
    """The kinds of keys that every browser takes (checks.py says which others some refuse)."""

    EC = "ec"
    EC384 = "ec384"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"

    @classmethod
    def of(cls, key: PublicKey) -> KeyType:
        """Give the kind that is nearest to a key that somebody else chose."""
        if isinstance(key, rsa.RSAPublicKey):
            return next((kind for kind, bits in _BITS.items() if bits >= key.key_size), cls.RSA4096)
        if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size > 256:
            return cls.EC384
        return cls.EC

    @property
    def is_rsa(self) -> bool:
        """Whether it is RSA, and not EC."""
        return self in _BITS


_BITS: Final = {KeyType.RSA2048: 2048, KeyType.RSA3072: 3072, KeyType.RSA4096: 4096}


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose certificate it is to be, for authorities that look at it; what is empty is left out.

    ValueError for what no certificate can carry (RFC 5280 appendix A has the lengths).
    """

    common_name: str = ""
    organization: str = ""
    organizational_unit: str = ""
    locality: str = ""
    state: str = ""
    country: str = ""

    def __post_init__(self) -> None:
        for name, (_, longest) in _ATTRIBUTES.items():
            value: str = getattr(self, name)
            if len(value) > longest or not value.isprintable():
                words = name.replace("_", " ")
                raise ValueError(f"the {words} has at most {longest} printable characters")
        if self.country and not _COUNTRY.fullmatch(self.country):
            raise ValueError("the country is a code of two letters, such as DE")

    def to_json(self) -> dict[str, str]:
        """Give those that aren't empty."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name))}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Read what `to_json` gave; ValueError for anything else."""
        if unknown := data.keys() - _ATTRIBUTES.keys():
            raise ValueError(f"a subject has no {min(unknown)}")
        return cls(**{name: records.text(data, name) for name in data})

    @classmethod
    def of(cls, name: x509.Name) -> Self:
        """Take over what a certificate's subject says, as far as it can stand here."""
        found: dict[str, str] = {}
        for field, (oid, longest) in _ATTRIBUTES.items():
            for attribute in name.get_attributes_for_oid(oid)[:1]:
                value = str(attribute.value)
                if len(value) <= longest and value.isprintable():
                    found[field] = value
        try:
            return cls(**found)
        except ValueError:  # a country that is none
            return cls(**{**found, "country": ""})

    def name(self) -> x509.Name:
        """Give it as a name, the widest part first, as authorities show it."""
        return x509.Name(
            [
                x509.NameAttribute(oid, value.upper() if oid == NameOID.COUNTRY_NAME else value)
                for field, (oid, _) in reversed(tuple(_ATTRIBUTES.items()))
                if (value := getattr(self, field))
            ]
        )


_COUNTRY: Final = re.compile("[A-Za-z]{2}")  # ISO 3166
_ATTRIBUTES: Final[Mapping[str, tuple[x509.ObjectIdentifier, int]]] = {
    "common_name": (NameOID.COMMON_NAME, LONGEST_COMMON_NAME),
    "organizational_unit": (NameOID.ORGANIZATIONAL_UNIT_NAME, 64),
    "organization": (NameOID.ORGANIZATION_NAME, 64),
    "locality": (NameOID.LOCALITY_NAME, 128),
    "state": (NameOID.STATE_OR_PROVINCE_NAME, 128),
    "country": (NameOID.COUNTRY_NAME, 2),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for. `names` come out normalised, sorted, each once; ValueError for bad ones."""

    names: tuple[str, ...]
    key_type: KeyType = KeyType.EC
    subject: Subject = Subject()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _normal(self.names))

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        subject = self.subject.to_json()
        return {"names": list(self.names), "key_type": str(self.key_type), "subject": subject}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Read what `to_json` made; ValueError for anything else."""
        subject = data.get("subject")
        if not isinstance(subject, dict):
            raise ValueError("subject is missing or of the wrong kind")  # noqa: TRY004  as in records.py
        return cls(
            names=records.texts(data, "names"),
            key_type=KeyType(records.text(data, "key_type")),
            subject=Subject.from_json(subject),
        )


def new_key(kind: KeyType) -> RequestKey:
    """Make a key; when the random generator is ready (`firstboot.random_ready`). RSA takes seconds."""
    if kind in _BITS:
        return rsa.generate_private_key(public_exponent=65537, key_size=_BITS[kind])
    return ec.generate_private_key(ec.SECP384R1() if kind is KeyType.EC384 else ec.SECP256R1())


def request(wanted: Wanted, key: PrivateKey) -> str:
    """Make the request and sign it with its key (RFC 2986); gives it in PEM. ValueError for other keys."""
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("a request is made for EC and RSA keys only")  # noqa: TRY004  told as the other faults
    alternative = x509.SubjectAlternativeName(general_names(wanted.names))
    subject = wanted.subject.name()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(alternative, critical=not list(subject))
    is_384 = isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256
    signed = builder.sign(key, hashes.SHA384() if is_384 else hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode("ascii")


def _normal(names: Iterable[str]) -> tuple[str, ...]:
    found: set[str] = set()
    for name in names:
        try:
            found.add(normalise(name))
        except ValueError as error:
            raise ValueError(f"{name[:60]!r} can't stand in a certificate: {error}") from None
    if not 1 <= len(found) <= MOST_NAMES:
        raise ValueError(f"a request has 1 to {MOST_NAMES} names and addresses, not {len(found)}")
    return tuple(sorted(found))
