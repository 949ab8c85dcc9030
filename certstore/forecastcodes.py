"""The part of the catalogue that tells, before a certificate is served, which clients it would keep out.

Beside catalogue.py, which puts all parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["FORECAST"]

_TABLE: Final[dict[str, Entry]] = {
    "clients_without_key": Entry(
        Severity.WARNING,
        "{count} of {all} connections since the start came from clients that can't use a certificate with"
        " an {key} key",
        "if they need this certificate's names, have it issued for a key of the other kind (RSA or EC)",
    ),
    "names_still_used": Entry(
        Severity.WARNING,
        "clients still ask for {names} ({count} of {all} connections since the start), which this certificate"
        " doesn't cover, unlike one before it; that one goes on for them until it ends on {not_after}",
        "have it issued for these names too, if they are still used",
    ),
    "hsts_in_force": Entry(
        Severity.NOTE,
        "browsers that have been here take {names} over trusted https only (HSTS): where they don't trust"
        " this certificate they offer no way past the warning",
        "see that it works in such a browser before it is for good: certs import --confirm-within 600",
    ),
    "hsts_keeps_out": Entry(
        Severity.WARNING,
        "browsers that have been here take {names} over trusted https only (HSTS), and offer no way past the"
        " warning about this certificate: {reasons}",
        "mend that first, or have it go back by itself: certs import --confirm-within 600",
    ),
}
FORECAST: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
