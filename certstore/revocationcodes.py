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
}

REVOCATION: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
