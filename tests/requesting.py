"""What tests of requests share: an authority that answers them, as one would by the request alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore.decode import Candidate
from certstore.examination import InProcess
from certstore.receipts import Receipt
from certstore.requests import Request
from certstore.slots import Source
from certstore.store import Store
from tests.pki import Pki, general_name, to_pem
from tests.storing import OpenGate


def sign(pki: Pki, pem: str, names: tuple[str, ...] | None = None, days: float = 90) -> x509.Certificate:
    """Issue what a request asks for (or other names), having looked at its signature."""
    asked = x509.load_pem_x509_csr(pem.encode())
    assert asked.is_signature_valid
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    if names is None:
        alternative = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    else:
        alternative = x509.SubjectAlternativeName([general_name(name) for name in names])
    return (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(pki.intermediate.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternative, critical=False)
        .sign(pki.intermediate_key, hashes.SHA256())
    )


def answered(pki: Pki, request: Request, days: float = 90, *, chain: bool = True) -> Candidate:
    """Give the answer to a request as an authority sends it: no key in it."""
    certificate = sign(pki, request.pem, days=days)
    return Candidate((("answer.pem", to_pem(certificate, *[pki.intermediate] * chain)),))


def answer(pki: Pki, request: Request, names: tuple[str, ...]) -> Candidate:
    """Give an answer with other names than were asked for."""
    return Candidate((("answer.pem", to_pem(sign(pki, request.pem, names), pki.intermediate)),))


def hand_in(
    store: Store,
    candidate: Candidate,
    examiner: InProcess | None = None,
    confirm_within_s: float | None = None,
) -> Receipt:
    """Hand it in as a customer does."""
    return store.propose(
        candidate,
        source=Source.CUSTOMER,
        via="test",
        examiner=examiner or InProcess(OpenGate()),
        confirm_within_s=confirm_within_s,
    )
