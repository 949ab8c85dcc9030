"""The part of the catalogue that tells of banned keys: what is refused for one, and what a ban brings.

As lifecodes.py: catalogue.py puts all parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["BANS"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    "key_banned": Entry(
        _E,
        "the key of this certificate ({key}) is banned, since others may know it: it is never served again",
        "make a new key, and have a certificate issued for that",
    ),
    "key_not_replaced": Entry(
        _E,
        "the key that is said to be compromised ({key}) is the new certificate's too",
        "make a new key, and have a certificate issued for that",
    ),
    "no_key_leaves": Entry(
        _E,
        "no certificate leaves with this change, so it isn't plain which key is compromised",
        "name the key: tlsproxy certs ban; then import without a reason",
    ),
    "ban_leaves_nothing": Entry(
        _E,
        "without this key nothing could be served",
        "import a certificate with another key first; a running proxy makes one for itself",
    ),
    "now_banned": Entry(
        _N,
        "the key {key} is banned: it is never served again, whoever brings it",
        "have its certificates revoked by whoever issued them",
    ),
    "already_banned": Entry(_N, "the key {key} is banned already", "nothing to do"),
    "out_of_service": Entry(
        _W,
        "the certificate for {names} (from {source}) has a banned key: it is not served any more",
        "import one with another key, or take it away: tlsproxy certs remove",
    ),
    "way_back_banned": Entry(
        _W,
        "unless it is confirmed, this goes back, but not to what was before: that key is banned",
        "confirm it in time; else others' certificates are served for these names, at last the device's own",
    ),
    "slot_key_banned": Entry(
        _E,
        "the certificate for {names} (from {source}) can't come back: its key is banned",
        "import one with another key",
    ),
    "banned_left_out": Entry(
        _W,
        "the certificate for {names} (from {source}) was left out of what came back: its key is banned",
        "import one with another key",
    ),
}

BANS: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
