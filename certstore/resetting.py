"""A factory reset: slots go, the device's own certificate gets a new key, and what was is erased.

Promises: one change, whole or not at all, as far as anybody is served: until its generation is active all is
as it was, and behind that the connections of the old certificates end, and their keys are erased, if need be
by the next start. The factory's slots stay, and whatever else is sealed. Numbers go on growing. Refuses to
know how a key is made, and what is erased (erasing.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from certstore.changing import Case, Changing
from certstore.erasing import Erasing
from certstore.erasure import Erasure, Reset, left_by
from certstore.errors import Refusal, StoreError
from certstore.findings import Finding, found
from certstore.ledger import Ledger
from certstore.receipts import Receipt
from certstore.shelf import Shelf
from certstore.slots import Key, Slot, Source, bundles_named
from certstore.succession import Succession

__all__ = ["Resetting"]


@dataclass(frozen=True, slots=True)
class Resetting:
    """Resets, and sees to it that what is owed is erased."""

    changing: Changing
    succession: Succession
    erasing: Erasing
    ledger: Ledger
    shelf: Shelf
    clock: Callable[[], datetime]

    def reset(self, case: Case, wish: Reset) -> Receipt:
        """Carry it out. Raises Refusal, and StoreError before the new generation is active."""
        slots: dict[Key, Slot] = {
            slot.key: slot for slot in left_by(wish.scopes, self.succession.view.slots.values())
        }
        if wish.own is not None:
            case.receipt = replace(case.receipt, bundle=wish.own.id)
            slot = self._own(case.receipt, wish)
            slots[slot.key] = slot
        fresh = (wish.own,) if wish.own is not None else ()
        generation = self.succession.compute(slots, case.receipt.cause, case.receipt, fresh)
        if generation.default is None:
            raise Refusal(found("reset_leaves_nothing"))
        case.tell(found("unlinked_only"))
        erasure = Erasure(case.receipt.id, generation.number, wish.scopes, wish.beside)
        gone = self.shelf.ids() - bundles_named(slots.values())
        self.changing.put(case, slots, fresh, erasure=erasure)
        self.erasing.take_effect()
        if wish.scopes and gone:
            self.succession.end(gone, "reset")
        return self._finish(case.receipt.id)

    def finish(self) -> tuple[Finding, ...]:
        """Erase what a reset still owes, before anything else changes; gives what stays for good.

        Raises StoreError, or what the publisher raises.
        """
        if self.erasing.owed is None:
            return ()
        self.changing.catch_up()  # while the receipts that it is about are still here
        view = self.succession.view
        return self.erasing.finish(view.active, view.slots.values(), self.clock())

    def _finish(self, id_: str) -> Receipt:
        """Erase, and have the receipt tell what stays."""
        try:
            troubles = self.finish()
            receipt = self.ledger.receipt(id_)
            return self.changing.record(receipt.with_findings(troubles)) if troubles else receipt
        except StoreError as error:  # it is served; what is owed is erased later
            told = self.ledger.receipt(id_).with_findings((found("erasure_owed", why=error),))
            self.ledger.owe(told)
            return told

    def _own(self, receipt: Receipt, wish: Reset) -> Slot:
        assert wish.own is not None, "the caller has looked"
        return Slot(
            source=Source.GENERATED,
            names=wish.own.names,
            bundle=wish.own.id,
            last_confirmed=None,
            via=receipt.via,
            sealed=False,
            receipt=receipt.id,
            stored_at=self.clock(),
            since=self.succession.next_number,
        )
