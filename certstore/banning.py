"""Banning: a ban that is a change by itself, for a key that is known to be lost.

Promises: a device whose own key is banned has another one in the same step, so that nobody is left without a
certificate; what else had the key gives way to the next source; the device's own authority issues nothing
more with it, and is told. Refuses to know how an identity is made: its maker is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from certstore.authority import DeviceCA
from certstore.bundle import Bundle
from certstore.changing import Case, Changing
from certstore.findings import found
from certstore.receipts import Receipt
from certstore.shelf import Shelf
from certstore.slots import Slot, Source
from certstore.succession import Succession

__all__ = ["Banning", "Fresh"]

Fresh = Callable[[], Bundle]
"""Makes an identity of the device's own, with a key that never was before."""


@dataclass(frozen=True, slots=True)
class Banning:
    """Bans keys."""

    changing: Changing
    succession: Succession
    shelf: Shelf
    device_ca: DeviceCA
    clock: Callable[[], datetime]

    def ban(self, case: Case, spki: str, fresh: Fresh | None) -> Receipt:
        """Never serve this key again. Raises Refusal (`ban_leaves_nothing`)."""
        active, slots = self.succession.view.active, dict(self.succession.view.slots)
        if spki in self.shelf.bans:
            note = found("already_banned", key=spki)
            return self.changing.change_nothing(case, note, active.number if active is not None else 0)
        if self.device_ca.has_key(spki):
            case.tell(found("device_ca_lost"))
        hit = [slot for slot in slots.values() if any(self.shelf.spki(id_) == spki for id_ in slot.bundles)]
        if hit:
            case.receipt = replace(case.receipt, source=min((s.source for s in hit), key=lambda s: s.rank))
        own = [slot for slot in hit if slot.source is Source.GENERATED]
        if fresh is None or not (own or self._is_last(case, spki)):
            return self.changing.put(case, slots, bans={spki})
        for slot in own:
            del slots[slot.key]
        bundle = fresh()
        case.receipt = replace(case.receipt, bundle=bundle.id)
        slot = self._slot_of(case, bundle)
        return self.changing.put(case, {**slots, slot.key: slot}, (bundle,), bans={spki})

    def _is_last(self, case: Case, spki: str) -> bool:
        """Whether without this key nothing could be served."""
        slots = self.succession.view.slots
        return self.succession.compute(slots, case.receipt.cause, banned={spki}).default is None

    def _slot_of(self, case: Case, bundle: Bundle) -> Slot:
        return Slot(
            source=Source.GENERATED,
            names=bundle.names,
            bundle=bundle.id,
            last_confirmed=None,
            via=case.receipt.via,
            sealed=False,
            receipt=case.receipt.id,
            stored_at=self.clock(),
            since=self.succession.next_number,
        )
