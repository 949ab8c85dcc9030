"""The catalogue's part about a missing issuer: where it is to be had, and what came of fetching it.

Beside catalogue.py, which puts all parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["ISSUERS"]

_TABLE: Final[dict[str, Entry]] = {
    "issuer_known_at": Entry(
        Severity.NOTE,
        "the missing certificate is said to be at {url}; it is fetched only where that is configured",
        "add it to the files, or have such certificates fetched: aia = true under [checks]",
    ),
    "issuer_fetched": Entry(
        Severity.NOTE,
        "the certificate of the issuer, {subject}, was missing and was fetched from {url}",
        "nothing to do; files with the whole chain (often named fullchain.pem) don't depend on that server",
    ),
    "issuer_kept": Entry(
        Severity.NOTE,
        "the certificate of the issuer, {subject}, was missing; the one that is here already was added",
        "nothing to do; files with the whole chain are often named fullchain.pem",
    ),
    "issuer_not_fetched": Entry(
        Severity.WARNING,
        "the missing certificate could not be fetched from {url}: {why}",
        "add the authority's intermediate certificates to the files; inside your site only networks under"
        " aia_allow are asked",
    ),
}
ISSUERS: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
