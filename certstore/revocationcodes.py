"""The part of the catalogue that tells whether our own certificates are revoked, and of staples.

As lifecodes.py: catalogue.py puts all parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["REVOCATION"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_AUTHORITY: Final = "tell the authority; it is asked again by itself, and what is served stays"

_TABLE: Final[dict[str, Entry]] = {
    # --- what is wrong with an answer ---
    "revocation_unreadable": Entry(_W, "the answer of the {way} can't be used: {why}", _AUTHORITY),
    "revocation_unanswered": Entry(_W, "the OCSP responder gives no answer: {status}", _AUTHORITY),
    "revocation_foreign": Entry(
        _W, "the answer of the {way} is not about this certificate or its issuer", _AUTHORITY
    ),
    "revocation_unsigned": Entry(
        _W,
        "the answer of the {way} is not the authority's: {why}",
        "somebody may answer in its place: check the network on the way there; what is served stays",
    ),
    "revocation_outdated": Entry(
        _W,
        "the answer of the {way} ended on {until}",
        "check the device's clock, and tell the authority; it is asked again by itself",
    ),
    "revocation_early": Entry(
        _W,
        "the answer of the {way} begins in the future, on {since}",
        "check the device's clock; it is asked again by itself",
    ),
    # --- how a certificate of ours stands with its authority ---
    "certificate_revoked": Entry(
        _E,
        "the certificate for {names} (from {source}) is revoked since {since}; its authority says: {reason}",
        "import or order another one, with a new key; if others may know the key, ban it: tlsproxy certs ban",
    ),
    "certificate_reinstated": Entry(
        _N,
        "the certificate for {names} (from {source}) is not revoked any more: it was on hold",
        "nothing to do",
    ),
    "certificate_unrecognised": Entry(
        _W,
        "the authority's OCSP responder doesn't know the certificate for {names} (from {source})",
        "a new one may be known in an hour; else ask the authority, and have another one issued",
    ),
    "revocation_unasked": Entry(
        _W,
        "whether the certificate for {names} (from {source}) is revoked can't be found out: {why}",
        "check the network; a responder inside of your site is asked if revocation_allow under [checks] names"
        " its network",
    ),
    "staple_missing": Entry(
        _W,
        "the certificate for {names} (from {source}) demands a stapled OCSP answer, and there is none: {why}",
        "some clients refuse it; see that its responder is reached, or have it issued without must-staple",
    ),
}

REVOCATION: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
