"""The device's own authority: one root that a customer imports once, and leaves below it that rotate freely.

Pure. Promises: the root may sign for nothing but this device's names and addresses, as they were when it was
made (critical name constraints, RFC 5280 section 4.2.1.10), no authority below it (path length 0), and for
TLS servers only; a leaf never outlives it. Refuses to know where its key lies (authority.py), and when a
leaf is due (identity.py).

What could go wrong, and why it is done so:
- Whoever imports a root lets it speak for every host there is, unless it is constrained: a device that is
  stolen at one site would else be the whole site's bank. A kind of name that the device hasn't is excluded
  as a whole, for what isn't mentioned is allowed.
- Constraints in a *root* are only as good as who looks at them. OpenSSL, Go, Firefox and Chromium do; a
  client that doesn't trusts this root as it trusts any other (docs/device-ca.md).
- The root is renewed with the same key, subject and key identifier, so that leaves below it are good under
  the old one and the new one, and who imported the old one has time until that ends.
- Where a leaf has addresses only, GnuTLS takes its common name for a host's and holds it against the
  constraints, and OpenSSL does where it looks like one: such a leaf has none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certstore.bundle import Bundle, PrivateKey, is_issued_by, spki_of
from certstore.extensions import read
from certstore.firstboot import BUILD_DATE
from certstore.issuers import selfsigned
from certstore.issuers.selfsigned import BACKDATED, Identity, general_names, key_usage, subject_of
from certstore.names import is_address

__all__ = ["LIFETIME", "Authority", "make", "reach"]

# As long as a device is in the field; a third of it is left when the root is renewed, which is time enough to
# import the next one.
LIFETIME: Final = timedelta(days=3650)

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Authority:
    """The root's certificate and key. The key stands in no repr."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names and addresses that it may sign for, sorted."""
        constraints = read(self.certificate, x509.NameConstraints)
        permitted = (constraints.permitted_subtrees if constraints is not None else None) or []
        return tuple(sorted(_name_of(one) for one in permitted))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate, in lower-case hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def spki(self) -> str:
        """The hash of its public key, which it keeps when it is renewed."""
        return spki_of(self.key.public_key())

    def covers(self, name: str) -> bool:
        """Say whether it may sign for a name or address: itself, or a host below a name of its own."""
        if is_address(name):
            return name in self.names
        plain = name.removeprefix("*.")
        return any(plain == one or plain.endswith(f".{one}") for one in self.names if not is_address(one))

    def issued(self, leaf: x509.Certificate) -> bool:
        """Say whether a leaf is its own."""
        return is_issued_by(leaf, self.certificate)

    def issue(self, identity: Identity, key: PrivateKey, now: datetime) -> Bundle:
        """Make a leaf for this identity and key, its profile selfsigned.py's; every name must be covered."""
        assert isinstance(key, ec.EllipticCurvePrivateKey), "the device's own key is an EC key"
        assert all(map(self.covers, identity.names)), "a name that every client would refuse"
        start = max(now, BUILD_DATE).replace(microsecond=0) - BACKDATED
        end = start + selfsigned.LIFETIME - timedelta(seconds=1)
        builder = selfsigned.leaf_builder(_leaf_subject(identity), identity.names, key.public_key(), start)
        issuer_key = read(self.certificate, x509.SubjectKeyIdentifier)
        assert issuer_key is not None, "we made it with one"
        known = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key)
        leaf = (
            builder.issuer_name(self.certificate.subject)
            .not_valid_after(min(end, self.certificate.not_valid_after_utc))
            .add_extension(known, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Bundle.make(key, leaf, ())  # a root is not sent: who trusts it has it


def make(
    names: Iterable[str], identity: Identity, now: datetime, before: Authority | None = None
) -> Authority:
    """Make a root for these names; with the key and subject of the one `before`, or new ones.

    Call it when the kernel's random generator is ready (`firstboot.random_ready`). `names` are normalised.
    """
    key = before.key if before is not None else selfsigned.new_key()
    subject = before.certificate.subject if before is not None else _subject(identity)
    start = max(now, BUILD_DATE).replace(microsecond=0) - BACKDATED
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LIFETIME - timedelta(seconds=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_constraints(tuple(sorted(set(names)))), critical=True)
        .add_extension(ski, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def reach(authority: Authority, wanted: Identity) -> Identity:
    """Give what of an identity the authority may sign for; where that is nothing, what it was made for.

    One name beyond its constraints would have every client refuse the whole leaf (RFC 5280 section 6.1.3).
    """
    covered = tuple(name for name in wanted.names if authority.covers(name))
    return replace(wanted, names=covered or authority.names)


def _leaf_subject(identity: Identity) -> x509.Name:
    """Name the device; by a common name only where that is a name of its own."""
    hosts = [name for name in identity.names if not is_address(name)]
    if hosts:
        common = identity.common_name if identity.common_name in hosts else hosts[0]
        return subject_of(replace(identity, common_name=common))
    first, *others = subject_of(identity)
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, str(first.value)), *others])


def _constraints(names: tuple[str, ...]) -> x509.NameConstraints:
    permitted: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_network(name)) if is_address(name) else one
        for name, one in zip(names, general_names(names), strict=True)
    ]
    excluded: list[x509.GeneralName] = []
    if not any(isinstance(one, x509.DNSName) for one in permitted):
        excluded.append(x509.DNSName(""))  # all of them
    if not any(isinstance(one, x509.IPAddress) for one in permitted):
        excluded += [x509.IPAddress(ipaddress.ip_network(every)) for every in ("0.0.0.0/0", "::/0")]
    return x509.NameConstraints(permitted or None, excluded or None)


def _name_of(one: x509.GeneralName) -> str:
    value = one.value
    return str(value.network_address) if isinstance(value, _Network) else str(value)


def _subject(identity: Identity) -> x509.Name:
    """Name it so that a person finds it in a list of authorities, and takes it for no other device's."""
    return subject_of(replace(identity, common_name=f"{identity.common_name} (authority of this device)"))
