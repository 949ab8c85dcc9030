"""Revocation: what an authority says of a certificate, as one value; and where it is to be asked.

Pure. A `Judgement` is what was judged to be true for a while (ocsp.py, revocationlists.py). Promises: what a
certificate says of its responder, its lists and staples is read so that none can hurt. Refuses to know how
anybody is asked, and what follows from an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AuthorityInformationAccessOID

from certstore.extensions import read
from certstore.findings import Finding, found

__all__ = [
    "ASSUMED",
    "BROKEN",
    "HOLD",
    "REASONS",
    "SKEW",
    "UNREADABLE",
    "Judgement",
    "Status",
    "Way",
    "is_to_be_stapled",
    "list_names",
    "list_urls",
    "responder_urls",
    "span_of",
]

# Clocks differ: OpenSSL's command allows 300 s by default (ocsp(1)), and Firefox a day.
SKEW: Final = timedelta(minutes=5)
# How long an answer counts that doesn't say it itself; as Firefox (mozilla::pkix, ONE_DAY).
ASSUMED: Final = timedelta(days=1)
HOLD: Final = x509.ReasonFlags.certificate_hold.value
"""The one reason that may end again (RFC 5280 section 5.3.1)."""
REASONS: Final = frozenset(reason.value for reason in x509.ReasonFlags)
UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)
"""What cryptography raises for answers that it can't take, and dates of the year 9999."""
BROKEN: Final = (hashes.MD5, hashes.SHA1)
"""By these no answer is signed that counts."""


class Way(StrEnum):
    """How an authority is asked."""

    OCSP = "ocsp"  # RFC 6960
    LIST = "list"  # RFC 5280 section 5

    @property
    def words(self) -> str:
        """Name who answers."""
        return "OCSP responder" if self is Way.OCSP else "revocation list"


class Status(StrEnum):
    """What RFC 6960 section 2.2 calls it; a list knows no `unknown`."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an authority says of a certificate: true from `begins` on until `ends` (aware dates).

    revoked_at, reason: of a revoked one; reason: in RFC 5280's words (camelCase), "" where none was given.
    """

    status: Status
    begins: datetime
    ends: datetime
    revoked_at: datetime | None = None
    reason: str = ""

    @property
    def is_revoked(self) -> bool:
        """Whether the certificate is not to be believed."""
        return self.status is Status.REVOKED

    @property
    def may_return(self) -> bool:
        """Whether a revocation can be taken back: it is a hold."""
        return self.is_revoked and self.reason == HOLD

    @property
    def half(self) -> datetime:
        """When half of its life is over: time to ask again, long before it ends (RFC 6066 says nothing)."""
        return self.begins + (self.ends - self.begins) / 2


def span_of(
    way: Way, begins: datetime, ends: datetime | None, now: datetime
) -> tuple[datetime, datetime] | Finding:
    """Give from when to when an answer counts, if it does now; else what is wrong with it."""
    if begins > now + SKEW:
        return found("revocation_early", way=way.words, since=_date(begins))
    until = ends if ends is not None else begins + ASSUMED
    if until < now - SKEW or until < begins:
        return found("revocation_outdated", way=way.words, until=_date(until))
    return begins, until


def responder_urls(leaf: x509.Certificate) -> tuple[str, ...]:
    """Give where the certificate's OCSP responder is (AIA, RFC 5280 section 4.2.2.1)."""
    told = read(leaf, x509.AuthorityInformationAccess) or ()
    wanted = AuthorityInformationAccessOID.OCSP
    return _urls(one.access_location for one in told if one.access_method == wanted)


def list_urls(leaf: x509.Certificate) -> tuple[str, ...]:
    """Give where the whole revocation list is that the certificate would stand on (section 4.2.1.13).

    Not one for some reasons only, nor of another issuer: what isn't on those may be revoked all the same.
    """
    return _urls(list_names(leaf))


def list_names(leaf: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    """Give all names of the lists that are whole for the certificate, also those that nobody can fetch by."""
    points = read(leaf, x509.CRLDistributionPoints) or ()
    whole = (one for one in points if one.full_name and not one.reasons and not one.crl_issuer)
    return tuple(name for one in whole for name in one.full_name or ())


def is_to_be_stapled(leaf: x509.Certificate) -> bool:
    """Whether the certificate says that its server always staples (RFC 7633; "must-staple")."""
    features = read(leaf, x509.TLSFeature)
    return features is not None and x509.TLSFeatureType.status_request in features


def _urls(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """Give those that can be fetched from: http, since whoever proves https may have to ask us first."""
    urls = (one.value for one in names if isinstance(one, x509.UniformResourceIdentifier))
    return tuple(dict.fromkeys(url for url in urls if url.lower().startswith("http://")))


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
