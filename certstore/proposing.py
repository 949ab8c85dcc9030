"""A candidate on its way into a slot: examined, judged, and put into effect or refused.

Promises: whatever is wrong with a candidate ends in a `Refusal`, before anything but its receipt is written.
Refuses to know the disk, and what is in the files: an examiner is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from certstore import companions
from certstore.bundle import Bundle
from certstore.changing import Case, Changing
from certstore.circumstances import Circumstances
from certstore.companions import Couple
from certstore.decode import Candidate
from certstore.errors import Refusal, StoreError
from certstore.examination import Examiner, KnownKey
from certstore.findings import Finding, found
from certstore.probation import BootClock, Probation, Probations
from certstore.receipts import Receipt, State, receipt_id
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
    from then on. beside: it is to stand beside what is there with a key of the other kind. unseals: what is
    sealed there gives way. look: raises Refusal for a bundle that this device mustn't have.
    """

    known_key: KnownKey | None = None
    seals: bool = False
    beside: bool = False
    unseals: bool = False
    look: Callable[[Bundle], None] = _anything


_USUAL: Final = Terms()


@dataclass(frozen=True, slots=True)
class _Examined:
    """What came of an examination: what is to be served, the bundles that came, and the slot as it is."""

    comes: Couple
    bundles: tuple[Bundle, ...]
    slot: Slot | None
    is_live: bool = False


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
        examined = self._examined(case, candidate, examiner, terms)
        if examined.is_live:
            assert examined.slot is not None, "what is live has a slot"
            return self._change_nothing(case, examined.slot)
        return self._put(case, examined, terms)

    def rehearse(
        self, source: Source, candidate: Candidate | Bundle, examiner: Examiner, terms: Terms
    ) -> tuple[tuple[Bundle, ...], tuple[Finding, ...]]:
        """Give the bundles that would be served, and what was found; keep nothing. Raises Refusal."""
        nowhere = Receipt(receipt_id(0, "0" * 8), State.RECEIVED, source, "", None, None, (), {})
        case = Case(nowhere)
        try:
            examined = self._examined(case, candidate, examiner, terms)
        except Refusal as refusal:
            raise Refusal(*case.receipt.findings, *refusal.findings) from None
        live = (found("already_live"),) if examined.is_live else ()
        return examined.bundles, (*case.receipt.findings, *live)

    def _examined(
        self, case: Case, candidate: Candidate | Bundle, examiner: Examiner, terms: Terms
    ) -> _Examined:
        try:
            try:
                return self._examine_one(case, candidate, examiner, terms)
            except Refusal as refusal:
                parted = self._parted(candidate, examiner, refusal, terms)
                if not parted:
                    raise
            return self._examine_both(case, parted, examiner, terms)
        except Refusal as refusal:
            raise Refusal(*refusal.findings, *self.requests.unmatched(refusal)) from None

    def _examine_one(
        self, case: Case, candidate: Candidate | Bundle, examiner: Examiner, terms: Terms
    ) -> _Examined:
        with examiner.examine(candidate, terms.known_key or self.requests.known_key) as examination:
            bundle = examination.bundle
            case.receipt = replace(case.receipt, bundle=bundle.id)
            case.tell(*examination.findings, *self.requests.answers(bundle))
            slot = self._slot_for(case, bundle)
            self._see_to_the_key(case, bundle, slot)
            here = self._kinds(slot)
            is_beside = terms.beside or self._is_successor(bundle, slot)
            if case.reason.bans and len(here) > 1 and not is_beside:
                raise Refusal(found("which_key_lost"))
            comes = companions.beside(bundle, here) if is_beside else companions.couple([bundle])
            if slot is not None and self._is_live(slot, comes, bundle):
                case.tell(*companions.staying(here, comes.ids))
                return _Examined(comes, (bundle,), slot, is_live=True)
            self._see_to_the_seal(case, comes, terms)
            terms.look(bundle)
            judged = examination.judge(self.circumstances(bundle))
        case.tell(*(companions.of_a_pair(judged) if is_beside else judged))
        if not is_beside:
            case.tell(*companions.left_out(here, comes.ids, [bundle.key_type]))
        return _Examined(comes, (bundle,), slot)

    def _parted(
        self, candidate: Candidate | Bundle, examiner: Examiner, refusal: Refusal, terms: Terms
    ) -> tuple[Candidate, ...]:
        """Give the halves of a candidate that was refused for having two certificates, where it is a pair."""
        codes = {finding.code for finding in refusal.findings}
        if isinstance(candidate, Bundle) or terms.beside or "several_leaves" not in codes:
            return ()
        return companions.halves(
            candidate, examiner.read, lambda spki: self.requests.known_key(spki) is not None
        )

    def _examine_both(
        self, case: Case, halves: tuple[Candidate, ...], examiner: Examiner, terms: Terms
    ) -> _Examined:
        """Examine two that came together: both are served, or none."""
        bundles: list[Bundle] = []
        for half in halves:
            with examiner.examine(half, terms.known_key or self.requests.known_key) as examination:
                bundle = examination.bundle
                self._tell_once(case, *examination.findings, *self.requests.answers(bundle))
                self._see_to_the_key(case, bundle, self._slot_for(case, bundle))
                terms.look(bundle)
                judged = examination.judge(self.circumstances(bundle))
                self._tell_once(case, *companions.of_a_pair(judged))
                bundles.append(bundle)
        comes = companions.couple(bundles)
        case.receipt = replace(case.receipt, bundle=comes.bundle, beside=comes.beside)
        self._see_to_the_seal(case, comes, terms)
        slot = self._slot_for(case, bundles[0])
        is_live = slot is not None and self._is_live(slot, comes)
        ordered = sorted(bundles, key=lambda bundle: comes.ids.index(bundle.id))
        return _Examined(comes, tuple(ordered), slot, is_live=is_live)

    @staticmethod
    def _tell_once(case: Case, *findings: Finding) -> None:
        """Tell what wasn't told of the other half."""
        case.tell(*(finding for finding in findings if finding not in case.receipt.findings))

    def _slot_for(self, case: Case, bundle: Bundle) -> Slot | None:
        return self.succession.view.slots.get((case.receipt.source, slot_id(bundle.names)))

    def _is_successor(self, bundle: Bundle, slot: Slot | None) -> bool:
        """Say whether it was asked for here as the successor of one of a pair: then the other one stays."""
        if slot is None or slot.beside is None:
            return False
        asked = self.requests.asked_for(bundle.spki)
        return asked is not None and asked.renews in slot.bundles

    def _kinds(self, slot: Slot | None) -> list[tuple[str, str]]:
        """Give what a slot has that can be read, and may be served, with the kind of its key."""
        kinds = []
        for id_ in slot.bundles if slot is not None else ():
            with suppress(StoreError):
                if not self.shelf.is_banned(id_):
                    kinds.append((id_, self.shelf.meta(id_).key_type))
        return kinds

    def _change_nothing(self, case: Case, slot: Slot) -> Receipt:
        case.receipt = replace(case.receipt, bundle=slot.bundle, beside=slot.beside)
        active = self.succession.view.active
        number = active.number if active is not None else slot.since
        return self.changing.change_nothing(case, found("already_live"), number)

    def _see_to_the_key(self, case: Case, bundle: Bundle, slot: Slot | None) -> None:
        """Refuse a banned key, and the one that is said to be compromised."""
        if bundle.spki in self.shelf.bans:
            raise Refusal(found("key_banned", key=bundle.spki))
        here = slot.bundles if slot is not None else ()
        if case.reason.bans and any(self.shelf.spki(id_) == bundle.spki for id_ in here):
            raise Refusal(found("key_not_replaced", key=bundle.spki))

    def _is_live(self, slot: Slot, comes: Couple, alone: Bundle | None = None) -> bool:
        return (
            slot.is_confirmed
            and self.succession.aside.isdisjoint(slot.bundles)
            and all(map(self.shelf.is_whole, slot.bundles))
            and (
                slot.bundles == comes.ids
                or (alone is not None and alone.id in slot.bundles)
                or (slot.sealed and alone is not None and self._is_part(slot, alone))
            )
        )

    def _is_part(self, slot: Slot, bundle: Bundle) -> bool:
        """Say whether it is what a slot has, perhaps without its chain."""
        held = self.shelf.bundle(slot.bundle)
        return held.leaf == bundle.leaf and set(bundle.chain) <= set(held.chain)

    def _see_to_the_seal(self, case: Case, comes: Couple, terms: Terms) -> None:
        """Refuse for a source that takes nothing, but for what it has: that may have been damaged."""
        slots = [one for one in self.succession.view.slots.values() if one.source is case.receipt.source]
        if not terms.unseals and any(one.sealed and one.bundles != comes.ids for one in slots):
            raise Refusal(found("slot_sealed", source=case.receipt.source))

    def _put(self, case: Case, examined: _Examined, terms: Terms) -> Receipt:
        before, comes = examined.slot, examined.comes
        way_back = self._way_back(before)
        slot = Slot(
            source=case.receipt.source,
            names=examined.bundles[0].names,
            bundle=comes.bundle,
            beside=comes.beside,
            last_confirmed=way_back.bundle if way_back is not None else None,
            confirmed_beside=way_back.beside if way_back is not None else None,
            via=case.receipt.via,
            sealed=terms.seals or (before is not None and before.sealed),
            receipt=case.receipt.id,
            stored_at=self.clock(),
            since=self.succession.next_number,
        )
        case.receipt = replace(case.receipt, bundle=comes.bundle, beside=comes.beside)
        slots = without_former_selves({**self._staying(slot, terms), slot.key: slot}, slot)
        return self.changing.put(case, slots, examined.bundles, self._probation(case, slot, way_back))

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
