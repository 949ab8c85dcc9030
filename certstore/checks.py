"""Checks: what would keep clients away from a bundle, told before any client meets it.

Promises: `check` is pure, looks at everything (a customer gets all findings at once, not one an upload),
and never raises for a bundle that exists. Errors are what no client, or no browser, would accept; warnings
are what some refuse, with the one that does named; the trial handshakes of the gate come after.
Refuses to know: where the bundle came from, and whether a client trusts its root: the customer's own
authority is as good as a public one here.

Which client refuses what was tried with Chromium 156, Firefox ESR 153 and curl with OpenSSL 3.0 (see each
code's line).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore.bundle import Bundle, key_words
from certstore.chain import is_authority
from certstore.extensions import alternative_names, fault, read, subject_words
from certstore.findings import Finding, found

__all__ = ["check"]

# Apple refuses longer ones from any authority (support article 103769); 398 days hold for public roots only.
LONGEST_LIFETIME = timedelta(days=825)
SMALLEST_RSA = 2048  # bits; NIST SP 800-57 since 2011, and every browser
LARGEST_QUICK_RSA = 4096  # bits; a signature with 8192 takes over ten times as long as with 4096
LARGEST_RSA = 8192  # bits; Go's clients refuse more (crypto/tls), and one signature takes a tenth of a second
SMALLEST_EC = 256  # bits
_CURVES = {"secp256r1", "secp384r1", "secp521r1"}  # all that RFC 8446 section 4.2.3 has code points for
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


def check(bundle: Bundle, now: datetime, clock_plausible: bool) -> tuple[Finding, ...]:  # noqa: FBT001  the interface
    """Give all findings about a bundle, errors first; `now` is aware.

    With an implausible clock (before the build date, or set back) what the dates say is a warning: a device
    without a battery must come up. The dates are checked again when the clock is plausible.
    """
    findings = [
        *_dates(bundle, now, clock_plausible),
        *_form(bundle.leaf),
        *_key(bundle),
        *_purpose(bundle.leaf),
        *_names(bundle),
        *_chain(bundle, now, clock_plausible),
    ]
    return tuple(sorted(findings, key=lambda finding: not finding.is_error))


def _dates(bundle: Bundle, now: datetime, plausible: bool) -> Iterator[Finding]:  # noqa: FBT001  passed through
    start, end = bundle.not_before, bundle.not_after
    facts = {"not_before": _moment(start), "not_after": _moment(end)}
    doubt = "" if plausible else "_doubtful"
    if end < start:
        yield found("dates_reversed", **facts)
        return
    if now > end:  # the last second still counts (RFC 5280 section 4.1.2.5)
        yield found(f"expired{doubt}", not_after=facts["not_after"], now=_moment(now))
    elif now < start:
        yield found(f"not_yet_valid{doubt}", not_before=facts["not_before"], now=_moment(now))
    if end - start > LONGEST_LIFETIME:
        yield found("lifetime_too_long", days=(end - start).days)


def _form(leaf: x509.Certificate) -> Iterator[Finding]:
    why = fault(leaf)
    if why is not None:
        yield found("certificate_malformed", part="list of extensions", why=why)
        return
    for extension in leaf.extensions:  # RFC 5280 section 4.2: who doesn't know a critical one must refuse
        if extension.critical and isinstance(
            extension.value, x509.UnrecognizedExtension | x509.PrecertPoison
        ):
            part = f"critical extension {extension.oid.dotted_string}"
            yield found("certificate_malformed", part=part, why="it is of a kind that no TLS client knows")


def _key(bundle: Bundle) -> Iterator[Finding]:
    public = bundle.key.public_key()
    words = key_words(public)
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < SMALLEST_RSA:
            yield found("key_too_small", key=words)
        elif public.key_size > LARGEST_RSA:
            yield found("key_far_too_large", key=words)
        elif public.key_size > LARGEST_QUICK_RSA:
            yield found("key_too_large", key=words)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        if public.curve.key_size < SMALLEST_EC:
            yield found("key_too_small", key=words)
        elif public.curve.name not in _CURVES:
            yield found("key_type_unsupported", key=words)
        elif public.curve.name == "secp521r1":  # Chromium refuses it, Firefox doesn't
            yield found("key_refused_by_chromium", key=words)
    elif isinstance(public, ed25519.Ed25519PublicKey):
        # an error although curl would go along: the device's page must never become unreachable by an upload
        yield found("key_refused_by_browsers", key=words)
    else:
        yield found("key_type_unsupported", key=words)


def _purpose(leaf: x509.Certificate) -> Iterator[Finding]:
    if is_authority(leaf):
        yield found("ca_as_leaf")
    extended = read(leaf, x509.ExtendedKeyUsage)
    wanted = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extended is not None and wanted.isdisjoint(extended):
        usages = ", ".join(_usage_words(usage) for usage in extended)
        yield found("not_for_servers", usages=usages)
    usage = read(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:  # RFC 8446 section 4.4.2.2 asks for it
        yield found("no_digital_signature")
    feature = read(leaf, x509.TLSFeature)
    if feature is not None and x509.TLSFeatureType.status_request in feature:
        yield found("must_staple")


def _names(bundle: Bundle) -> Iterator[Finding]:
    usable, ignored = alternative_names(bundle.leaf)
    if not usable:
        yield found("no_alternative_names")
    for name in ignored:
        yield found("name_ignored", name=name)


def _chain(bundle: Bundle, now: datetime, plausible: bool) -> Iterator[Finding]:  # noqa: FBT001  passed through
    if bundle.self_signed:  # nobody relies on its own signature on itself
        yield found("self_signed")
        return
    for certificate in (bundle.leaf, *bundle.chain):
        algorithm = _hash_of(certificate)
        if isinstance(algorithm, _WEAK_HASHES):
            yield found("weak_signature", certificate=subject_words(certificate), algorithm=algorithm.name)
    for issuer in bundle.chain:
        if plausible and now > issuer.not_valid_after_utc:
            end = _moment(issuer.not_valid_after_utc)
            yield found("issuer_expired", subject=subject_words(issuer), not_after=end)


def _hash_of(certificate: x509.Certificate) -> hashes.HashAlgorithm | None:
    try:
        return certificate.signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return None


def _usage_words(usage: x509.ObjectIdentifier) -> str:
    known = {
        ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
        ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
        ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
        ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
        ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    }
    return known.get(usage, usage.dotted_string)


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
