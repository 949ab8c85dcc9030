"""The part of the catalogue that tells of the device's own authority."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["AUTHORITY"]

_W, _N = Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    "device_ca_made": Entry(
        _N,
        "the device has an authority of its own, for: {names}",
        "import it once where the device is used: tlsproxy device-ca export",
    ),
    "device_ca_renewed": Entry(
        _W,
        "the device's own authority was made anew, for: {names}; the one before is good until {not_after}",
        "import the new one where the device is used: tlsproxy device-ca export",
    ),
    "device_ca_lost": Entry(
        _W,
        "the banned key is that of the device's own authority: nothing is issued with it any more",
        "remove that authority wherever it was imported; the proxy makes another: tlsproxy device-ca export",
    ),
    "device_ca_banned": Entry(
        _W,
        "the key of the device's own authority ({before}) is banned: there is another now, for: {names}",
        "remove the one before wherever it was imported, and import the new one: tlsproxy device-ca export",
    ),
    "device_ca_uncovered": Entry(
        _W,
        "the device is reached as {names}, too, not covered by its own authority: clients are warned there",
        "to have it speak for them, and import it anew on every client: tlsproxy device-ca renew",
    ),
    "device_ca_damaged": Entry(
        _W,
        "the device's own authority can't be read: {why}",
        "a new one was made: import it where the device is used; check the device's disk",
    ),
}

AUTHORITY: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
