"""Checks: what would keep clients away from a certificate, told before any client meets it.

Promises: `check` is pure, looks at everything (a customer gets all findings at once, not one an upload),
and never raises for a bundle that exists. `check_shown` says the same of a certificate whose key is
elsewhere: of a file without its key, of another server. Errors are what no client would accept; warnings
are what some refuse, with the one that does named; the trial handshakes of the gate come after.
Refuses to know: where the certificate came from, and what stands on lists (circumstances.py, which is handed
in): the customer's own authority is as good as a public one here.

Which client refuses what was tried with Chromium 156, Firefox ESR 153 and curl with OpenSSL 3.0 (see each
code's line).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore import webpki
from certstore.bundle import Bundle, PublicKey, is_issued_by, key_words
from certstore.chain import is_authority
from certstore.circumstances import Anchor, Circumstances
from certstore.constraints import below_allowance, forbidden_names
from certstore.extensions import alternative_names, fault, name_words, read, subject_words
from certstore.findings import Finding, found
from certstore.names import covers
from certstore.weakness import weaknesses

__all__ = ["check", "check_shown"]

# Apple refuses longer ones from any authority (support article 103769); 398 days hold for public roots only.
LONGEST_LIFETIME = timedelta(days=825)
SMALLEST_RSA = 2048  # bits; NIST SP 800-57 since 2011, and every browser
LARGEST_QUICK_RSA = 4096  # bits; a signature with 8192 takes over ten times as long as with 4096
LARGEST_RSA = 8192  # bits; Go's clients refuse more (crypto/tls), and one signature takes a tenth of a second
SMALLEST_EC = 256  # bits
_CURVES = {"secp256r1", "secp384r1", "secp521r1"}  # all that RFC 8446 section 4.2.3 has code points for
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


@dataclass(frozen=True, slots=True)
class _Case:
    """What is judged: a leaf, the chain above it (its issuer first, no root), and what surrounds them."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    around: Circumstances

    @property
    def life(self) -> tuple[datetime, datetime]:
        return self.leaf.not_valid_before_utc, self.leaf.not_valid_after_utc


def check(bundle: Bundle, around: Circumstances) -> tuple[Finding, ...]:
    """Give all findings about a bundle, errors first.

    With an implausible clock (before the build date, or set back) what the dates say is a warning: a device
    without a battery must come up. The dates are checked again when the clock is plausible.
    """
    return check_shown(bundle.leaf, bundle.chain, around)


def check_shown(
    leaf: x509.Certificate, chain: Sequence[x509.Certificate], around: Circumstances
) -> tuple[Finding, ...]:
    """Give all findings about a leaf and its chain, as `check` does."""
    case = _Case(leaf, tuple(chain), around)
    findings = [
        *_dates(case),
        *_form(leaf),
        *_key(case),
        *_purpose(leaf),
        *_names(case),
        *_reach(case),
        *_chain(case),
        *_public(case),
        *(found("list_unread", why=why) for why in around.unread),
    ]
    return tuple(sorted(findings, key=lambda finding: not finding.is_error))


def _dates(case: _Case) -> Iterator[Finding]:
    (start, end), now = case.life, case.around.now
    facts = {"not_before": _moment(start), "not_after": _moment(end)}
    doubt = "" if case.around.clock_plausible else "_doubtful"
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


def _key(case: _Case) -> Iterator[Finding]:
    try:
        public: PublicKey = case.leaf.public_key()
    except (UnsupportedAlgorithm, ValueError) as error:
        yield found("key_type_unsupported", key=str(error) or "unknown")
        return
    words = key_words(public)
    code = _refused_key(public)
    if code is not None:
        yield found(code, key=words)
    if code != "key_too_small":  # more would be said of what is hopeless anyway
        for why in weaknesses(public):
            yield found("key_weak", key=words, why=why)
    if case.around.key_listed:
        yield found("key_leaked", where=case.around.key_listed)
    if case.around.certificate_listed:
        yield found("certificate_shared", where=case.around.certificate_listed)
    if case.around.known_as:
        yield found("key_known_elsewhere", names=", ".join(case.around.known_as))


