"""A candidate on its way into a slot: examined, judged, and put into effect or refused.

Promises: whatever is wrong with a candidate ends in a `Refusal`, before anything but its receipt is written.
Refuses to know the disk, and what is in the files: an examiner is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from certstore.bundle import Bundle
from certstore.changing import Case, Changing
from certstore.circumstances import Circumstances
from certstore.decode import Candidate
from certstore.errors import Refusal
from certstore.examination import Examiner
from certstore.findings import found
from certstore.probation import BootClock, Probation, Probations
from certstore.receipts import Receipt
from certstore.requesting import Requesting
from certstore.shelf import Shelf
from certstore.slots import Slot, slot_id, without_former_selves
from certstore.succession import Succession

__all__ = ["Proposing"]


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

    def propose(self, case: Case, candidate: Candidate | Bundle, examiner: Examiner) -> Receipt:
        """Examine, store and activate a candidate for the slot of its receipt's source. Raises Refusal."""
        try:
            return self._examine_and_put(case, candidate, examiner)
        except Refusal as refusal:
            raise Refusal(*refusal.findings, *self.requests.unmatched(refusal)) from None

    def _examine_and_put(self, case: Case, candidate: Candidate | Bundle, examiner: Examiner) -> Receipt:
        source = case.receipt.source
        with examiner.examine(candidate, self.requests.known_key) as examination:
            bundle = examination.bundle
            case.receipt = replace(case.receipt, bundle=bundle.id)
            case.tell(*examination.findings, *self.requests.answers(bundle))
            slot = self.succession.view.slots.get((source, slot_id(bundle.names)))
            if slot is not None and self._is_live(slot, bundle):
                active = self.succession.view.active
                number = active.number if active is not None else slot.since
                return self.changing.change_nothing(case, found("already_live"), number)
            if slot is not None and slot.sealed:
                raise Refusal(found("slot_sealed", source=source))
            case.tell(*examination.judge(self.circumstances(bundle)))
        return self._put(case, bundle, slot)

    def _is_live(self, slot: Slot, bundle: Bundle) -> bool:
        aside = self.succession.aside
        return (
            slot.bundle == bundle.id
            and slot.is_confirmed
            and bundle.id not in aside
            and self.shelf.is_whole(bundle.id)
        )

    def _put(self, case: Case, bundle: Bundle, before: Slot | None) -> Receipt:
        way_back = self._way_back(before)
        slot = Slot(
            source=case.receipt.source,
            names=bundle.names,
            bundle=bundle.id,
            last_confirmed=way_back.bundle if way_back is not None else None,
            via=case.receipt.via,
            sealed=False,
            receipt=case.receipt.id,
            stored_at=self.clock(),
            since=self.succession.next_number,
        )
        slots = without_former_selves({**self.succession.view.slots, slot.key: slot}, slot)
        return self.changing.put(case, slots, (bundle,), self._probation(case, slot, way_back))

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
        return Probation(slot.key, slot.receipt, now.boot, now.seconds + within_s, way_back)
