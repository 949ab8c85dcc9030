"""Which certificate is meant: by a name that it has, or by the beginning of a fingerprint or an id.

Promises: never guesses between two; says what there is to choose from. Pure: values in, a slot out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from certstore import Meta, Slot, Source, normalise
from certstore.fingerprints import plain
from tlsproxy.errors import UsageError

__all__ = ["choose_slot", "matching"]

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
        if slot.id.startswith(start)
        or slot.bundle.startswith(start)
        or ((meta := metas.get(slot.bundle)) is not None and _begins(meta, start))
    ]


def _begins(meta: Meta, start: str) -> bool:
    return meta.fingerprint.startswith(start) or meta.spki.startswith(start)
