"""The part of the catalogue that tells of certificate requests, whose keys wait here for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["REQUESTED"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    "request_answered": Entry(
        _N,
        "the certificate answers the request {id} of {made_at}, whose key was made and kept here",
        "nothing to do",
    ),
    "request_names_missing": Entry(
        _W,
        "the certificate leaves out names that the request {id} asked for: {names}",
        "clients that use those names are warned; have it issued with them, too, if they are needed",
    ),
    "requests_unmatched": Entry(
        _N,
        "requests that wait here: {count} ({ids}); none of them has this certificate's key",
        "have one of these signed (tlsproxy certs csr show ID), or give the certificate's own key",
    ),
    "requests_full": Entry(
        _E,
        "{count} requests wait here already; the oldest is {id} of {made_at}",
        "remove one that is no longer needed: tlsproxy certs csr remove {id}",
    ),
    "random_not_ready": Entry(
        _E,
        "the random generator isn't ready yet, so no key is made",
        "try again in a minute; a device without a hardware generator takes a while after its start",
    ),
    "request_prepared": Entry(
        _W,
        "the certificate for {names} ends on {not_after}; the request for the next one, {id}, can be signed",
        "tlsproxy certs csr show {id}, have it signed, then: tlsproxy certs import FILE",
    ),
    "request_expired": Entry(
        _N,
        "the request {id} for {names} waited in vain since {made_at}, and was removed with its key",
        "make a new one if it is still needed: tlsproxy certs csr --name NAME",
    ),
    "requests_foreign": Entry(
        _W,
        "{count} requests waited here with keys that another unit has, too, and were removed: {ids}",
        "make new ones here: tlsproxy certs csr --name NAME; an answer to the old ones is the other unit's",
    ),
    "request_damaged": Entry(
        _W,
        "a certificate request can't be read: {why}",
        "make a new one, and remove that one's folder by hand; check the device's disk",
    ),
}

REQUESTED: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
