"""OCSP: the question whether a certificate is revoked, and what an answer to it is worth (RFC 6960).

Promises: `judge_ocsp` gives what an authority says, or one finding with why its answer counts for nothing; it
never raises for whatever came. Pure: the time is handed in. Refuses to know how a responder is reached.

Theory. An answer comes over plain http, from anybody. It counts only where it is signed by the issuer of the
certificate itself, or by a delegate that this very issuer has given a certificate for it (id-kp-OCSPSigning,
RFC 6960 section 4.2.2.2); where it is about this certificate, by all three of CertID's parts; and where its
time is now. There is no nonce: public responders answer with what they have signed before (RFC 5019 section
4), and a staple must hold for clients that sent none. So an old answer may be played to us until its end;
that is what an answer's life is for, and a newer one is never replaced by an older (whoever keeps them).
What a delegate says counts no longer than its certificate: clients refuse such a staple.
Whether the delegate itself is revoked isn't asked (id-pkix-ocsp-nocheck is the rule, section 4.2.2.2.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from certstore.bundle import is_proven_by
from certstore.extensions import read
from certstore.findings import Finding, found
from certstore.revocation import BROKEN, SKEW, UNREADABLE, Judgement, Status, Way, span_of

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["LARGEST_OCSP", "judge_ocsp", "ocsp_question"]

# Real ones have 0.3 to 3 KB, with a delegate's certificate; each client that asks gets it in its handshake.
LARGEST_OCSP: Final = 16_384
# Certificates that come along and are tried; one is usual, each costs a signature check.
_MOST_DELEGATES: Final = 4
# Answers about other certificates that are passed by.
_MOST_SINGLES: Final = 64
# By which an answer signed by RSASSA-PSS is tried: cryptography (50.0) doesn't tell by which it is.
_OF_PSS: Final = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
_STATUS: Final = {
    ocsp.OCSPCertStatus.GOOD: Status.GOOD,
    ocsp.OCSPCertStatus.REVOKED: Status.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: Status.UNKNOWN,
}


def ocsp_question(leaf: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Give the OCSPRequest for one certificate, in DER.

    By SHA-1, which every responder knows (RFC 5019 section 2.1.1): it names here, and proves nothing.
    """
    return _asked(leaf, issuer, hashes.SHA1()).public_bytes(Encoding.DER)  # noqa: S303


def judge_ocsp(
    answer: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> Judgement | Finding:
    """Say what an OCSPResponse (DER) says of `leaf`, which `issuer` has signed, and until when."""
    if len(answer) > LARGEST_OCSP:
        return _unreadable(f"it has more than {LARGEST_OCSP} bytes")
    try:
        response = ocsp.load_der_ocsp_response(answer)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            status = response.response_status.name.lower().replace("_", " ")
            return found("revocation_unanswered", status=status)
        return _judge(response, leaf, issuer, now)
    except UNREADABLE as error:
        return _unreadable(str(error) or type(error).__name__)


def _asked(leaf: x509.Certificate, issuer: x509.Certificate, by: hashes.HashAlgorithm) -> ocsp.OCSPRequest:
    return ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, by).build()


