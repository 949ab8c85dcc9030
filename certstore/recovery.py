"""What a start makes of the store that the last run left, however that ended.

Promises: the active generation is served on, whole; what an unfinished change had written is taken back;
every receipt that was open is settled; nothing half done stays. Never raises for want of a good certificate
or of a disk that takes writes: it does in memory what it can't do on disk, and tells in `findings` all that
was not as it should be.

Theory. *The active file wins.* A change writes its slot before its generation becomes active, so after a
crash a slot may be newer than what is active; the active generation recorded the slots as they were, and
they are put back to that. Only when the active file or its generation can't be read are the slots the
truth, and a generation is computed from them. Everything here may be interrupted by the next crash, and is
simply done again: every step leads towards the same state, and the bundles, which alone can't be made
again, go last, when nothing names them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from certstore import layout
from certstore.activation import Change, Move
from certstore.atomic import Disk
from certstore.changing import moves_between
from certstore.confirming import why_gone_back
from certstore.errors import StoreCorrupt, StoreError
from certstore.findings import Finding, found
from certstore.generation import BundleFacts, Cause, Generation, Trusted, bundles_served, compute
from certstore.probation import BootTime, Probation, gone_back
from certstore.reading import read_generation, read_slots
from certstore.receipts import WITNESSES, Receipt, State
from certstore.rooms import Rooms
from certstore.slots import Key, Slot, bundles_named, in_order, told_of
from certstore.trusttrail import recall_trust

__all__ = ["Recovered", "Recovery"]


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state to go on with. `next_number` is beyond every generation that ever was here."""

    active: Generation | None
    slots: Mapping[Key, Slot]
    next_number: int
    findings: tuple[Finding, ...]
    settled: tuple[Receipt, ...]
    """The receipts of what the last run had left open, as they ended now; oldest first."""
    owed: Change | None
    """What went back in memory only."""


