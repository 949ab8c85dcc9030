"""The part of the catalogue that tells of an EC and an RSA certificate for the same names.

As lifecodes.py: catalogue.py puts all parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["COMPANIONS"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    "beside_names_differ": Entry(
        _E,
        "the two certificates are not for the same names: one is for {these}, the other for {those}",
        "have both issued for the same names, or import each by itself",
    ),
    "beside_kind": Entry(
        _E,
        "a certificate with a key of the kind {key} can't stand beside another one: one must be EC, one RSA",
        "import it by itself, without --beside",
    ),
    "nothing_beside": Entry(
        _E,
        "there is no {kind} certificate for just these names ({names}) that this one could stand beside",
        "see what is here: tlsproxy certs list; to have only this one, import it without --beside",
    ),
    "half_left_out": Entry(
        _W,
        "of the two certificates for {names} (from {source}) only the {kind} one comes back: the key of the"
        " other is banned, or it can't be read",
        "import another one beside it: tlsproxy certs import ... --beside",
    ),
    "which_key_lost": Entry(
        _E,
        "two certificates are here for these names, one with an EC key and one with RSA: which key is lost?",
        "bring the new one with --beside, and the key of its kind is banned; bring both to ban both",
    ),
    "beside_gone": Entry(
        _W,
        "the {kind} certificate for these names is served no more, since this one came by itself",
        "to keep the other kind, import with --beside; tlsproxy certs rollback brings both back",
    ),
    "beside_stays": Entry(
        _N,
        "the {kind} certificate that stands beside this one stays",
        "to have this one alone, remove both (tlsproxy certs remove) and import it again",
    ),
}

COMPANIONS: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
