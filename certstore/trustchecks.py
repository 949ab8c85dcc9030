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
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from certstore.decode import decode
from certstore.findings import Finding, found
from certstore.trust import CRL_PEM, Crl, TrustSet, words

__all__ = ["MOST_ANCHORS", "MOST_CRLS", "Material", "check_trust", "join", "read_material", "standing"]

E = TypeVar("E", bound=x509.ExtensionType)

# A company has a handful of authorities; OpenSSL looks through all of them in every handshake.
MOST_ANCHORS: Final = 64
MOST_CRLS: Final = 64
_LEAST_RSA_BITS: Final = 2048
# Authorities are replaced by hand, all over a site; lists come by a timer, daily or weekly.
ANCHOR_NOTICE: Final = timedelta(days=30)
_UNDERSTOOD: Final = {ExtensionOID.CRL_NUMBER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER}


@dataclass(frozen=True, slots=True)
class Material:
    """What files hold: authorities, lists, and what was wrong or remarkable with them."""

    anchors: tuple[x509.Certificate, ...] = ()
    crls: tuple[Crl, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_material(files: Iterable[tuple[str, bytes]]) -> Material:
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

    Lists of authorities that stay are kept until there is a newer one.
    """
    kept = now.crls if now is not None else ()
    anchors = brought.anchors or (now.anchors if now is not None else ())
    subjects = {one.subject for one in anchors}
    replaced = {one.issuer for one in brought.crls}
    gone = [one for one in kept if one.issuer not in subjects and one.issuer not in replaced]
    crls = [one for one in kept if one.issuer in subjects - replaced]
    told = tuple(found("crl_left_out", issuer=words(one.issuer)) for one in gone)
    return TrustSet.of(anchors, (*crls, *brought.crls)), told


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
            yield from _check_order(crl, before)
    listed = {crl.issuer for crl in wanted.crls}
    for anchor in wanted.anchors if listed else ():
        if anchor.subject not in listed:
            yield found("crl_not_for_all", subject=words(anchor.subject), name=name)


def _check_anchor(anchor: x509.Certificate, now: datetime | None) -> Iterator[Finding]:
    subject = words(anchor.subject)
    if not _may_sign(anchor):
        yield found("anchor_not_ca", subject=subject)
        return
    try:
        key = anchor.public_key()
    except (UnsupportedAlgorithm, ValueError):
        yield found("anchor_weak", subject=subject, key="of an unknown kind")
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        yield found("anchor_weak", subject=subject, key=f"RSA of {key.key_size} bits")
    uses = _extension(anchor, x509.ExtendedKeyUsage)
    fitting = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if uses is not None and fitting.isdisjoint(uses):
        yield found("anchor_not_for_clients", subject=subject)
    if now is not None and now > anchor.not_valid_after_utc:
        yield found("anchor_expired", subject=subject, not_after=_date(anchor.not_valid_after_utc))
    if now is not None and now < anchor.not_valid_before_utc:
        yield found("anchor_not_yet_valid", subject=subject, not_before=_date(anchor.not_valid_before_utc))


def _may_sign(anchor: x509.Certificate) -> bool:
    constraints = _extension(anchor, x509.BasicConstraints)
    usage = _extension(anchor, x509.KeyUsage)
    return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)


def _check_crl(name: str, crl: Crl, wanted: TrustSet, now: datetime | None) -> Iterator[Finding]:
    issuer = words(crl.issuer)
    signers = [one for one in wanted.anchors if one.subject == crl.issuer]
    if not signers:
        yield found("crl_issuer_unknown", issuer=issuer, name=name)
    elif not any(_is_signed_by(crl, one) for one in signers):
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


def _check_order(crl: Crl, before: TrustSet) -> Iterator[Finding]:
    """Refuse a step back: an older list would let revoked clients in again."""
    for known in before.crls:
        if known.issuer == crl.issuer and crl.last_update_utc < known.last_update_utc:
            yield found("crl_older", issuer=words(crl.issuer), this_update=_date(known.last_update_utc))


def _is_signed_by(crl: Crl, anchor: x509.Certificate) -> bool:
    usage = _extension(anchor, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:  # RFC 5280 section 6.3.3 (f); OpenSSL refuses it too
        return False
    try:
        return crl.is_signature_valid(anchor.public_key())  # type: ignore[arg-type]  # others: TypeError
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def _why_not(crl: Crl) -> str:
    """Say why OpenSSL wouldn't take this list; "" where it does."""
    try:
        for extension in crl.extensions:
            if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
                return "it holds changes only"
            if extension.critical and extension.oid not in _UNDERSTOOD:
                return f"it has the critical extension {extension.oid.dotted_string}"
    except ValueError as error:
        return str(error)
    return ""


def standing(name: str, held: TrustSet, now: datetime) -> Iterator[Finding]:
    """Tell what of a set ends soon, or has ended. `now`: of a clock that can be right."""
    for anchor in held.anchors:
        ends, subject = anchor.not_valid_after_utc, words(anchor.subject)
        if now > ends:
            yield found("anchor_ended", subject=subject, name=name, not_after=_date(ends))
        elif now > ends - ANCHOR_NOTICE:
            yield found("anchor_expiring", subject=subject, name=name, not_after=_date(ends))
    for crl in held.crls:
        next_update = crl.next_update_utc
        if next_update is None:
            continue
        facts = {"issuer": words(crl.issuer), "name": name, "next_update": _date(next_update)}
        if now > next_update:
            yield found("crl_ended", **facts)
        elif now > next_update - (next_update - crl.last_update_utc) / 4:
            yield found("crl_expiring", **facts)


def _extension(anchor: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return anchor.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