class Recovery:
    """Runs once, when a store is opened. Wants the store's lock."""

    def __init__(self, root: Path, disk: Disk, rooms: Rooms) -> None:
        """Take the store's folder and its rooms."""
        self._root = root
        self._disk = disk
        self._shelf, self._bans = rooms.shelf, rooms.shelf.bans
        self._archive = rooms.archive
        self._ledger = rooms.ledger
        self._probations = rooms.probations
        self._activation = rooms.activation
        self._erasing = rooms.erasing
        self._findings: list[Finding] = []
        self._settled: dict[str, Receipt] = {}
        self._moves: tuple[Move, ...] = ()
        self._writes = True
        self._trust: tuple[Trusted, ...] = ()

    def run(self, now: datetime, boot: BootTime, clock_plausible: Callable[[], bool]) -> Recovered:
        """Put everything right. `clock_plausible` is asked when the receipts are known."""
        self._sweep()
        self._shelf.index()
        damaged = self._ledger.load()
        self._findings += [found("receipt_damaged", why=error) for error in damaged]
        self._attempt(partial(self._disk.remove, [Path(error.path) for error in damaged]))
        active, lost = self._read_active()
        if lost:
            self._trust = self._recall_trust(is_whole=not damaged)
        self._bans.load(None if lost else active.number if active is not None else 0)
        self._attempt(self._bans.sweep)
        self._shelf.revoked.load()
        slots = self._salvage_slots() if lost else self._restore_slots(active)
        if not self._erasing.load(active, slots.values()):
            self._attempt(self._erasing.call_off)
        standing, over = self._probations_of(slots, boot, now)
        slots = self._confirm(slots, {one.key for one in standing})
        self._settle(slots, active, now)
        slots = self._go_back(slots, over)
        numbers = self._archive.numbers()
        number = self._next_number(numbers, active, slots)
        if not lost:
            self._drop_unborn(active, slots, numbers)
        cause = Cause.PROBATION if over else Cause.RECOVERY
        healed = self._heal(
            active, slots, Generation(number, (), None, (), cause, None, now), plausible=clock_plausible()
        )
        if healed is not None:
            number = max(number, healed.number + 1)
        self._close(over, [one for one in standing if one not in over], boot, now)
        self._attempt(partial(self._finish_reset, healed, slots, now))
        owed = Change(self._moves) if over and not self._writes else None
        return Recovered(healed, slots, number, tuple(self._findings), tuple(self._settled.values()), owed)

    # --- probation ---

    def _probations_of(
        self, slots: Mapping[Key, Slot], boot: BootTime, now: datetime
    ) -> tuple[list[Probation], list[Probation]]:
        """Find out what is in probation, and what of it goes back now."""
        error = self._probations.load()
        if error is not None:
            self._findings.append(found("probation_damaged", why=error))
        standing = [one for one in self._probations.table.values() if one.stands_in(slots)]
        standing += self._forgotten(slots, {one.receipt for one in standing})
        over = [one for one in standing if one.is_over(boot)]
        if not over or self._is_anybody_served(gone_back(slots, over), now):
            return standing, over
        self._findings.append(found("no_way_back"))
        return [one for one in standing if one not in over], []

    def _forgotten(self, slots: Mapping[Key, Slot], known: Collection[str]) -> Iterator[Probation]:
        """Find what wanted a confirmation, and of which only its receipt still says so."""
        open_ones = {one.id: one for one in self._ledger.open_ones() if one.confirm_within_s is not None}
        for key, slot in slots.items():
            if slot.receipt in open_ones.keys() - known and not slot.is_confirmed:
                yield Probation(key, slot.receipt, "", 0.0, self._way_back(slot))

    def _way_back(self, slot: Slot) -> Slot | None:
        """Look for the last confirmed state of a slot in the generations."""
        back = slot.put_back()
        if back is None:
            return None
        for number in reversed(self._archive.numbers()):
            with suppress(StoreError):
                for one in self._archive.generation(number).slots:
                    if one.key == slot.key and one.bundles == back.bundles:
                        return one.confirmed()
        return back

    def _is_anybody_served(self, slots: Mapping[Key, Slot], now: datetime) -> bool:
        facts = self._shelf.facts(bundles_named(slots.values()))
        return compute(slots.values(), facts, now, False).default is not None

    def _go_back(self, slots: dict[Key, Slot], over: Sequence[Probation]) -> dict[Key, Slot]:
        after = gone_back(slots, over)
        self._moves = moves_between(slots, after)
        for before, slot in self._moves:
            if slot is not None:
                self._attempt(partial(self._activation.write_slot, slot))
            elif before is not None:
                self._attempt(partial(self._activation.remove_slot, before))
        return after

    def _close(
        self, over: Sequence[Probation], left: Sequence[Probation], boot: BootTime, now: datetime
    ) -> None:
        """Settle the receipts of what has gone back, and forget all that is in probation no more."""
        for one in over:
            receipt = self._ledger.receipt(one.receipt)
            why = why_gone_back(one, receipt, boot)
            self._findings.append(why)
            if receipt.state is State.LIVE:
                self._record(receipt.with_findings((why,)).advance(State.ROLLED_BACK, now))
        self._attempt(partial(self._probations.save, {one.receipt: one for one in left}))

    def _finish_reset(self, active: Generation | None, slots: Mapping[Key, Slot], now: datetime) -> None:
        if self._erasing.owed is not None:
            self._findings += self._erasing.finish(active, slots.values(), now)
            self._findings.append(found("reset_completed"))

    def _next_number(self, numbers: list[int], active: Generation | None, slots: Mapping[Key, Slot]) -> int:
        """Give a number beyond all that were ever used, also where the generations themselves are gone."""
        told = [receipt.generation or 0 for receipt in self._ledger.newest(WITNESSES)]
        since = [slot.since for slot in slots.values()]
        return max([*numbers, *told, *since, *([active.number] if active else [])], default=0) + 1

    def _attempt(self, step: Callable[[], object]) -> None:
        """Do a step that writes. After the first that fails no other is tried: the disk takes no writes."""
        if not self._writes:
            return
        try:
            step()
        except StoreError as error:
            self._writes = False
            self._findings.append(found("store_read_only", why=error))

    def _tell(self, code: str, slot: Slot) -> None:
        self._findings.append(told_of(code, slot))

    def _sweep(self) -> None:
        for folder in (self._root, *(self._root / inner for inner in layout.folders())):
            if folder.is_dir():
                self._attempt(partial(self._disk.clear_aside, folder))

    def _read_active(self) -> tuple[Generation | None, bool]:
        """Read what was active; the flag says that something was, but can't be read any more."""
        try:
            active = read_generation(self._root)
        except StoreCorrupt as error:
            self._findings.append(found("active_damaged", why=error))
            return None, True
        # before its first activation a store has no active file and no confirmed slot; after it, it always
        # has. Either witness is enough: without one, every key here would be taken for half done and removed.
        lost = active is None and (self._ledger.has_been_live() or self._has_confirmed_slot())
        if lost:
            self._findings.append(found("active_damaged", why=f"{self._root / layout.ACTIVE} is missing"))
        return active, lost

    def _recall_trust(self, *, is_whole: bool) -> tuple[Trusted, ...]:
        """Find out, by the receipts too, which trust sets were in force; what is unsure lets nobody in."""
        receipts = self._ledger.all()
        recalled = recall_trust(self._archive.newest_readable(), receipts, is_whole=is_whole)
        self._findings += [found("trust_forgotten", name=name) for name in recalled.unsure]
        return recalled.sure

    def _has_confirmed_slot(self) -> bool:
        on_disk, _ = read_slots(self._root)
        return any(slot.last_confirmed is not None for slot in on_disk)

    def _restore_slots(self, active: Generation | None) -> dict[Key, Slot]:
        """Put the slots back to what the active generation recorded."""
        on_disk, damaged = read_slots(self._root)
        here = {slot.key: slot for slot in on_disk}
        recorded = {slot.key: slot for slot in (active.slots if active else ())}
        strays = {Path(error.path) for error in damaged}
        for key, slot in recorded.items():
            if key not in here or here[key].tenure != slot.tenure:
                self._tell("slot_put_back", slot)
                self._attempt(partial(self._activation.write_slot, slot))
                here[key] = slot
                strays.discard(self._root / layout.slot_file(*key))
            elif here[key] == slot:
                here[key] = slot  # one object for both: with 10,000 slots that is some megabytes
        for key in here.keys() - recorded.keys():
            self._tell("slot_put_back", here[key])
            self._attempt(partial(self._activation.remove_slot, here.pop(key)))
        self._attempt(partial(self._disk.remove, sorted(strays)))
        return here

    def _salvage_slots(self) -> dict[Key, Slot]:
        """Take the slots as they are, for want of a record; or those of the newest readable generation."""
        on_disk, damaged = read_slots(self._root)
        self._findings += [found("slot_damaged", why=error) for error in damaged]
        if on_disk:
            return {slot.key: slot for slot in on_disk}
        for number in reversed(self._archive.numbers()):
            try:
                return {slot.key: slot for slot in self._archive.generation(number).slots}
            except StoreError:
                continue
        return {}

    def _confirm(self, slots: Mapping[Key, Slot], on_probation: Collection[Key]) -> dict[Key, Slot]:
        """Confirm what is active and can be loaded, but for what waits for somebody's word."""
        confirmed = dict(slots)
        for key, slot in slots.items():
            if slot.is_confirmed or key in on_probation:
                continue
            if all(self._shelf.is_whole(id_) for id_ in slot.bundles):
                confirmed[key] = slot.confirmed()
                self._attempt(partial(self._activation.write_slot, confirmed[key]))
        return confirmed

    def _settle(self, slots: Mapping[Key, Slot], active: Generation | None, now: datetime) -> None:
        """Bring every open receipt to its end, but for those in probation."""
        serving = {slot.receipt: slot for slot in slots.values()}
        for receipt in self._ledger.open_ones():
            slot = serving.get(receipt.id)
            settled = _settled(receipt, slot, active, now)
            watched = self._probations.table.get(receipt.id)
            if slot is None and watched is not None and receipt.state is State.LIVE:
                settled = receipt.advance(watched.end_in(slots), now)
            if settled != receipt:
                self._record(settled)

    def _record(self, receipt: Receipt) -> None:
        self._ledger.owe(receipt)
        self._attempt(partial(self._ledger.record, receipt))
        self._settled[receipt.id] = receipt

    def _drop_unborn(self, active: Generation | None, slots: Mapping[Key, Slot], numbers: list[int]) -> None:
        """Remove generations that never became active, then every bundle that nothing names."""
        newest = active.number if active else 0
        self._attempt(partial(self._archive.remove, [n for n in numbers if n > newest]))
        strays = self._shelf.ids() - bundles_named(slots.values())
        for number in reversed(numbers):
            if strays and number <= newest:
                strays -= self._archive.mentions(number).bundles
        self._attempt(partial(self._shelf.remove, strays))

    def _heal(
        self,
        active: Generation | None,
        slots: Mapping[Key, Slot],
        blank: Generation,
        *,
        plausible: bool,
    ) -> Generation | None:
        """Compute anew where what is active can't be served, or wouldn't be computed so today.

        `blank` has the number, cause and time of the generation to be made.
        """
        now, moved = blank.made_at, blank.cause == Cause.PROBATION
        facts = self._shelf.facts(bundles_named(slots.values()))
        if active is not None:
            facts = self._without_false_hopes(active, slots, facts, now, plausible=plausible)
        fallen = [slot for slot in slots.values() if not facts.keys() >= set(slot.bundles)]
        for slot in fallen:
            if not any(self._shelf.is_banned(id_) for id_ in slot.bundles if id_ not in facts):
                self._tell("slot_fallen", slot)
        # a clock that can't be right would undo at each start what the right one does an hour later
        if active is not None and not (plausible or fallen or moved):
            return active
        served = compute(slots.values(), facts, now, plausible)
        if active is None and served.default is None:
            return None
        if active is not None and served == active.served and not moved:
            return active
        trust = active.trust if active is not None else self._trust
        rows, default, beside = served
        healed = replace(
            blank,
            rows=rows,
            default=default,
            default_beside=beside,
            slots=in_order(slots.values()),
            trust=trust,
        )
        self._attempt(partial(self._archive.put, healed))
        self._attempt(partial(self._archive.point_at, healed.number))
        return healed

    def _without_false_hopes(
        self,
        active: Generation,
        slots: Mapping[Key, Slot],
        facts: dict[str, BundleFacts],
        now: datetime,
        *,
        plausible: bool,
    ) -> dict[str, BundleFacts]:
        """Leave out what would be served from now on, is taken on trust, and turns out to be damaged.

        A slot that fell because its bundle is damaged would else rise at each start, and fall again.
        """
        served, trusted = active.bundles(), frozenset(self._shelf.unproved())
        while trusted:
            risen = bundles_served(compute(slots.values(), facts, now, plausible))
            newcomers = (risen - served) & trusted
            damaged = {id_ for id_ in newcomers if not self._shelf.is_whole(id_)}
            if not damaged:
                break
            facts = {id_: known for id_, known in facts.items() if id_ not in damaged}
        return facts


def _settled(receipt: Receipt, slot: Slot | None, active: Generation | None, now: datetime) -> Receipt:
    """Give an open receipt its end: `slot` is the one that its candidate stands in, if it does."""
    if slot is None:
        if receipt.state is State.LIVE:
            return receipt.advance(State.SUPERSEDED, now)
        if (
            active is not None and active.receipt == receipt.id
        ):  # a removal, or several slots: none bears its name
            live = receipt.advance(State.LIVE, now, active.number)
            return live.advance(State.CONFIRMED, now)
        return receipt.with_findings((found("interrupted"),)).advance(State.REFUSED, now)
    if receipt.state is State.RECEIVED:
        named = active is not None and active.receipt == receipt.id
        number = active.number if active is not None and named else slot.since
        if receipt.cause in {Cause.PROPOSAL, Cause.RESET, Cause.BAN}:  # a backup brings several
            receipt = replace(receipt, bundle=slot.bundle, beside=slot.beside)
        receipt = receipt.advance(State.LIVE, now, number)
    return receipt.advance(State.CONFIRMED, now) if slot.is_confirmed else receipt
