"""The end of a probation: somebody confirms a change in time, or it goes back.

Wants the lock of whoever changes the store. Promises: what nobody confirmed goes back also where the disk
takes no writes (in memory then; the next start goes back again), but never into the dark: where without it
nothing could be served, it stays, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from certstore.activation import Change
from certstore.changing import Changing, moves_between
from certstore.errors import Refusal, StoreError
from certstore.findings import Finding, found
from certstore.generation import Cause
from certstore.ledger import Ledger
from certstore.probation import BootTime, Probation, Probations, gone_back
from certstore.receipts import Receipt, State
from certstore.succession import Succession

__all__ = ["Confirming", "why_gone_back"]


@dataclass(frozen=True, slots=True)
class Confirming:
    """Ends probations, one way or the other."""

    changing: Changing
    succession: Succession
    probations: Probations
    ledger: Ledger
    clock: Callable[[], datetime]

    def standing(self) -> list[Probation]:
        """Give what is in probation, the first to end first."""
        slots = self.succession.view.slots
        standing = [one for one in self.probations.table.values() if one.stands_in(slots)]
        return sorted(standing, key=lambda one: one.ends_at)

    def confirm(self, receipt_id: str, via: str) -> Receipt:
        """Keep a change for good. Raises NotFound, Refusal (`not_in_probation`), StoreError."""
        receipt = self.ledger.receipt(receipt_id)
        if receipt.state is State.CONFIRMED:
            return receipt  # whoever asks twice, because the first answer got lost, has it
        one = self.probations.table.get(receipt_id)
        if one is None or receipt.state is not State.LIVE or not one.stands_in(self.succession.view.slots):
            raise Refusal(found("not_in_probation", id=receipt.id, state=receipt.state))
        self.changing.catch_up()
        return self._keep(one, found("confirmed_via", via=via))

    def end(self, now: BootTime, barred: StoreError | None) -> tuple[Receipt, ...]:
        """Let go back what is over; gives the receipts that ended so, or confirmed for want of a way back.

        Raises what the publisher raises; all is as it was then.
        """
        over = [one for one in self.standing() if one.is_over(now)]
        if not over:
            return ()
        before = self.succession.view.slots
        slots = gone_back(before, over)
        receipts = [self.ledger.receipt(one.receipt) for one in over]
        generation = self.succession.compute(slots, Cause.PROBATION, receipts[-1])
        if generation.default is None:
            return tuple(self._keep(one, found("no_way_back")) for one in over)
        change = Change(moves_between(before, slots))
        on_disk = self.succession.put_at_least_in_memory(generation, slots, change, barred)
        for one, receipt in zip(over, receipts, strict=True):
            self.ledger.keep(receipt.with_findings((why_gone_back(one, receipt, now),)))
        self.changing.settle_probations()
        if on_disk:
            with suppress(StoreError):  # it has gone back; the ledger still owes that to the disk
                self.changing.close_probations()
        return tuple(self.ledger.receipt(receipt.id) for receipt in receipts)

    def _keep(self, one: Probation, note: Finding) -> Receipt:
        self.changing.confirm_slot(self.succession.view.slots[one.key])
        self.ledger.keep(self.ledger.receipt(one.receipt).with_findings((note,)))
        with suppress(StoreError):  # the slot is confirmed on disk, and by it the next start settles the rest
            self.changing.close_probations()
        return self.ledger.receipt(one.receipt)


def why_gone_back(one: Probation, receipt: Receipt, now: BootTime) -> Finding:
    """Tell why a change has gone back."""
    if one.boot != now.boot:
        return found("probation_rebooted")
    return found("probation_over", seconds=f"{receipt.confirm_within_s or 0:g}")
