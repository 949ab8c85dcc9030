"""Which certificate is meant: by a name that it has, or by the beginning of a fingerprint or an id.

Promises: never guesses between two; says what there is to choose from. Pure: values in, a slot out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from certstore import Meta, Slot, Source, normalise
from certstore.fingerprints import plain
from tlsproxy.errors import UsageError

__all__ = ["bundle_meant", "choose_slot", "matching"]

# Eight hex digits, as in a short fingerprint; fewer could mean a name (`cafe`).
_HEX = re.compile(r"[0-9a-f]{8,64}")


def choose_slot(
    slots: Sequence[Slot], metas: Mapping[str, Meta], which: str | None, source: str | None = None
) -> Slot | None:
    """Give the one slot that is meant; None where no slot fits `which`.

    Without `which` it is the only one that isn't the device's own. Raises UsageError where several fit, or
    where nothing was said and there is nothing but the device's own.
    """
    among = [slot for slot in slots if source is None or slot.source == source]
    if which is None:
        found = [slot for slot in among if slot.source is not Source.GENERATED or source is not None]
        if not found:
            raise UsageError("there is no certificate but the device's own", "tlsproxy certs list")
    else:
        found = matching(among, metas, which)
    if len(found) > 1:
        told = "; ".join(f"{slot.source} {', '.join(slot.names)} ({slot.id[:8]})" for slot in found[:5])
        raise UsageError(f"several certificates fit: {told}", "name one by its id or fingerprint")
    return found[0] if found else None


def matching(slots: Iterable[Slot], metas: Mapping[str, Meta], which: str) -> list[Slot]:
    """Give the slots that `which` may mean."""
    slots = list(slots)
    try:
        name = normalise(which)
    except ValueError:
        name = ""
    named = [slot for slot in slots if name in slot.names]
    if named:
        return named
    start = plain(which)
    if not _HEX.fullmatch(start):
        return []
    return [
        slot
        for slot in slots
        if slot.id.startswith(start) or any(_begins(id_, metas.get(id_), start) for id_ in slot.bundles)
    ]


def bundle_meant(slot: Slot, metas: Mapping[str, Meta], which: str | None) -> str:
    """Say which of a slot's bundles is meant: the one whose fingerprint or id it is, else the first."""
    start = plain(which or "")
    if not _HEX.fullmatch(start):
        return slot.bundle
    return next((id_ for id_ in slot.bundles if _begins(id_, metas.get(id_), start)), slot.bundle)


def _begins(bundle: str, meta: Meta | None, start: str) -> bool:
    names = (bundle,) if meta is None else (bundle, meta.fingerprint, meta.spki)
    return any(name.startswith(start) for name in names)
