"""A manufacturer's authority for tests: signs what a device asks for, for life, as IEEE 802.1AR has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from certstore import Candidate
from tests.pki import Pki, to_pem

FOR_EVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def signed(
    pki: Pki, request: str, *, serial: str | None = None, end: datetime = FOR_EVER
) -> x509.Certificate:
    """Sign a request: its key, and all that it asks for, but for another `serial` where one is given."""
    asked = x509.load_pem_x509_csr(request.encode())
    assert asked.is_signature_valid
    builder = (
        x509.CertificateBuilder()
        .subject_name(asked.subject if serial is None else _with_serial(asked.subject, serial))
        .issuer_name(pki.intermediate.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(end, datetime.now(UTC)) - timedelta(hours=1))
        .not_valid_after(end)
    )
    for extension in asked.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(pki.intermediate_key, hashes.SHA256())


def answer(pki: Pki, request: str, *, serial: str | None = None) -> Candidate:
    """Give the files that come back for a request: the certificate, and the intermediate."""
    files = (("device.pem", to_pem(signed(pki, request, serial=serial))), ("chain.pem", pki.intermediate_pem))
    return Candidate(files)


def _with_serial(subject: x509.Name, serial: str) -> x509.Name:
    others = [one for one in subject if one.oid != NameOID.SERIAL_NUMBER]
    return x509.Name([*others, x509.NameAttribute(NameOID.SERIAL_NUMBER, serial)])
