"""What ACME brought for names that aren't wanted of it any more: served on, and never renewed.

Promises: it is told as long as it is there; it may go at once where a certificate that a customer or ACME has
brought stands for all its names, else when it has ended. What a watched directory has brought isn't ours to
judge. Refuses to know who removes it (acmekeeping.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certstore import Finding, Slot, Source, Store, StoreError, covers, found

__all__ = ["Left", "left_in"]

_VIA = "acme"  # as the keeper brings what comes (controller.py)


@dataclass(frozen=True, slots=True)
class Left:
    """One that is left. names: those of it that aren't wanted any more, none where others stand for them.

    is_replaced: another that is good now stands for all its names. has_ended: it is good no longer.
    """

    slot: Slot
    names: tuple[str, ...]
    sha256: str
    not_after: datetime
    is_replaced: bool
    has_ended: bool

    def finding(self) -> Finding:
        """Say it."""
        until, which = f"{self.not_after:%Y-%m-%d}", self.sha256[:16]
        return found("acme_names_left", names=", ".join(self.names), until=until, which=which)

    def to_json(self) -> dict[str, object]:
        """Give it as the API does."""
        told = self.finding()
        return {
            "names": list(self.names),
            "sha256": self.sha256,
            "not_after": self.not_after.isoformat(),
            "words": told.words,
            "hint": told.hint,
        }


def left_in(store: Store, wanted: tuple[str, ...], current: Slot | None, now: datetime) -> Iterator[Left]:
    """Find what is left; current: where the newest certificate for `wanted` lies. In a thread."""
    slots = store.slots()
    others = [slot for slot in slots if slot.source is Source.CUSTOMER or slot == current]
    good = [slot for slot in others if (end := _end(store, slot)) is not None and now < end]
    for slot in slots:
        is_ours = slot.source is Source.ACME and slot.via == _VIA and not slot.sealed
        if not is_ours or slot == current or (end := _end(store, slot)) is None:
            continue
        yield Left(
            slot,
            tuple(name for name in slot.names if not any(covers(one, name) for one in wanted)),
            store.meta(slot.bundle).fingerprint,
            end,
            all(any(covers(mine, name) for one in good for mine in one.names) for name in slot.names),
            now >= end,
        )


def _end(store: Store, slot: Slot) -> datetime | None:
    """Say until when it is good; None where that can't be read."""
    try:
        return max(store.meta(bundle).facts.not_after for bundle in slot.bundles)
    except StoreError:
        return None
