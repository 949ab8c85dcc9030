"""What may become a trust set, and what of one ends: files, authorities, revocation lists.

Promises: a set that would let nobody in, or more than was meant, is refused with every reason; what is only
remarkable is told. Pure.

Theory. Once a set has a revocation list, each authority that issues clients' certificates must have one
there: OpenSSL refuses a client for whose issuer it finds no list, or only one that has ended. That fails
closed, and is meant so: whoever withholds a list must not bring a stolen key back to life. So the dates are
told long before, and a list that has ended already isn't taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import CRLEntryExtensionOID, ExtendedKeyUsageOID, ExtensionOID

from certstore.decode import decode
from certstore.findings import Finding, found
from certstore.trust import CRL_PEM, Crl, TrustSet, extension_of, is_signed_by, words

__all__ = [
    "MOST_ANCHORS",
    "MOST_CRLS",
    "Files",
    "Material",
    "check_trust",
    "join",
    "read_material",
    "standing",
]

Files: TypeAlias = Iterable[tuple[str, bytes]]
"""Names and contents."""

# A company has a handful of authorities; OpenSSL looks through all of them in every handshake.
MOST_ANCHORS: Final = 64
MOST_CRLS: Final = 64
# OpenSSL needs six times the size of a list, measured with 2 and with 20 MB: 3 MB of memory from here on.
_HEAVY_BYTES: Final = 500_000
_IN_MEMORY: Final = 6
# OpenSSL's security level 2 (SSL_CTX_set_security_level(3)), which both engines have
_LEAST_BITS: Final = 2048
_LEAST_CURVE_BITS: Final = 224
# Authorities are replaced by hand, all over a site; lists come by a timer, daily or weekly.
ANCHOR_NOTICE: Final = timedelta(days=30)
_UNDERSTOOD: Final = {ExtensionOID.CRL_NUMBER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER}
# What OpenSSL reads of an authority (X509_supported_extension, tried with both engines); critical others it
# refuses.
_READ: Final = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.INHIBIT_ANY_POLICY,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.OCSP_NO_CHECK,
    ExtensionOID.POLICY_CONSTRAINTS,
    ExtensionOID.POLICY_MAPPINGS,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    x509.ObjectIdentifier("2.16.840.1.113730.1.1"),  # Netscape's certificate type
}


_TAKEN_BACK: Final = x509.CRLReason(x509.ReasonFlags.remove_from_crl)


@dataclass(frozen=True, slots=True)
class Material:
    """What files hold: authorities, lists, and what was wrong or remarkable with them."""

    anchors: tuple[x509.Certificate, ...] = ()
    crls: tuple[Crl, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_material(files: Files) -> Material:
    """Read the files that a customer has: PEM or DER, of either kind, together or apart. Never raises."""
    anchors: list[x509.Certificate] = []
    crls: list[Crl] = []
    findings: list[Finding] = []
    for name, data in files:
        lists, rest = _lists_in(data)
        crls += lists
        if not rest:
            continue
        decoded = decode(((name, rest),))
        findings += [one for one in decoded.findings if one.is_error]
        anchors += decoded.certificates
        if decoded.keys:
            findings.append(found("trust_key_ignored"))
    return Material(tuple(anchors), tuple(crls), tuple(dict.fromkeys(findings)))


def _lists_in(data: bytes) -> tuple[list[Crl], bytes]:
    """Give the revocation lists in a file, and what else is in it; b"" for nothing."""
    try:
        return [x509.load_der_x509_crl(data)], b""
    except ValueError:
        pass
    found_here: list[Crl] = []
    for block in CRL_PEM.findall(data):
        try:
            found_here.append(x509.load_pem_x509_crl(block))
        except ValueError:
            return found_here, data  # whoever decodes the rest says what is wrong with it
    rest = CRL_PEM.sub(b"", data) if found_here else data
    return found_here, b"" if found_here and b"-----BEGIN " not in rest else rest


def join(now: TrustSet | None, brought: Material) -> tuple[TrustSet, tuple[Finding, ...]]:
    """Give the set that follows: who brings authorities names all of them, who brings a list only that one.

    Lists of authorities that stay are kept until there is a newer one by the same key: an authority that
    changes its key keeps its name.
    """
    kept = now.crls if now is not None else ()
    anchors = brought.anchors or (now.anchors if now is not None else ())
    signers = [(one, _signing_key(one, anchors)) for one in kept]
    replaced = {_signing_key(one, anchors) for one in brought.crls}
    renamed = {one.issuer for one in brought.crls}
    gone = [one for one, key in signers if not key and one.issuer not in renamed]
    crls = [one for one, key in signers if key and key not in replaced]
    told = tuple(found("crl_left_out", issuer=words(one.issuer)) for one in gone)
    return TrustSet.of(anchors, (*crls, *brought.crls)), told


def _signing_key(crl: Crl, anchors: Iterable[x509.Certificate]) -> bytes:
    """Give the public key that signed a list; b"" where none of these did."""
    for anchor in anchors:
        if is_signed_by(crl, anchor):
            return anchor.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b""


def check_trust(
    name: str, wanted: TrustSet, before: TrustSet | None, now: datetime | None
) -> Iterator[Finding]:
    """Say what is wrong with a set. now: None while the clock can't be right; then no date is judged."""
    if not wanted.anchors:
        yield found("trust_no_anchor" if wanted.crls else "trust_empty", name=name)
        return
    for count, most, what in (
        (len(wanted.anchors), MOST_ANCHORS, "authorities"),
        (len(wanted.crls), MOST_CRLS, "revocation lists"),
    ):
        if count > most:
            yield found("trust_too_large", count=count, most=most, what=what)
            return
    for anchor in wanted.anchors:
        yield from _check_anchor(anchor, now)
    for crl in wanted.crls:
        yield from _check_crl(name, crl, wanted, now)
        if before is not None:
            yield from _check_order(crl, wanted, before)
    for anchor in wanted.anchors if wanted.crls else ():
        if not any(is_signed_by(crl, anchor) for crl in wanted.crls):
            yield found("crl_not_for_all", subject=words(anchor.subject), name=name)
    size = sum(len(crl.public_bytes(Encoding.DER)) for crl in wanted.crls)
    if size > _HEAVY_BYTES:
        yield found("crl_heavy", name=name, size=_megabytes(size), memory=_megabytes(size * _IN_MEMORY))
    yield from _revoked(name, wanted)


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"


