"""The self-signed issuer: the device's own identity, before anybody gives it a better one.

Promises: a certificate that browsers and curl accept after their warning, for a key that the caller holds.
Its key can be kept over re-issues, so that a pinned key holds. Reads no clock and no host name: both are
passed in.
Refuses to know: where the names come from, when to re-issue (identity.py), where it is kept (store.py).

What could go wrong, and why it is done so:
- CA:FALSE, and no keyCertSign: where somebody trusts it, a stolen device key must not sign for other hosts.
- A random serial number, never the device's: the same issuer and serial on two certificates is an error that
  no button overrides in Firefox.
- A clock behind the build date would make a certificate that had ended before anybody saw it; the build date
  is then the better guess.
- The common name repeats a name or says what the device is. GnuTLS takes it for a host name where there are
  addresses only; without name constraints that does no harm.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certstore.bundle import Bundle, PrivateKey
from certstore.firstboot import BUILD_DATE
from certstore.names import is_address, normalise

__all__ = [
    "BACKDATED",
    "LIFETIME",
    "LONGEST_ATTRIBUTE",
    "PRINTABLE",
    "Identity",
    "general_names",
    "issue",
    "key_usage",
    "leaf_builder",
    "new_key",
    "subject_of",
]

# 13 months: what browsers once asked of public authorities (398 days at most), and half of Apple's limit
# for others.
LIFETIME: Final = timedelta(days=397)
# A client whose clock is a little behind ours, or in another time zone by mistake, still accepts it.
BACKDATED: Final = timedelta(days=1)
LONGEST_ATTRIBUTE = 64  # RFC 5280 appendix A: ub-common-name, ub-serial-number


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this device is: names and addresses to reach it by, its serial number ("" if unknown), its name.

    `names` come out normalised, sorted, each once; ValueError for one that isn't a name. `common_name` is for
    people (certificate viewers show it); clients look at `names` only.
    """

    names: tuple[str, ...]
    serial: str
    common_name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted({normalise(name) for name in self.names})))


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key; call it when the kernel's random generator is ready (`firstboot.random_ready`)."""
    return ec.generate_private_key(ec.SECP256R1())


def issue(identity: Identity, key: PrivateKey, now: datetime) -> Bundle:
    """Make a self-signed certificate for this identity and key, from a day before `now` on.

    Where `now` is before the build date, that date counts. The key is one of `new_key`, or the one of the
    last certificate. The profile is RFC 5280's for an end entity.
    """
    assert isinstance(key, ec.EllipticCurvePrivateKey), "the device's own key is an EC key"
    start = max(now, BUILD_DATE).replace(microsecond=0) - BACKDATED
    ski, subject = x509.SubjectKeyIdentifier.from_public_key(key.public_key()), subject_of(identity)
    leaf = (
        leaf_builder(subject, identity.names, key.public_key(), start)
        .issuer_name(subject)
        .not_valid_after(start + LIFETIME - timedelta(seconds=1))  # the last second counts (RFC 5280 4.1.2.5)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Bundle.make(key, leaf, ())


def leaf_builder(
    subject: x509.Name, names: tuple[str, ...], public: CertificatePublicKeyTypes, start: datetime
) -> x509.CertificateBuilder:
    """Begin a certificate for the device, whoever signs it: all but issuer, end and the issuer's key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())  # 159 random bits, positive
        .not_valid_before(start)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if names:  # not critical, because the subject is never empty (RFC 5280 section 4.2.1.6)
        alternative = x509.SubjectAlternativeName(general_names(names))
        builder = builder.add_extension(alternative, critical=False)
    return builder


def subject_of(identity: Identity) -> x509.Name:
    """Put a device's name and serial number (OID 2.5.4.5) into a subject; what is too long is cut.

    It is never empty: it is the issuer as well, and an issuer must have a name (RFC 5280 section 4.1.2.4).
    """
    name = "".join(c for c in identity.common_name if c.isprintable()).strip()
    attributes = [_attribute(NameOID.COMMON_NAME, name or next(iter(identity.names), "device"))]
    serial = "".join(c if c in PRINTABLE else "-" for c in identity.serial)
    if serial:
        attributes.append(_attribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(attributes)


# serialNumber is a PrintableString (RFC 5280 appendix A), which has these characters only (X.680)
PRINTABLE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?")


def _attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(oid, value[:LONGEST_ATTRIBUTE])


def general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    """Give names and addresses, as `normalise` gives them, for an extension."""
    return [
        x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
        for name in names
    ]


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    """Give a key usage: TLS servers with ephemeral keys sign, authorities of ours sign certificates."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
