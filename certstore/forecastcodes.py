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
}
FORECAST: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