def _revoked(name: str, held: TrustSet) -> Iterator[Finding]:
    for anchor in held.anchors:
        if (crl := held.revoker_of(anchor)) is not None:
            yield found("anchor_revoked", subject=words(anchor.subject), name=name, issuer=words(crl.issuer))


def _check_anchor(anchor: x509.Certificate, now: datetime | None) -> Iterator[Finding]:
    subject = words(anchor.subject)
    if why := _why_not_read(anchor):
        yield found("anchor_unsupported", subject=subject, why=why)
        return
    if not _may_sign(anchor):
        yield found("anchor_not_ca", subject=subject)
        return
    if weak := _weakness(anchor):
        yield found("anchor_weak", subject=subject, key=weak)
    uses = extension_of(anchor, x509.ExtendedKeyUsage)
    # anyExtendedKeyUsage is not enough for OpenSSL
    if uses is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in uses:
        yield found("anchor_not_for_clients", subject=subject)
    if now is not None and now > anchor.not_valid_after_utc:
        yield found("anchor_expired", subject=subject, not_after=_date(anchor.not_valid_after_utc))
    if now is not None and now < anchor.not_valid_before_utc:
        yield found("anchor_not_yet_valid", subject=subject, not_before=_date(anchor.not_valid_before_utc))


def _weakness(anchor: x509.Certificate) -> str:
    """Say what is weak about its key; "" for nothing."""
    try:
        key = anchor.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "of an unknown kind"
    match key:
        case rsa.RSAPublicKey(key_size=bits) if bits < _LEAST_BITS:
            return f"RSA of {bits} bits"
        case dsa.DSAPublicKey(key_size=bits) if bits < _LEAST_BITS:
            return f"DSA of {bits} bits"
        case ec.EllipticCurvePublicKey(key_size=bits) if bits < _LEAST_CURVE_BITS:
            return f"EC of {bits} bits"
    return ""