def _judge(
    response: ocsp.OCSPResponse, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> Judgement | Finding:
    signer = _signer(response, issuer, now)
    if isinstance(signer, str):
        return found("revocation_unsigned", way=Way.OCSP.words, why=signer)
    if why := _why_not_understood(response):
        return _unreadable(why)
    singles = islice(response.responses, _MOST_SINGLES)
    # the latest, where there are several: RFC 6960 section 4.2.2.1 allows to ask for one newer than another
    about = [one for one in singles if _is_about(one, leaf, issuer)]
    if not about:
        return found("revocation_foreign", way=Way.OCSP.words)
    single = max(about, key=lambda one: one.this_update_utc)
    span = span_of(Way.OCSP, single.this_update_utc, single.next_update_utc, now)
    if isinstance(span, Finding):
        return span
    begins, ends = span
    ends = ends if signer is issuer else min(ends, signer.not_valid_after_utc)
    return Judgement(
        _STATUS[single.certificate_status], begins, ends, single.revocation_time_utc, _reason(single)
    )


def _reason(single: ocsp.OCSPSingleResponse) -> str:
    """Give why; "" where that isn't said, or by a number that nobody knows: revoked it is all the same."""
    try:
        return single.revocation_reason.value if single.revocation_reason is not None else ""
    except ValueError:
        return ""


def _why_not_understood(response: ocsp.OCSPResponse) -> str:
    """Say what of an answer must be understood and isn't (RFC 6960 section 4.4).

    Of several certificates in one answer cryptography doesn't show what is said beside each.
    """
    beside = list(response.extensions)
    if len(list(islice(response.responses, 2))) == 1:
        beside += response.single_extensions
    return next(
        (f"it has the critical extension {one.oid.dotted_string}" for one in beside if one.critical), ""
    )


def _is_about(single: ocsp.OCSPSingleResponse, leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Compare all of a CertID (RFC 6960 section 4.1.1): a number alone is unique to its issuer only."""
    if single.serial_number != leaf.serial_number:
        return False
    asked = _asked(leaf, issuer, single.hash_algorithm)
    return (single.issuer_name_hash, single.issuer_key_hash) == (
        asked.issuer_name_hash,
        asked.issuer_key_hash,
    )


def _signer(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> x509.Certificate | str:
    """Give who has signed it, the issuer or its delegate; or why the signature counts for nothing."""
    by = None if _is_pss(response) else response.signature_hash_algorithm
    if isinstance(by, BROKEN):
        return f"it is signed by {by.name}, which is broken"
    why = "neither the issuer nor anybody in its name has signed it"
    for signer in _signers(response, issuer):
        if not _is_named(response, signer):
            continue
        if not _has_signed(signer, response):
            why = "its signature is wrong"
            continue
        why = "" if signer is issuer else _why_no_delegate(signer, issuer, now)
        if not why:
            return signer
    return why


def _signers(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> Iterator[x509.Certificate]:
    yield issuer
    yield from response.certificates[:_MOST_DELEGATES]


def _is_named(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    """Whether the answer says that it comes from this signer (ResponderID, RFC 6960 section 4.2.2.3)."""
    if response.responder_name is not None:
        return response.responder_name == signer.subject
    return (
        response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest
    )


def _why_no_delegate(signer: x509.Certificate, issuer: x509.Certificate, now: datetime) -> str:
    usages = read(signer, x509.ExtendedKeyUsage)
    if not is_proven_by(signer, issuer):
        return "who signed it has no certificate of the issuer"
    if usages is None or ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
        return "who signed it was not told by the issuer to sign such answers"
    usage = read(signer, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        return "the key of who signed it is for other uses"
    if not signer.not_valid_before_utc <= now + SKEW or now > signer.not_valid_after_utc:
        return "the certificate of who signed it is out of date"
    return ""


def _is_pss(response: ocsp.OCSPResponse) -> bool:
    return response.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS


def _has_signed(signer: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    key, signature, signed = signer.public_key(), response.signature, response.tbs_response_bytes
    if _is_pss(response):
        return isinstance(key, rsa.RSAPublicKey) and any(_verifies_pss(key, response, by) for by in _OF_PSS)
    by = response.signature_hash_algorithm
    try:
        match key:
            case rsa.RSAPublicKey() if by is not None:
                key.verify(signature, signed, padding.PKCS1v15(), by)
            case ec.EllipticCurvePublicKey() if by is not None:
                key.verify(signature, signed, ec.ECDSA(by))
            case ed25519.Ed25519PublicKey():
                key.verify(signature, signed)
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _verifies_pss(key: rsa.RSAPublicKey, response: ocsp.OCSPResponse, by: hashes.HashAlgorithm) -> bool:
    manner = padding.PSS(padding.MGF1(by), padding.PSS.AUTO)
    try:
        key.verify(response.signature, response.tbs_response_bytes, manner, by)
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _unreadable(why: str) -> Finding:
    return found("revocation_unreadable", way=Way.OCSP.words, why=why)