def _refused_key(public: PublicKey) -> str | None:
    """Give the code that says who refuses a key of this kind and size; None where nobody does."""
    match public:
        case rsa.RSAPublicKey(key_size=size):
            sizes = (
                (size < SMALLEST_RSA, "key_too_small"),
                (size > LARGEST_RSA, "key_far_too_large"),
                (size > LARGEST_QUICK_RSA, "key_too_large"),
            )
            return next((code for applies, code in sizes if applies), None)
        case ec.EllipticCurvePublicKey(curve=curve) if curve.key_size < SMALLEST_EC:
            return "key_too_small"
        case ec.EllipticCurvePublicKey(curve=curve) if curve.name in _CURVES:
            # Chromium refuses it, Firefox doesn't
            return "key_refused_by_chromium" if curve.name == "secp521r1" else None
        case ed25519.Ed25519PublicKey():  # curl and other programs go along
            return "key_refused_by_browsers"
    return "key_type_unsupported"


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


def _names(case: _Case) -> Iterator[Finding]:
    usable, ignored = alternative_names(case.leaf)
    if not usable:
        yield found("no_alternative_names")
    for name in ignored:
        yield found("name_ignored", name=name)


def _reach(case: _Case) -> Iterator[Finding]:
    """Compare what the certificate covers with what clients ask for."""
    ours, _ = alternative_names(case.leaf)
    wanted = case.around.reached_by
    missing = [name for name in wanted if not any(covers(pattern, name) for pattern in ours)]
    if not missing or not ours:  # without any name it is told already
        return
    if len(missing) == len(wanted):
        yield found("no_name_covered", names=", ".join(missing), covered=", ".join(ours))
    else:
        yield found("names_not_covered", names=", ".join(missing))


def _chain(case: _Case) -> Iterator[Finding]:
    leaf, chain, around = case.leaf, case.chain, case.around
    if is_issued_by(leaf, leaf):  # nobody relies on its own signature on itself
        yield found("self_signed")
        return
    for certificate in (leaf, *chain):
        algorithm = _hash_of(certificate)
        if isinstance(algorithm, _WEAK_HASHES):
            yield found("weak_signature", certificate=subject_words(certificate), algorithm=algorithm.name)
    for issuer in chain:
        if around.clock_plausible and around.now > issuer.not_valid_after_utc:
            end = _moment(issuer.not_valid_after_utc)
            yield found("issuer_expired", subject=subject_words(issuer), not_after=end)
    yield from _allowance(leaf, chain)
    if around.anchor is Anchor.UNKNOWN:
        issuer_words = name_words((chain[-1] if chain else leaf).issuer)
        # behind a public certificate stands a root that is on every list, so what is missing lies between
        if not webpki.is_public(leaf):
            yield found("unknown_root", issuer=issuer_words)
        elif chain:  # without any chain, who put it together has said so
            yield found("incomplete_chain", issuer=issuer_words)


def _allowance(leaf: x509.Certificate, chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    """Compare what was issued with what each authority of the chain may issue."""
    for issuer in chain:
        for name in forbidden_names(leaf, issuer):
            yield found("name_constraint_violated", authority=subject_words(issuer), name=name)
    for one in below_allowance(chain):
        authority, allowed, count = subject_words(one.authority), one.allowed, one.count
        yield found("path_too_long", authority=authority, allowed=allowed, count=count)


def _public(case: _Case) -> Iterator[Finding]:
    """Hold the certificate of a public authority against what browsers ask of these."""
    if not webpki.is_public(case.leaf):
        return
    start, end = case.life
    lasts, most, then = end - start, webpki.longest_lifetime(start), webpki.longest_lifetime(end)
    # the last second counts, so a certificate of a whole number of days may come out one second shorter
    if lasts > most:
        yield found("public_lifetime_too_long", days=lasts.days, most=most.days)
    elif lasts > then:
        yield found("next_lifetime_shorter", days=lasts.days, when=f"{end:%Y-%m-%d}", most=then.days)
    if not webpki.has_timestamps(case.leaf):
        yield found("no_timestamps")


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