def _why_not_read(anchor: x509.Certificate) -> str:
    """Say why OpenSSL would refuse what this authority signs; "" where it doesn't."""
    try:
        for extension in anchor.extensions:
            if extension.critical and extension.oid not in _READ:
                return f"it has the critical extension {extension.oid.dotted_string}"
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        return str(error)
    return ""


def _may_sign(anchor: x509.Certificate) -> bool:
    constraints = extension_of(anchor, x509.BasicConstraints)
    usage = extension_of(anchor, x509.KeyUsage)
    return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)


def _check_crl(name: str, crl: Crl, wanted: TrustSet, now: datetime | None) -> Iterator[Finding]:
    issuer = words(crl.issuer)
    signers = [one for one in wanted.anchors if one.subject == crl.issuer]
    if not signers:
        yield found("crl_issuer_unknown", issuer=issuer, name=name)
    elif not any(is_signed_by(crl, one) for one in signers):
        yield found("crl_signature", issuer=issuer)
    if why := _why_not(crl):
        yield found("crl_unsupported", issuer=issuer, why=why)
    ends = crl.next_update_utc
    if ends is None:
        yield found("crl_without_end", issuer=issuer)
    elif now is not None and now > ends:
        yield found("crl_outdated", issuer=issuer, next_update=_date(ends))
    if now is not None and now < crl.last_update_utc:
        yield found("crl_not_yet_valid", issuer=issuer, this_update=_date(crl.last_update_utc))


def _check_order(crl: Crl, wanted: TrustSet, before: TrustSet) -> Iterator[Finding]:
    """Refuse a step back: an older list would let revoked clients in again."""
    key = _signing_key(crl, wanted.anchors)
    for known in before.crls:
        if _age(crl) < _age(known) and _signing_key(known, wanted.anchors) == key:
            yield found("crl_older", issuer=words(crl.issuer), this_update=_date(known.last_update_utc))


def _age(crl: Crl) -> tuple[datetime, int]:
    """Order lists of one key, the older first; of one moment by their numbers (RFC 5280 section 5.2.3)."""
    try:
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        number = 0
    return crl.last_update_utc, number


def _why_not(crl: Crl) -> str:
    """Say why OpenSSL wouldn't take this list; "" where it does."""
    try:
        for extension in crl.extensions:
            if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
                return "it holds changes only"
            if extension.oid == ExtensionOID.ISSUING_DISTRIBUTION_POINT:
                return "it is for some certificates only, or from some place only"
            if extension.critical and extension.oid not in _UNDERSTOOD:
                return f"it has the critical extension {extension.oid.dotted_string}"
        return next(filter(None, map(_why_not_entry, crl)), "")
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        return str(error)


def _why_not_entry(entry: x509.RevokedCertificate) -> str:
    """Say why an entry spoils its list: it is another authority's, takes something back, or can't be read."""
    for extension in entry.extensions:
        if extension.oid == CRLEntryExtensionOID.CERTIFICATE_ISSUER:
            return "it speaks for other authorities too"
        if extension.critical:
            return f"an entry has the critical extension {extension.oid.dotted_string}"
        if extension.value == _TAKEN_BACK:
            return "an entry takes a revocation back, which only lists of changes do"
    return ""


def standing(name: str, held: TrustSet, now: datetime) -> Iterator[Finding]:
    """Tell what of a set ends soon, or has ended. `now`: of a clock that can be right."""
    for anchor in held.anchors:
        ends, subject = anchor.not_valid_after_utc, words(anchor.subject)
        if now > ends:
            yield found("anchor_ended", subject=subject, name=name, not_after=_date(ends))
        elif now > ends - ANCHOR_NOTICE:
            yield found("anchor_expiring", subject=subject, name=name, not_after=_date(ends))
    yield from _revoked(name, held)
    for crl in held.crls:
        next_update = crl.next_update_utc
        if next_update is None:
            continue
        facts = {"issuer": words(crl.issuer), "name": name, "next_update": _date(next_update)}
        if now > next_update:
            yield found("crl_ended", **facts)
        elif now > next_update - (next_update - crl.last_update_utc) / 4:
            yield found("crl_expiring", **facts)


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
