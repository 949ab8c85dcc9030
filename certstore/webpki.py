"""The Web PKI: what browsers ask of certificates of public authorities, and of no others.

Pure. Sources: the CA/Browser Forum's Baseline Requirements for TLS server certificates (7.1.6.1 the policy
identifiers, 6.3.2 the lifetimes, with ballot SC-081v3), and the Certificate Transparency policies of Chrome
and Apple. Refuses to know who is trusted: a certificate is public where it says so itself, by a policy that
only public authorities may write into theirs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from certstore.extensions import read

__all__ = ["has_timestamps", "is_public", "longest_lifetime"]

# Extended, domain, organisation and individual validation: one of them must be there (7.1.6.1).
_POLICIES: Final = frozenset({"2.23.140.1.1", "2.23.140.1.2.1", "2.23.140.1.2.2", "2.23.140.1.2.3"})
# From when on how long (6.3.2). Days are those of the table; what was issued before 2020-09 has ended.
_LIFETIMES: Final = (
    (datetime(2029, 3, 15, tzinfo=UTC), timedelta(days=47)),
    (datetime(2027, 3, 15, tzinfo=UTC), timedelta(days=100)),
    (datetime(2026, 3, 15, tzinfo=UTC), timedelta(days=200)),
)
_BEFORE: Final = timedelta(days=398)


def is_public(leaf: x509.Certificate) -> bool:
    """Say whether a public authority issued this, by its own word."""
    policies = read(leaf, x509.CertificatePolicies) or ()
    return any(policy.policy_identifier.dotted_string in _POLICIES for policy in policies)


def longest_lifetime(issued_at: datetime) -> timedelta:
    """Give how long a public certificate may be valid that is issued then (aware)."""
    return next((longest for since, longest in _LIFETIMES if issued_at >= since), _BEFORE)


def has_timestamps(leaf: x509.Certificate) -> bool:
    """Say whether the certificate carries proofs that logs have it (SCTs, RFC 6962 section 3.3)."""
    return bool(read(leaf, x509.PrecertificateSignedCertificateTimestamps))
