"""The part of the catalogue that tells of changes and of the store: how a candidate ends, what goes back.

What is told of files and certificates stands in catalogue.py, which puts both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["LIFE"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    # --- examination, store and life cycle ---
    "examination_failed": Entry(
        _E,
        "the certificate could not be examined: {why}",
        "hand it in again; what was served before is still served",
    ),
    "gate_failed": Entry(
        _E,
        "a trial handshake with this certificate failed: {why}",
        "have the certificate issued again; what was served before is still served",
    ),
    "gate_browser_failed": Entry(
        _W,
        "programs can use this certificate, but a browser's trial handshake failed: {why}",
        "have it issued for a P-256 or P-384 key, or RSA with 2048 bits or more",
    ),
    "gate_skipped": Entry(
        _N, "no trial handshake was made", "nothing to do: this store is used without a proxy"
    ),
    "prepare_failed": Entry(
        _E,
        "the proxy could not load this certificate: {why}",
        "what was served before is still served; see the log for details",
    ),
    "interrupted": Entry(
        _E,
        "the device stopped before this certificate took effect",
        "import it again; what was served before is still served",
    ),
    "already_live": Entry(_N, "this certificate is already in use", "nothing to do"),
    "slot_sealed": Entry(
        _E,
        "certificates from {source} are sealed and can't be changed",
        "it stays for the device's life; only its manufacturer puts another: tlsproxy factory install"
        " --unsafe-reseal",
    ),
    # --- going back, and probation ---
    "nothing_before": Entry(
        _E,
        "there is nothing that the certificate for {names} (from {source}) could go back to",
        "see what there was (tlsproxy certs history), or take it away (tlsproxy certs remove)",
    ),
    "nothing_before_removal": Entry(
        _E,
        "there was no certificate that could come back",
        "see what there was: tlsproxy certs history",
    ),
    "not_restorable": Entry(
        _E, "the certificate for {names} (from {source}) can't be brought back: {why}", "import it again"
    ),
    "restored_expired": Entry(
        _W,
        "the certificate for {names} (from {source}), which came back, expired on {not_after}",
        "import a current one",
    ),
    "nothing_to_change": Entry(
        _N, "all certificates are as they were in generation {number}", "nothing to do"
    ),
    "own_stays": Entry(
        _E,
        "the device's own certificate can't be removed: it is there for when nothing else is",
        "nothing to do: it gives way to every other certificate",
    ),
    "last_source": Entry(
        _E,
        "without the certificate for {names} (from {source}) nothing could be served",
        "import another certificate first",
    ),
    "backup_empty": Entry(
        _E,
        "the backup holds no certificate that belongs on this device",
        "to make this unit the one that was backed up, its own identity too: tlsproxy restore --identity",
    ),
    "confirmed_via": Entry(_N, "confirmed via {via}", "nothing to do"),
    "not_in_probation": Entry(
        _E,
        "the change {id} can't be confirmed: it is {state}",
        "import the certificate again, and confirm it in time",
    ),
    "probation_over": Entry(
        _W,
        "nobody confirmed the certificate within {seconds} seconds: what was served before is served again",
        "import it again, and confirm it once the device can be reached with it: tlsproxy certs confirm",
    ),
    "probation_rebooted": Entry(
        _W,
        "the device restarted before the certificate was confirmed: what was served before is served again",
        "import it again, and confirm it once the device can be reached with it: tlsproxy certs confirm",
    ),
    "no_way_back": Entry(
        _W,
        "nobody confirmed the certificate, but without it nothing could be served: it stays",
        "see that the device can be reached with it, or import another certificate",
    ),
    "probation_damaged": Entry(
        _W,
        "the record of what waits for confirmation can't be read: {why}",
        "unconfirmed certificates have gone back; import them again, and check the device's disk",
    ),
    # --- the store's disk, and what a start had to put right ---
    "disk_failed": Entry(
        _E,
        "the certificate could not be stored: {why}",
        "what was served before is still served; mend the disk, then import the certificate again",
    ),
    "not_recorded": Entry(
        _W,
        "the certificate is in use, but that could not be written down: {why}",
        "check the device's disk; the next start puts the record right",
    ),
    "store_gone": Entry(
        _E,
        "the certificate store {path} was removed, or replaced by another one, while it was in use: what was"
        " served is served on, and nothing can be changed",
        "put the same folder back; to go on with what is there now, restart the service",
    ),
    "store_read_only": Entry(
        _W,
        "the certificate store takes no changes: {why}",
        "what is stored is served; check the device's disk, or update this software if the store is newer",
    ),
    "active_damaged": Entry(
        _W,
        "the record of what was served can't be read: {why}",
        "the newest stored certificates are served; check the device's disk",
    ),
    "slot_damaged": Entry(
        _W, "the record of a certificate can't be read: {why}", "import that certificate again"
    ),
    "slot_put_back": Entry(
        _N,
        "an unfinished change of the certificate for {names} (from {source}) was taken back",
        "import the new certificate again",
    ),
    "slot_fallen": Entry(
        _W,
        "the stored certificate for {names} (from {source}) can't be read; another one is served",
        "import that certificate again, and check the device's disk",
    ),
    "receipt_damaged": Entry(_W, "a receipt can't be read: {why}", "nothing to do: it is removed"),
    "listener_lost": Entry(
        _E,
        "the reload could not listen on {address}: {why}; where clients were let in before, they still are",
        "see who has that port: ss -ltnp; then: tlsproxy reload",
    ),
    "notice_lost": Entry(
        _W,
        "{to} could not be told of news ({kind}): {why}",
        "mend the hook command or webhook; tlsproxy events tells what it was",
    ),
    # --- the expiry ladder: what is served, and what would be served next ---
    "expiry_notice": Entry(
        _N,
        "the certificate for {names} (from {source}) ends on {not_after}: its last third has begun",
        "see that it is renewed, or import a new one",
    ),
    "expiry_warning": Entry(
        _W,
        "the certificate for {names} (from {source}) ends on {not_after}, and has not been renewed",
        "import a new one, or see why its renewal fails",
    ),
    "expiry_urgent": Entry(
        _E,
        "the certificate for {names} (from {source}) ends very soon, on {not_after}",
        "import a new one now: clients will refuse this one",
    ),
    "expiry_passed": Entry(
        _E,
        "the certificate for {names} (from {source}) expired on {not_after}, and nothing valid replaces it",
        "import a new one now: clients refuse this one",
    ),
    "fallback_ends": Entry(
        _N,
        "the certificate for {names} (from {source}), which would stand in for others, ends on {not_after}",
        "renew it, too, or remove it where it isn't needed: tlsproxy certs remove",
    ),
    "fallback_expired": Entry(
        _W,
        "the certificate for {names} (from {source}), which is not served now, expired on {not_after}",
        "renew it, or remove it where it isn't needed: tlsproxy certs remove",
    ),
}

LIFE: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
