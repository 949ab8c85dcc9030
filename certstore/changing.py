"""Changes of the slots: each is carried out whole, or leaves all as it was, and ends in its receipt.

Promises: a receipt is on disk before anything else is done, and tells how the change ended, whatever happens.
Refuses to know who wants a change and why; wants the lock of whoever changes the store.

Theory. Until the active file is renamed (activation.py) a change that fails is refused, and the slots are as
they were. Behind that it is served, and a failing disk can only keep that from being written down: then the
receipt is live in memory and says so (`not_recorded`), and it is written down before the next change, or by
the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from certstore.activation import Activation, Change, Move
from certstore.bans import Ban, Reason
from certstore.bundle import Bundle
from certstore.erasure import Erasure, Scope
from certstore.errors import Refusal, StoreError
from certstore.findings import Finding, found
from certstore.generation import Cause, Trusted
from certstore.ledger import Ledger
from certstore.parting import Parting
from certstore.probation import Probation, Probations
from certstore.receipts import Receipt, State
from certstore.shelf import Shelf
from certstore.slots import Key, Slot, Source
from certstore.succession import Succession, View

__all__ = ["Case", "Changing", "moves_between"]


@dataclass(slots=True, eq=False)
class Case:
    """One change under way: its receipt, as far as it has come; and why what leaves with it does.

    word: the SHA-256 of the word that confirms it over the network, "" for none.
    """

    receipt: Receipt
    reason: Reason = Reason.SUPERSEDED
    word: str = ""

    def tell(self, *findings: Finding) -> None:
        """Add to what the receipt tells."""
        self.receipt = self.receipt.with_findings(findings)


class Changing:
    """Carries changes out, one at a time."""

    def __init__(
        self,
        ledger: Ledger,
        shelf: Shelf,
        activation: Activation,
        succession: Succession,
        probations: Probations,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the store's rooms and the time."""
        self._ledger = ledger
        self._parting = Parting(shelf)
        self._activation = activation
        self._succession = succession
        self._probations = probations
        self._clock = clock

    def handle(
        self,
        source: Source,
        via: str,
        carry_out: Callable[[Case], Receipt],
        *,
        cause: Cause = Cause.PROPOSAL,
        reason: Reason = Reason.SUPERSEDED,
        confirm_within_s: float | None = None,
    ) -> Receipt:
        """Open a receipt, have the change carried out, and give the receipt that it ended with.

        A Refusal ends in a receipt too. Raises StoreError when the disk fails before the new generation is
        active, and whatever else `carry_out` raises; what was served is served on.
        """
        receipt = self._ledger.open(source, via, self._clock(), cause, confirm_within_s)
        return self._carry_out(Case(receipt, reason), carry_out)

    def handle_trust(self, name: str, via: str, carry_out: Callable[[Case], Receipt]) -> Receipt:
        """Do as `handle` for a trust set: its name is on disk before anything that is done with it."""
        about = Trusted(name, "")
        receipt = self._ledger.open(Source.CUSTOMER, via, self._clock(), Cause.TRUST, trust=about)
        return self._carry_out(Case(receipt), carry_out)

    def _carry_out(self, case: Case, carry_out: Callable[[Case], Receipt]) -> Receipt:
        try:
            self.catch_up()
            return carry_out(case)
        except Refusal as refusal:
            case.tell(*refusal.findings)
            return self.record(case.receipt.advance(State.REFUSED, self._clock()))
        except StoreError as error:
            self._abandon(case, found("disk_failed", why=error))
            raise
        except BaseException:
            self._abandon(case, found("interrupted"))
            raise

    def change_nothing(self, case: Case, note: Finding, number: int) -> Receipt:
        """End a change that wants what is served already, by the generation `number`."""
        case.tell(note)
        now = self._clock()
        return self.record(case.receipt.advance(State.LIVE, now, number).advance(State.CONFIRMED, now))

    def put(
        self,
        case: Case,
        slots: Mapping[Key, Slot],
        fresh: tuple[Bundle, ...] = (),
        probation: Probation | None = None,
        erasure: Erasure | None = None,
        bans: Collection[str] = (),
    ) -> Receipt:
        """Have these slots from now on; confirmed, unless there is a probation.

        `fresh` are bundles that may not be on the shelf yet; `erasure` is owed from then on; `bans` are the
        keys (SPKI hashes) that are banned with it, beside those that the case's reason bans. Raises Refusal
        (`prepare_failed` and others), StoreError, or what the publisher's commit raises.
        """
        succession, receipt = self._succession, case.receipt
        moves = moves_between(succession.view.slots, slots)
        generation = succession.compute(slots, receipt.cause, receipt, fresh, bans)
        leaving = self._parting.of_keys(frozenset(bans))
        if not bans:
            leaving = self._parting.departure(case.reason, receipt.source, succession.view, moves, generation)
        if leaving.keys:
            generation = succession.compute(slots, receipt.cause, receipt, fresh, leaving.keys)
            case.tell(*self._parting.told(leaving.keys, moves, fresh, slots.values(), probation))
            if generation.default is None:
                raise Refusal(found("ban_leaves_nothing"))
        if erasure is not None and Scope.CUSTOMER in erasure.scopes:  # who was let in was the customer's word
            generation = replace(generation, trust=())
        table = {**self._probations.table, probation.receipt: probation} if probation is not None else None
        now, number = self._clock(), generation.number
        new_bans = tuple(Ban(spki, number, now, receipt.via) for spki in sorted(leaving.keys))
        succession.put_into_effect(generation, slots, Change(moves, fresh, table, erasure, new_bans))
        moved = [slot for _, slot in moves if slot is not None]
        succession.aside -= {id_ for slot in moved for id_ in slot.bundles}
        live = case.receipt.advance(State.LIVE, self._clock(), generation.number)
        succession.end(leaving.bundles, Reason.KEY_COMPROMISE if leaving.keys else case.reason)
        return self._write_down(live, moved, confirmed=probation is None)

    def put_trust(self, case: Case, trust: tuple[Trusted, ...]) -> Receipt:
        """Let clients in by these trust sets from now on; slots stay. Raises as `put`."""
        succession, slots = self._succession, self._succession.view.slots
        generation = replace(succession.compute(slots, case.receipt.cause, case.receipt), trust=trust)
        succession.put_into_effect(generation, slots)
        return self._write_down(
            case.receipt.advance(State.LIVE, self._clock(), generation.number), [], confirmed=True
        )

    def record(self, receipt: Receipt) -> Receipt:
        """Write a receipt as it stands now."""
        self._ledger.record(receipt)
        return receipt

    def confirm_slot(self, slot: Slot) -> None:
        """Let a slot have no other way back than what it has. Raises StoreError; nothing has changed then."""
        confirmed = slot.confirmed()
        if confirmed is not slot:
            self._activation.write_slot(confirmed)
            view = self._succession.view
            self._succession.view = View.of(view.active, {**view.slots, confirmed.key: confirmed})

    def settle_probations(self) -> None:
        """Settle the receipts of changes that are in probation no more, in memory; the disk is owed them."""
        slots = self._succession.view.slots
        for one in self._probations.table.values():
            receipt = self._ledger.receipt(one.receipt)
            if receipt.state is State.LIVE and not one.stands_in(slots):
                self._ledger.owe(receipt.advance(one.end_in(slots), self._clock()))

    def close_probations(self) -> None:
        """Settle them, on disk too, and forget what they watched over. Memory is right also when this raises.

        Only when the generation that ended them is on disk: else a start would take for confirmed what went
        back in memory.
        """
        self.settle_probations()
        self._ledger.catch_up()
        slots, table = self._succession.view.slots, self._probations.table
        self._probations.save({id_: one for id_, one in table.items() if one.stands_in(slots)})

    def catch_up(self) -> None:
        """Write down what a failing disk didn't take, before anything else changes.

        Raises StoreError, or what the publisher raises.
        """
        if not self._ledger.owes:
            return
        succession = self._succession
        if succession.owed is not None:
            slots = succession.view.slots
            succession.put_into_effect(succession.compute(slots, Cause.PROBATION), slots)
        for slot in self._succession.view.slots.values():
            if self._probations.of(slot) is None:
                self.confirm_slot(slot)
        self.close_probations()
        for receipt in self._ledger.open_ones():
            if receipt.state is State.LIVE and receipt.confirm_within_s is None:
                self._ledger.owe(receipt.advance(State.CONFIRMED, self._clock()))
        self._ledger.catch_up()

    def _write_down(self, live: Receipt, moved: list[Slot], *, confirmed: bool) -> Receipt:
        """Write down that a change is live, and what follows from it."""
        try:
            for slot in moved if confirmed else ():
                self.confirm_slot(slot)
            self.close_probations()
            return self.record(live.advance(State.CONFIRMED, self._clock()) if confirmed else live)
        except StoreError as error:  # it is served, also after a restart, which settles the receipt too
            told = live.with_findings((found("not_recorded", why=error),))
            self._ledger.owe(told)
            return told

    def _abandon(self, case: Case, finding: Finding) -> None:
        """Refuse what we failed to carry out, on disk too if that still takes writes.

        Behind the point of no return it is served, so not refused: the next start settles it.
        """
        active = self._succession.view.active
        if active is not None and active.receipt == case.receipt.id:
            return
        with suppress(StoreError):
            case.tell(finding)
            self.record(case.receipt.advance(State.REFUSED, self._clock()))


def moves_between(before: Mapping[Key, Slot], after: Mapping[Key, Slot]) -> tuple[Move, ...]:
    """Give what becomes of each slot that doesn't stay as it is (the very object: there may be 10,000)."""
    changed = [(before.get(key), slot) for key, slot in after.items() if before.get(key) is not slot]
    return (*changed, *((slot, None) for key, slot in before.items() if key not in after))
