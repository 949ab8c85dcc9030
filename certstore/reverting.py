"""Going back: one slot to what it had before, all of them to what a generation had, or one of them away.

Promises: what stands in the way (a sealed slot, a bundle that is gone, nobody left to be served) is found
before anything is written, and refuses the whole change. Forward only: going back makes a new generation,
computed from all slots as they are then. Decides what a slot had before by history.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from certstore.archive import Archive
from certstore.changing import Case, Changing
from certstore.errors import NotFound, Refusal, StoreError
from certstore.findings import Finding, found
from certstore.generation import Generation
from certstore.history import line_of
from certstore.probation import Probations
from certstore.receipts import Receipt
from certstore.shelf import Shelf
from certstore.slots import Key, Slot, Source, told_of
from certstore.succession import Succession

__all__ = ["Reverting"]

# So many certificates that can't be brought back are told one by one.
_TOLD = 10


@dataclass(frozen=True, slots=True)
class Reverting:
    """Finds out where back is, and goes there."""

    changing: Changing
    succession: Succession
    archive: Archive
    shelf: Shelf
    probations: Probations
    clock: Callable[[], datetime]

    def generations(self) -> Iterable[Generation]:
        """Give all generations that can be read, the newest first; none that never was active."""
        active = self.succession.view.active
        for number in reversed(self.archive.numbers()):
            if active is not None and number < active.number:
                try:
                    yield self.archive.generation(number)
                except StoreError:
                    continue
            elif active is not None and number == active.number:
                yield active

    def generation(self, number: int) -> Generation:
        """Give one generation. Raises NotFound or StoreCorrupt."""
        active = self.succession.view.active
        if active is not None and number == active.number:
            return active
        if active is None or number > active.number:
            raise NotFound("generation", str(number))
        return self.archive.generation(number)

    def back_from(self, key: Key) -> Slot | None:
        """Give the state to which a step back leads; None where there was none. NotFound: no such slot."""
        now = self.succession.view.slots.get(key)
        on_probation = self.probations.of(now)
        if on_probation is not None:
            return on_probation.way_back
        records = [_recorded(one, key) for one in self.generations()]
        line = line_of([*reversed(records), now])
        if not line:
            raise NotFound("slot", f"{key[0]}/{key[1]}")
        return line[-2] if len(line) > 1 else None

    def roll_back(self, case: Case, key: Key, back: Slot | None) -> Receipt:
        """Put one slot back to the state `back`, which `back_from` gave."""
        slots = dict(self.succession.view.slots)
        now = slots.pop(key, None)
        if now is not None and now.sealed:
            raise Refusal(found("slot_sealed", source=now.source))
        if back is None:
            if now is None or self.probations.of(now) is None:
                raise Refusal(told_of("nothing_before", now) if now else found("nothing_before_removal"))
            return self._without(case, slots, now)
        back = self._restorable(case, back)
        self._look_at([back])
        case.receipt = replace(case.receipt, bundle=back.bundle, beside=back.beside)
        case.tell(*self._expired(back))
        return self.changing.put(case, {**slots, key: back.confirmed()})

    def activate(self, case: Case, generation: Generation) -> Receipt:
        """Have every slot as `generation` had it."""
        now = self.succession.view.slots
        wanted = {slot.key: _unless_same(now.get(slot.key), slot) for slot in generation.slots}
        changed = [slot for key, slot in wanted.items() if now.get(key) is not slot]
        gone = [slot for key, slot in now.items() if key not in wanted]
        if not changed and not gone:
            note = found("nothing_to_change", number=generation.number)
            active = self.succession.view.active
            return self.changing.change_nothing(case, note, (active or generation).number)
        touched = [*changed, *gone]
        sealed = [slot for slot in touched if slot.sealed or _is_sealed(now.get(slot.key))]
        if sealed:
            sources = sorted({slot.source for slot in sealed}, key=lambda source: source.rank)
            raise Refusal(*(found("slot_sealed", source=source) for source in sources))
        wanted |= {slot.key: self._restorable(case, slot) for slot in changed}
        changed = [wanted[slot.key] for slot in changed]
        self._look_at(changed)
        case.receipt = replace(case.receipt, source=min((s.source for s in touched), key=lambda s: s.rank))
        case.tell(*(finding for slot in changed[:_TOLD] for finding in self._expired(slot)))
        self._see_that_somebody_is_served(case, wanted, gone)
        return self.changing.put(case, wanted)

    def remove(self, case: Case, slot: Slot) -> Receipt:
        """Take a slot away: its names go to whoever else covers them."""
        case.receipt = replace(case.receipt, bundle=slot.bundle, beside=slot.beside)
        if slot.sealed:
            raise Refusal(found("slot_sealed", source=slot.source))
        if slot.source is Source.GENERATED:
            raise Refusal(found("own_stays"))
        slots = {key: one for key, one in self.succession.view.slots.items() if key != slot.key}
        return self._without(case, slots, slot)

    def _without(self, case: Case, slots: Mapping[Key, Slot], gone: Slot) -> Receipt:
        self._see_that_somebody_is_served(case, slots, [gone])
        return self.changing.put(case, slots)

    def _see_that_somebody_is_served(self, case: Case, slots: Mapping[Key, Slot], gone: list[Slot]) -> None:
        if self.succession.compute(slots, case.receipt.cause).default is None:
            raise Refusal(*(told_of("last_source", slot) for slot in gone[:_TOLD]))

    def _restorable(self, case: Case, slot: Slot) -> Slot:
        """Give what can come back of a pair, where one of both can't; else the slot as it is."""
        lost = {id_ for id_ in slot.bundles if self.shelf.is_banned(id_) or self._why_not(id_)}
        left = slot.without(lost)
        if left is None or left is slot:
            return slot
        case.tell(told_of("half_left_out", slot, kind=self.shelf.meta(left.bundle).key_type))
        return left

    def _look_at(self, slots: Iterable[Slot]) -> None:
        """Refuse what can't be brought back."""
        slots = tuple(slots)
        banned = [slot for slot in slots if any(map(self.shelf.is_banned, slot.bundles))]
        if banned:
            raise Refusal(*(told_of("slot_key_banned", slot) for slot in banned[:_TOLD]))
        lost = [(slot, why) for slot in slots for id_ in slot.bundles if (why := self._why_not(id_))]
        if lost:
            raise Refusal(*(told_of("not_restorable", slot, why=why) for slot, why in lost[:_TOLD]))

    def _why_not(self, bundle: str) -> str:
        if bundle in self.succession.aside:
            return "this version can't serve it"
        try:
            self.shelf.bundle(bundle)
        except NotFound:
            return "it is no longer stored"
        except StoreError as error:
            return str(error)
        return ""

    def _expired(self, slot: Slot) -> tuple[Finding, ...]:
        not_after = min(self.shelf.meta(id_).facts.not_after for id_ in slot.bundles)
        if self.clock() <= not_after:
            return ()
        return (told_of("restored_expired", slot, not_after=f"{not_after:%Y-%m-%d %H:%M} UTC"),)


def _recorded(generation: Generation, key: Key) -> Slot | None:
    return next((slot for slot in generation.slots if slot.key == key), None)


def _unless_same(now: Slot | None, then: Slot) -> Slot:
    """Keep the slot that is there, object and all, where it is in the state that it was in."""
    return now if now is not None and now.tenure == then.tenure else then.confirmed()


def _is_sealed(slot: Slot | None) -> bool:
    return slot is not None and slot.sealed
