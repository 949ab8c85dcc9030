"""The part of the catalogue that tells of this unit: a factory reset, and what a first start looks for.

Beside catalogue.py, which puts all parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["UNIT"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    # --- factory reset ---
    "reset_leaves_nothing": Entry(
        _E,
        "nothing could be served after this reset: only the customer's certificates are here",
        "reset the device's identity with it, so that it gets a certificate of its own: --scope identity",
    ),
    "unlinked_only": Entry(
        _N,
        "erased files are removed, not overwritten: flash may hold their bytes until it uses the cells again",
        "where that counts, revoke what the erased keys were for, or have the storage itself erased",
    ),
    "erase_failed": Entry(
        _W,
        "the reset could not remove everything: {why}",
        "remove it by hand, as the user whom it belongs to",
    ),
    "erasure_owed": Entry(
        _W,
        "the reset is in force, but the old keys are not yet erased: {why}",
        "check the device's disk; it is tried again each minute, and at the next start",
    ),
    "reset_completed": Entry(
        _N, "a reset that was broken off has been completed", "nothing to do: the old keys are erased"
    ),
    "watch_suspended": Entry(
        _W,
        "the directory {path} is not looked at since the device was reset",
        "see that nothing of the former owner's is in it, then: tlsproxy watches enable",
    ),
    # --- which unit this is ---
    "cloned_image": Entry(
        _W,
        "the certificate store was made on other hardware: this unit has made a new identity of its own",
        "ship images without keys (tlsproxy check --image); compare the new fingerprint on first contact",
    ),
    "clone_not_settled": Entry(
        _E,
        "the certificate store was made on other hardware, and no new identity could be made: {why}",
        "mend that and restart the proxy: until then two units may have the same key",
    ),
    "foreign_keys": Entry(
        _E,
        "the key for {names} (from {source}) came with the store of another unit: two devices may hold it",
        "have the certificate issued anew for a new key, and the old one revoked; or remove it here",
    ),
    "image_with_key": Entry(
        _W,
        "the device's own key is older than this unit's first start: other units may have the same",
        "make a new one: tlsproxy reset --yes --scope identity",
    ),
    "machine_id_changed": Entry(
        _W,
        "the system's machine-id is another than when the certificate store was made",
        "nothing, where the system was installed anew; after copying: tlsproxy reset --yes --scope identity",
    ),
    "hardware_id_unreadable": Entry(
        _W,
        "the hardware id can't be read from {path}: {why}",
        "let the proxy's user read it, or mend hardware_id_file; until then copied stores are not told apart",
    ),
    "unit_record_damaged": Entry(
        _W,
        "the record of the unit that the certificate store belongs to can't be read: {why}",
        "it is made again; check the device's disk",
    ),
}

UNIT: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
