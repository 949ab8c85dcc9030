"""The store: what a device serves, and everything that ever changes it.

Promises: `propose` is the only way in, and whatever is wrong with a candidate, or with another change that
somebody wants, leaves what is served as it was, with a receipt that says so. Changes come one after another;
each is whole on disk before it is served.
Refuses to know TLS, sockets, the time and what is in a file: publisher, clock and examiner are handed in.

Threads: what a store shows (showing.py) never waits, from any thread. Everything that changes something
blocks on the disk and on the changes before it: call it in a worker thread, and never from within a publisher
or an examiner.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from certstore import layout
from certstore.activation import Activation
from certstore.archive import Archive
from certstore.atomic import Disk
from certstore.authority import DeviceCA
from certstore.backup import Backup
from certstore.bundle import Bundle
from certstore.changing import Changing
from certstore.confirming import Confirming
from certstore.decode import Candidate
from certstore.errors import NotFound, StoreError, StoreNotWritable
from certstore.examination import Examiner
from certstore.findings import Finding, found
from certstore.gates import NullPublisher, Publisher
from certstore.generation import Cause, Generation
from certstore.ledger import Handled, Ledger
from certstore.lock import Lock
from certstore.premises import enter, furnish
from certstore.probation import BootClock, Probations, unknown_boot
from certstore.proposing import Proposing
from certstore.pruning import prune
from certstore.reading import read_bundle, read_generation
from certstore.receipts import Receipt
from certstore.recovery import Recovery, Rooms
from certstore.requesting import Requesting
from certstore.restoring import Restoring
from certstore.reverting import Reverting
from certstore.shelf import Shelf
from certstore.showing import Clock, Shown
from certstore.slots import Key, Source, told_of
from certstore.succession import Succession, View

__all__ = [
    "Clock",
    "NullPublisher",
    "Publisher",
    "Store",
    "read_bundle",
    "read_generation",
]


@dataclass(frozen=True, slots=True)
class _Pruned:
    """What was pruned last, and which receipts that left: the same again would find nothing to remove."""

    view: View
    keep: int
    in_use: frozenset[int]
    receipts: frozenset[str]


class Store(Shown):
    """A store that is held: locked for everybody else until `close`. Made by `open`."""

    def __init__(
        self, root: Path, lock: Lock, disk: Disk, clocks: tuple[Clock, BootClock], publisher: Publisher
    ) -> None:
        """Use `open`."""
        self._root = root
        self._lock = lock
        self._clock, self._boot_clock = clock, boot_clock = clocks
        self._shelf = Shelf(root, disk)
        self._archive = Archive(root, disk)
        self._ledger = Ledger(root, disk)
        self._handled = Handled(root, disk)
        self._probations = Probations(root, disk)
        self._activation = Activation(root, disk, self._shelf, self._archive, self._probations)
        plausible = self.clock_plausible
        self._succession = succession = Succession(
            self._activation, self._archive, self._shelf, publisher, clock, plausible
        )
        self._changes = changes = Changing(
            self._ledger, self._activation, succession, self._probations, clock
        )
        place = (root, disk)
        self.requests = asked = Requesting(place, succession, self._shelf, clock, plausible, self._change)
        self.device_ca = DeviceCA(root, disk, self._change)
        self._proposing = Proposing(
            changes, succession, self._shelf, self._probations, asked, clock, self.circumstances, boot_clock
        )
        self._reverting = Reverting(changes, succession, self._archive, self._shelf, self._probations, clock)
        self._restoring = Restoring(changes, succession, self.requests, clock)
        self._confirming = Confirming(changes, succession, self._probations, self._ledger, clock)
        self._changing = threading.Lock()
        self._barred: StoreError | None = None
        self._pruned: _Pruned | None = None
        rooms = Rooms(self._shelf, self._archive, self._ledger, self._probations, self._activation)
        recovered = Recovery(root, disk, rooms).run(clock(), boot_clock(), plausible)
        self._handled.load()
        self._succession.view = View.of(recovered.active, recovered.slots)
        self._succession.next_number, self._succession.owed = recovered.next_number, recovered.owed
        self.recovered = (*recovered.findings, *self.requests.load())
        self.settled = recovered.settled

    @classmethod
    def open(  # noqa: PLR0913  each has another owner, and all but two a default
        cls,
        path: Path | str,
        *,
        clock: Clock,
        boot_clock: BootClock = unknown_boot,
        publisher: Publisher | None = None,
        lock_wait_s: float = 0.0,
        disk: Disk | None = None,
        held: int | None = None,
    ) -> Store:
        """Open the store in the folder `path`, made (0700) if absent, and put right what the last run left.

        boot_clock: tells the boot and its seconds; without one nothing can be put in probation, and what is
        in it goes back now.
        held: the descriptor of the store's lock, where this process has it already (`at_rest`).
        What had to be put right stands in `recovered`, and in `settled` what became of changes that were
        open. The publisher is not called: read `active` first.
        Raises StoreInsecure, StoreLocked (after `lock_wait_s`) or StoreNotWritable where no folder or lock
        can be had; never for want of a good certificate, and not for a newer format or a disk that takes no
        writes: such a store is served as it is, and `propose` raises.
        """
        root = Path(path).absolute()
        disk = disk or Disk()
        enter(root, disk)
        note = f"process {os.getpid()}, since {clock():%Y-%m-%d %H:%M:%S} UTC"
        lock = Lock(held) if held is not None else Lock.acquire(root / layout.LOCK, note, lock_wait_s)
        try:
            barred = furnish(root, disk)
            if barred is not None:
                disk = Disk(before=_raiser(barred))
            store = cls(root, lock, disk, (clock, boot_clock), publisher or NullPublisher())
            if barred is not None:
                store._barred = barred
                told = found("store_read_only", why=barred)
                store.recovered = tuple(dict.fromkeys((*store.recovered, told)))
        except BaseException:
            lock.release()
            raise
        return store

    @property
    def is_read_only(self) -> bool:
        """Whether no change is possible until the next start: of a newer format, damaged, or closed."""
        return self._barred is not None

    def close(self) -> None:
        """Let go of the store when a change under way is done. Reading goes on; again does nothing."""
        with self._changing:
            self._barred = StoreNotWritable(self._root, "it is closed")
            self._lock.release()

    @contextmanager
    def at_rest(self) -> Iterator[int]:
        """Hold off all changes while the block runs; gives the descriptor of the store's lock.

        For a process that executes itself anew and goes on holding the store (`open`'s `held`). Waits for the
        change under way; may be entered in one thread and left in another.
        """
        with self._changing:
            yield self._lock.descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        active = self.active
        return f"<Store {self._root} generation={active.number if active else None}>"

    # --- changing: one after another ---

    def propose(
        self,
        candidate: Candidate | Bundle,
        *,
        source: Source,
        via: str,
        examiner: Examiner,
        confirm_within_s: float | None = None,
    ) -> Receipt:
        """Examine, store and activate a candidate; gives its receipt, confirmed or refused.

        confirm_within_s: the change goes back by itself unless it is confirmed in so many seconds; its
        receipt is live until then. A further proposal for the same names starts the time anew; the way back
        stays the last confirmed state.
        Never raises for what is wrong with the candidate or with its publishing. Raises StoreError when the
        disk fails before the new generation is active: what was served is served on, and the candidate may
        be proposed again. When the disk fails after that, the receipt is live and says so (`not_recorded`).
        """
        if confirm_within_s is not None and not (0 < confirm_within_s < math.inf and self._boot_clock().boot):
            raise ValueError("a probation takes some seconds, and a boot clock")
        with self._change():
            return self._changes.handle(
                source,
                via,
                lambda case: self._proposing.propose(case, candidate, examiner),
                confirm_within_s=confirm_within_s,
            )

    def roll_back(self, key: Key, *, via: str) -> Receipt:
        """Put one slot (its source and id) back to what it had before; gives the receipt of that change.

        From a probation back to the last confirmed state, else one step of its history, or back to what was
        there before it was removed. Other slots stay. Refused where there is nothing to go back to, where
        that can't be served, or where the slot is sealed. Raises NotFound where there is and was no such
        slot, and StoreError as `propose`.
        """
        with self._change():
            back = self._reverting.back_from(key)
            return self._changes.handle(
                key[0], via, lambda case: self._reverting.roll_back(case, key, back), cause=Cause.ROLLBACK
            )

    def activate(self, number: int, *, via: str) -> Receipt:
        """Have every slot as that generation had it, confirmed; from them a new generation is computed.

        Refused, before anything changes, where a bundle is gone (`not_restorable`) or a slot is sealed.
        Raises NotFound or StoreCorrupt where there is no such generation to read, and StoreError as
        `propose`.
        """
        with self._change():
            then = self._reverting.generation(number)
            return self._changes.handle(
                Source.CUSTOMER,
                via,
                lambda case: self._reverting.activate(case, then),
                cause=Cause.ACTIVATION,
            )

    def remove(self, key: Key, *, via: str) -> Receipt:
        """Take a slot (its source and id) away: its names go to the next source, at last our own.

        Its bundle stays as long as kept generations name it, so that `roll_back` can bring it back. Refused
        for the device's own, for a sealed slot, and where nothing could be served without it. Raises
        NotFound, and StoreError as `propose`.
        """
        with self._change():
            slot = self._succession.view.slots.get(key)
            if slot is None:
                raise NotFound("slot", f"{key[0]}/{key[1]}")
            return self._changes.handle(
                key[0], via, lambda case: self._reverting.remove(case, slot), cause=Cause.REMOVAL
            )

    def restore(self, backup: Backup, *, via: str, identity: bool = False) -> Receipt:
        """Have what customer and ACME had in a backup instead of what they have; `identity`: all sources.

        One change, confirmed. Refused where the backup has nothing of that (`backup_empty`) or a slot here is
        sealed. Raises StoreError as `propose`.
        """
        with self._change():
            return self._changes.handle(
                Source.CUSTOMER,
                via,
                lambda case: self._restoring.restore(case, backup, identity=identity),
                cause=Cause.RESTORE,
            )

    def confirm(self, receipt_id: str, *, via: str) -> Receipt:
        """Keep a live change for good; gives its receipt, also where it was confirmed before.

        Raises NotFound, Refusal (`not_in_probation`) where it has gone back or something else took its place,
        and StoreError where that can't be written: then it is in probation still.
        """
        with self._change():
            return self._confirming.confirm(receipt_id, via)

    def end_probation(self) -> tuple[Receipt, ...]:
        """Let go back what nobody confirmed in time; gives the receipts that ended so.

        Costs nothing while nothing is over. Goes back in memory where the disk takes no writes. Raises what
        the publisher raises; then all is as it was.
        """
        with self._changing:
            return self._confirming.end(self._boot_clock(), self._barred)

    def refused(self, source: Source, via: str, findings: tuple[Finding, ...]) -> Receipt:
        """Write down a refusal that was decided outside: of what never became a candidate."""
        assert any(finding.is_error for finding in findings), "a refusal without an error"
        with self._change():
            return self._ledger.open_refused(source, via, self._clock(), findings)

    def refresh(self) -> Generation | None:
        """Compute the rows anew, because time went by; gives the new generation if they changed.

        Does nothing while the clock can't be right. Raises StoreError, or Refusal when the publisher can't
        prepare it; what was served is served on then, and the next call tries again.
        """
        with self._changing:
            slots = self._succession.view.slots
            if self.active is None or self._barred is not None or not self.clock_plausible():
                return None
            generation = self._succession.compute(slots, Cause.EXPIRY)
            if not self._succession.is_news(generation):
                return None
            self._succession.put_into_effect(generation, slots)
            return generation

    def set_aside(self, ids: Iterable[str]) -> Generation:
        """Do without exactly these bundles until the next start: they can be loaded, but not served.

        A slot that names one counts with its last confirmed bundle, then down the sources. Gives what is
        served then, in memory where the disk takes no writes. Raises what the publisher raises.
        """
        with self._changing:
            succession = self._succession
            succession.aside = frozenset(ids)
            if not succession.fall(self._barred):
                succession.republish()
            assert succession.view.active is not None, "there was nothing to publish"
            return succession.view.active

    def prove(self, at_most: int, doubted: Iterable[str] = ()) -> tuple[Finding, ...]:
        """Read up to so many bundles that the start took on trust (meta.py says why), and the `doubted` ones.

        A slot whose bundle turns out to be damaged falls, and is told. Does nothing when all are proved.
        Raises StoreError, and what the publisher raises.
        """
        wrong = {id_ for id_ in (*doubted, *self._shelf.unproved()[:at_most]) if self._shelf.prove(id_)}
        with self._changing:
            if self._barred is None:
                self._shelf.mend(at_most)
            if not wrong:
                return ()
            lost = wrong - self._shelf.facts(wrong).keys()
            self._succession.fall(self._barred)
            return tuple(told_of("slot_fallen", slot) for slot in self.slots() if slot.bundle in lost)

    def remember(self, path: Path | str, digest: str, receipt_id: str) -> None:
        """Remember that this content at this path got this receipt, so that a rescan passes it by."""
        with self._change():
            self._handled.remember(str(path), digest, receipt_id)

    def prune(self, keep: int = 20, in_use: frozenset[int] = frozenset()) -> None:
        """Remove what nobody needs: all but the active generation, those `in_use` (numbers) and `keep` more.

        Bundles that no slot and no kept generation names go with their keys; old receipts and what was
        handled long ago go beyond a bound. Writes nothing when there is nothing to remove.
        """
        with self._changing:
            if self._barred is None:
                view, last = self._succession.view, self._pruned
                if last is None or last.view is not view or (last.keep, last.in_use) != (keep, in_use):
                    slots = tuple(view.slots.values())
                    kept = prune(self._archive, self._shelf, view.active, slots, keep=keep, in_use=in_use)
                    self._pruned = last = _Pruned(view, keep, in_use, kept)
                self._changes.catch_up()
                self._ledger.prune(last.receipts)
                self._handled.prune()
                self.requests.tidy()

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Be the only one who changes anything. Raises why nothing may be written here."""
        with self._changing:
            if self._barred is not None:
                raise self._barred
            yield
            self.requests.settle()


def _raiser(error: StoreError) -> Callable[[str, Path], None]:
    def refuse(step: str, path: Path) -> NoReturn:  # noqa: ARG001  the shape of Disk's seam
        raise error

    return refuse
