"""A small certificate authority for tests: a root, an intermediate, and leaves of every good and bad kind.

It shares no code with what it helps to test: certificates are made here with cryptography alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore.bundle import Bundle

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Tweak = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]

YEAR = timedelta(days=365)


def key_to_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def to_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(c.public_bytes(Encoding.PEM) for c in certificates)


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and its certificate, as objects and as the files that an authority would send."""

    key: Key
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]

    @property
    def key_pem(self) -> bytes:
        return key_to_pem(self.key)

    @property
    def cert_pem(self) -> bytes:
        """The leaf only."""
        return to_pem(self.certificate)

    @property
    def chain_pem(self) -> bytes:
        """The leaf, then the intermediates."""
        return to_pem(self.certificate, *self.chain)

    def bundle(self) -> Bundle:
        return Bundle.make(self.key, self.certificate, self.chain)


class Pki:
    """The authority. Making one costs two EC keys; RSA keys are made when first asked for, and re-used."""

    def __init__(self) -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.intermediate_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.authority("Test Root", self.root_key, None, self.root_key, now=now)
        self.intermediate = self.authority(
            "Test Intermediate", self.intermediate_key, self.root, self.root_key, now=now
        )

    @cached_property
    def rsa_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def other_rsa_key(self) -> rsa.RSAPrivateKey:
        """A second one, for what doesn't match."""
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def root_pem(self) -> bytes:
        return to_pem(self.root)

    @property
    def intermediate_pem(self) -> bytes:
        return to_pem(self.intermediate)

    def authority(
        self,
        name: str,
        key: Key,
        issuer: x509.Certificate | None,
        issuer_key: Key,
        *,
        now: datetime,
        end: datetime | None = None,
    ) -> x509.Certificate:
        """Make a CA certificate that began ten years ago; `issuer` None makes a root."""
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * YEAR)
            .not_valid_after(end or now + 10 * YEAR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_authority_usage(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if issuer:
            builder = builder.add_extension(_authority_key(issuer), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def make_key(self, kind: str) -> Key:
        """Make a key: "ec" (fresh), "rsa" (always the same), "ed25519" (fresh)."""
        if kind == "ec":
            return ec.generate_private_key(ec.SECP256R1())
        if kind == "rsa":
            return self.rsa_key
        assert kind == "ed25519", kind
        return ed25519.Ed25519PrivateKey.generate()

    def leaf(
        self,
        names: tuple[str, ...] = ("device.test",),
        key: str | Key = "ec",
        days: float = 90,
        start: datetime | None = None,
        issuer: str | None = "intermediate",
        *,
        ca: bool = False,
        eku: bool | tuple[x509.ObjectIdentifier, ...] = True,
        tweak: Tweak | None = None,
    ) -> Issued:
        """Issue a server certificate.

        `key` is "ec", "rsa", "ed25519" or a key to use again; `start` defaults to an hour ago; `issuer` is
        "intermediate", "root", or None for a self-signed one; `ca` says CA:TRUE; `eku` is True for
        serverAuth, False for no such extension, or the usages themselves; `tweak` gets the builder before
        it signs.
        """
        own = self.make_key(key) if isinstance(key, str) else key
        start = start or datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        subject = x509.Name(
            [x509.NameAttribute(x509.NameOID.COMMON_NAME, (names or ("no-names.test",))[0][:64])]
        )
        parent, parent_key = self._parent(issuer, own)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(parent.subject if parent else subject)
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        )
        if parent:
            builder = builder.add_extension(_authority_key(parent), critical=False)
        usages = eku if isinstance(eku, tuple) else (ExtendedKeyUsageOID.SERVER_AUTH,) * eku
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            alternative = x509.SubjectAlternativeName([general_name(name) for name in names])
            builder = builder.add_extension(alternative, critical=False)
        builder = tweak(builder) if tweak else builder
        algorithm = None if isinstance(parent_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        chain = (self.intermediate,) if issuer == "intermediate" else ()
        return Issued(own, builder.sign(parent_key, algorithm), chain)

    def _parent(self, issuer: str | None, own: Key) -> tuple[x509.Certificate | None, Key]:
        if issuer is None:
            return None, own
        parents: dict[str, tuple[x509.Certificate, Key]] = {
            "intermediate": (self.intermediate, self.intermediate_key),
            "root": (self.root, self.root_key),
        }
        return parents[issuer]


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    subject_key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)


def _authority_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def crl(
    issuer: x509.Certificate,
    key: Key,
    revoked: tuple[int, ...] = (),
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    delta: bool = False,
) -> bytes:
    """Make a revocation list in PEM; it began an hour ago and ends in a month, unless said otherwise."""
    now = datetime.now(UTC).replace(microsecond=0)
    start = start or (min(now, end) if end else now) - timedelta(hours=1)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(start)
        .next_update(end or max(start, now) + timedelta(days=30))
        .add_extension(_authority_key(issuer), critical=False)
    )
    if delta:
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
