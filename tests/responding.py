"""What an authority answers to the question whether a certificate is revoked; made by cryptography alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.pki import Issued, Key, Pki, Tweak

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def with_responder(*urls: str, lists: Sequence[str] = (), must_staple: bool = False) -> Tweak:
    """Give what makes a leaf name its responders and lists, and promise staples."""

    def tweak(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        if urls:
            places = [
                x509.AccessDescription(
                    AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)
                )
                for url in urls
            ]
            builder = builder.add_extension(x509.AuthorityInformationAccess(places), critical=False)
        if lists:
            points = [
                x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
                for url in lists
            ]
            builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
        if must_staple:
            promised = x509.TLSFeature([x509.TLSFeatureType.status_request])
            builder = builder.add_extension(promised, critical=False)
        return builder

    return tweak


def delegate(
    pki: Pki,
    *usages: x509.ObjectIdentifier,
    issuer: str = "intermediate",
    days: float = 3_650,
    start: datetime = AT - DAY,
) -> Issued:
    """Issue the certificate of a responder; without usages for id-kp-OCSPSigning."""
    eku = usages or (ExtendedKeyUsageOID.OCSP_SIGNING,)
    return pki.leaf(("ocsp.test",), issuer=issuer, eku=eku, days=days, start=start)


@dataclass(frozen=True)
class Responder:
    """Answers for one authority; whatever is set differs from a good answer."""

    pki: Pki
    key: Key | None = None
    signer: x509.Certificate | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    issuer: x509.Certificate | None = None
    by_name: bool = False
    hash: hashes.HashAlgorithm = field(default_factory=hashes.SHA1)
    signed_by: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    begins: datetime = AT - HOUR
    ends: datetime | None = AT + 7 * DAY

    def but(self, **facts: object) -> Responder:
        return replace(self, **facts)  # type: ignore[arg-type]

    def answer(
        self,
        leaf: x509.Certificate,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        revoked_at: datetime | None = None,
        reason: x509.ReasonFlags | None = None,
    ) -> bytes:
        signer = self.signer or self.pki.intermediate
        key = self.key or self.pki.intermediate_key
        encoding = ocsp.OCSPResponderEncoding.NAME if self.by_name else ocsp.OCSPResponderEncoding.HASH
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                leaf,
                self.issuer or self.pki.intermediate,
                self.hash,
                status,
                self.begins,
                self.ends,
                revoked_at,
                reason,
            )
            .responder_id(encoding, signer)
        )
        if self.certificates:
            builder = builder.certificates(self.certificates)
        by = None if isinstance(key, ed25519.Ed25519PrivateKey) else self.signed_by
        return builder.sign(key, by).public_bytes(Encoding.DER)

    def revoked(
        self, leaf: x509.Certificate, reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise
    ) -> bytes:
        return self.answer(leaf, ocsp.OCSPCertStatus.REVOKED, AT - 2 * DAY, reason)


def resigned(
    answer: bytes, algorithm: bytes, sign: Callable[[bytes], bytes], old: bytes = b"", new: bytes = b""
) -> bytes:
    """Say something else in an answer (as long as what it takes the place of), and sign that anew.

    For what cryptography's builder won't say. algorithm: the AlgorithmIdentifier in DER.
    """
    signed = ocsp.load_der_ocsp_response(answer).tbs_response_bytes
    assert len(old) == len(new)
    assert old in signed
    signed = signed.replace(old, new)
    basic = _der(0x30, signed + algorithm + _der(0x03, b"\0" + sign(signed)))
    kind = bytes.fromhex("06092b0601050507300101")  # id-pkix-ocsp-basic
    return _der(0x30, bytes.fromhex("0a0100") + _der(0xA0, _der(0x30, kind + _der(0x04, basic))))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    many = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([0x80 | len(many)]) + many) + content


def revocation_list(
    pki: Pki,
    *revoked: tuple[x509.Certificate, x509.ReasonFlags | None],
    begins: datetime = AT - HOUR,
    ends: datetime | None = AT + 7 * DAY,
    key: ec.EllipticCurvePrivateKey | None = None,
    issuer: x509.Name | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    beside: x509.ExtensionType | None = None,
) -> bytes:
    """Make a list, in DER; `beside`: what each entry says, too."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer or pki.intermediate.subject)
        .last_update(begins)
        .next_update(ends or begins + 7 * DAY)
    )
    for certificate, reason in revoked:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(AT - 2 * DAY)
        )
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        if beside is not None:
            entry = entry.add_extension(beside, critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key or pki.intermediate_key, hashes.SHA256()).public_bytes(Encoding.DER)
