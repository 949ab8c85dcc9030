"""Revocation lists: what a list says of one certificate of our own (RFC 5280 section 6.3).

Promises: `judge_list` gives what the authority says, or one finding with why its list counts for nothing; it
never raises for whatever came. Pure. Refuses to know the lists by which clients are let in (trustchecks.py),
and how a list is reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtensionOID

from certstore.chain import is_authority
from certstore.extensions import read
from certstore.findings import Finding, found
from certstore.revocation import BROKEN, UNREADABLE, Judgement, Status, Way, list_names, span_of

if TYPE_CHECKING:
    from datetime import datetime

    from certstore.trust import Crl

__all__ = ["LARGEST_LIST", "judge_list"]

# Public authorities split theirs; those of a million certificates have some 2 MB. It is read by the examiner,
# which has memory for as much, and kept by nobody.
LARGEST_LIST: Final = 4_194_304
# It belongs on lists of changes only, and takes an entry back there (RFC 5280 section 5.3.1).
_NOT_THERE: Final = x509.ReasonFlags.remove_from_crl.value
_UNDERSTOOD: Final = {
    ExtensionOID.CRL_NUMBER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.ISSUING_DISTRIBUTION_POINT,
}


def judge_list(
    answer: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> Judgement | Finding:
    """Say what a list (DER, or PEM as some give it) says of `leaf`, which `issuer` has signed."""
    if len(answer) > LARGEST_LIST:
        return _unreadable(f"it has more than {LARGEST_LIST} bytes")
    try:
        is_pem = answer.lstrip().startswith(b"-----BEGIN X509 CRL-----")
        held = x509.load_pem_x509_crl(answer) if is_pem else x509.load_der_x509_crl(answer)
        return _judge(held, leaf, issuer, now)
    except UNREADABLE as error:
        return _unreadable(str(error) or type(error).__name__)


def _judge(held: Crl, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Judgement | Finding:
    if held.issuer != leaf.issuer:
        return found("revocation_foreign", way=Way.LIST.words)
    by = held.signature_hash_algorithm
    if isinstance(by, BROKEN) or not _is_signed_by(held, issuer):
        why = (
            f"it is signed by {by.name}, which is broken"
            if isinstance(by, BROKEN)
            else "the issuer has not signed it"
        )
        return found("revocation_unsigned", way=Way.LIST.words, why=why)
    if why := _why_not_whole(held, leaf):
        return _unreadable(why)
    span = span_of(Way.LIST, held.last_update_utc, held.next_update_utc, now)
    if isinstance(span, Finding):
        return span
    entry = held.get_revoked_certificate_by_serial_number(leaf.serial_number)
    reason = _reason(entry) if entry is not None else _NOT_THERE
    if entry is None or reason == _NOT_THERE:
        return Judgement(Status.GOOD, *span)
    return Judgement(Status.REVOKED, *span, entry.revocation_date_utc, reason)


def _reason(entry: x509.RevokedCertificate) -> str:
    """Give why; "" where that isn't said, or can't be read: who stands there is revoked all the same.

    Raises ValueError where it says what nobody may pass by.
    """
    reason = ""
    try:
        said = list(entry.extensions)
    except UNREADABLE:
        return reason
    for extension in said:
        if isinstance(extension.value, x509.CRLReason):
            reason = extension.value.reason.value
        elif extension.critical:
            raise ValueError(f"an entry has the critical extension {extension.oid.dotted_string}")
    return reason


def _is_signed_by(held: Crl, issuer: x509.Certificate) -> bool:
    usage = read(issuer, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:  # RFC 5280 section 6.3.3 (f)
        return False
    try:
        return held.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # others: TypeError
    except InvalidSignature:
        return False


def _why_not_whole(held: Crl, leaf: x509.Certificate) -> str:
    """Say why this list doesn't speak of all certificates like `leaf`; "" where it does (section 5.2.5)."""
    for extension in held.extensions:
        if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            return "it holds changes only"
        if extension.critical and extension.oid not in _UNDERSTOOD:
            return f"it has the critical extension {extension.oid.dotted_string}"
        point = extension.value
        if not isinstance(point, x509.IssuingDistributionPoint):
            continue
        if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs:
            return "it is not about all that was revoked"
        if point.only_contains_user_certs if is_authority(leaf) else point.only_contains_ca_certs:
            return "it is about other kinds of certificates only"
        # section 6.3.3 (b) (2) (i); names that count from the issuer's are hardly ever given
        names = set(point.full_name or ())
        if point.relative_name is not None or (names and names.isdisjoint(list_names(leaf))):
            return "it is a part of the authority's list, and not that of this certificate"
    return ""


def _unreadable(why: str) -> Finding:
    return found("revocation_unreadable", way=Way.LIST.words, why=why)
