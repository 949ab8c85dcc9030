"""A candidate on its way into a slot: examined, judged, and put into effect or refused.

Promises: whatever is wrong with a candidate ends in a `Refusal`, before anything but its receipt is written.
Refuses to know the disk, and what is in the files: an examiner is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from certstore.bundle import Bundle
from certstore.changing import Case, Changing
from certstore.circumstances import Circumstances
from certstore.decode import Candidate
from certstore.errors import Refusal
from certstore.examination import Examiner, KnownKey
from certstore.findings import found
from certstore.probation import BootClock, Probation, Probations
from certstore.receipts import Receipt
from certstore.requesting import Requesting
from certstore.shelf import Shelf
from certstore.slots import Key, Slot, Source, slot_id, without_former_selves
from certstore.succession import Succession

__all__ = ["Proposing", "Terms"]


def _anything(_bundle: Bundle) -> None:
    """Look at nothing."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a candidate beside what holds for all.

    known_key: who is asked for keys that are here, instead of the shelf. seals: its source takes nothing else
    from then on. unseals: what is sealed there gives way. look: raises Refusal for a bundle that this device
    mustn't have.
    """

    known_key: KnownKey | None = None
    seals: bool = False
    unseals: bool = False
    look: Callable[[Bundle], None] = _anything


_USUAL: Final = Terms()


@dataclass(frozen=True, slots=True)
class Proposing:
    """Brings candidates to their end."""

    changing: Changing
    succession: Succession
    shelf: Shelf
    probations: Probations
    requests: Requesting
    clock: Callable[[], datetime]
    circumstances: Callable[[Bundle], Circumstances]
    boot_clock: BootClock

    def propose(
        self,
        case: Case,
        candidate: Candidate | Bundle,
        examiner: Examiner,
        terms: Terms = _USUAL,
        *,
        word: str = "",
    ) -> Receipt:
        """Examine, store and activate a candidate for the slot of its receipt's source. Raises Refusal."""
        case.word = word
        try:
            return self._examine_and_put(case, candidate, examiner, terms)
        except Refusal as refusal:
            raise Refusal(*refusal.findings, *self.requests.unmatched(refusal)) from None

    def _examine_and_put(
        self, case: Case, candidate: Candidate | Bundle, examiner: Examiner, terms: Terms
    ) -> Receipt:
        source = case.receipt.source
        with examiner.examine(candidate, terms.known_key or self.requests.known_key) as examination:
            bundle = examination.bundle
            case.receipt = replace(case.receipt, bundle=bundle.id)
            case.tell(*examination.findings, *self.requests.answers(bundle))
            slot = self.succession.view.slots.get((source, slot_id(bundle.names)))
            self._see_to_the_key(case, bundle, slot)
            if slot is not None and self._is_live(slot, bundle):
                case.receipt = replace(case.receipt, bundle=slot.bundle)
                active = self.succession.view.active
                number = active.number if active is not None else slot.since
                return self.changing.change_nothing(case, found("already_live"), number)
            if not terms.unseals and self._is_sealed(source, bundle):
                raise Refusal(found("slot_sealed", source=source))
            terms.look(bundle)
            case.tell(*examination.judge(self.circumstances(bundle)))
        return self._put(case, bundle, slot, terms)

    def _see_to_the_key(self, case: Case, bundle: Bundle, slot: Slot | None) -> None:
        """Refuse a banned key, and the one that is said to be compromised."""
        if bundle.spki in self.shelf.bans:
            raise Refusal(found("key_banned", key=bundle.spki))
        if case.reason.bans and slot is not None and self.shelf.spki(slot.bundle) == bundle.spki:
            raise Refusal(found("key_not_replaced", key=bundle.spki))

    def _is_live(self, slot: Slot, bundle: Bundle) -> bool:
        return (
            slot.is_confirmed
            and slot.bundle not in self.succession.aside
            and self.shelf.is_whole(slot.bundle)
            and (slot.bundle == bundle.id or (slot.sealed and self._is_part(slot, bundle)))
        )

    def _is_part(self, slot: Slot, bundle: Bundle) -> bool:
        """Say whether it is what a slot has, perhaps without its chain."""
        held = self.shelf.bundle(slot.bundle)
        return held.leaf == bundle.leaf and set(bundle.chain) <= set(held.chain)

    def _is_sealed(self, source: Source, bundle: Bundle) -> bool:
        """Say whether a source takes nothing, but for what it has: that may have been damaged."""
        slots = self.succession.view.slots.values()
        return any(one.sealed for one in slots if one.source is source and one.bundle != bundle.id)

    def _put(self, case: Case, bundle: Bundle, before: Slot | None, terms: Terms) -> Receipt:
        way_back = self._way_back(before)
        slot = Slot(
            source=case.receipt.source,
            names=bundle.names,
            bundle=bundle.id,
            last_confirmed=way_back.bundle if way_back is not None else None,
            via=case.receipt.via,
            sealed=terms.seals or (before is not None and before.sealed),
            receipt=case.receipt.id,
            stored_at=self.clock(),
            since=self.succession.next_number,
        )
        slots = without_former_selves({**self._staying(slot, terms), slot.key: slot}, slot)
        return self.changing.put(case, slots, (bundle,), self._probation(case, slot, way_back))

    def _staying(self, slot: Slot, terms: Terms) -> Mapping[Key, Slot]:
        """Give the slots that stay beside a new one: what it replaces under other names goes."""
        now = self.succession.view.slots
        if not terms.unseals:
            return now
        return {key: one for key, one in now.items() if one.source is not slot.source}

    def _way_back(self, slot: Slot | None) -> Slot | None:
        """Give the last confirmed state of a slot."""
        on_probation = self.probations.of(slot)
        if on_probation is not None:
            return on_probation.way_back
        return slot.confirmed() if slot is not None else None

    def _probation(self, case: Case, slot: Slot, way_back: Slot | None) -> Probation | None:
        within_s = case.receipt.confirm_within_s
        if within_s is None:
            return None
        if slot.is_confirmed:  # it was confirmed before: back would lead to the very same
            case.receipt = replace(case.receipt, confirm_within_s=None)
            return None
        now = self.boot_clock()
        return Probation(slot.key, slot.receipt, now.boot, now.seconds + within_s, way_back, case.word)
