"""The store: what a device serves, and everything that ever changes it.

Promises: `propose` is the only way in, and whatever is wrong with a candidate leaves what is served as it
was, with a receipt that says so. Changes come one after another; each is whole on disk before it is served.
Refuses to know TLS, sockets, the time and what is in a file: publisher, clock and examiner are handed in.

Threads: reading (`active`, `bundle`, `slots`, receipts, `handled`) never waits, from any thread. Everything
that changes something blocks on the disk and on the changes before it: call it in a worker thread, and
never from within a publisher or an examiner.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from certstore import firstboot, layout
from certstore.activation import Activation, Change
from certstore.archive import Archive
from certstore.atomic import Disk
from certstore.bundle import Bundle, PrivateKey
from certstore.decode import Candidate
from certstore.errors import Refusal, StoreError, StoreNotWritable
from certstore.examination import Examiner
from certstore.findings import Finding, found
from certstore.gates import NullPublisher, Publisher
from certstore.generation import Cause, Generation
from certstore.ledger import Handled, Ledger
from certstore.lock import Lock
from certstore.meta import Meta
from certstore.premises import enter, furnish
from certstore.pruning import prune
from certstore.reading import read_bundle, read_generation
from certstore.receipts import Receipt, State
from certstore.recovery import Recovery, told_of
from certstore.shelf import Shelf
from certstore.slots import Slot, Source, in_order, slot_id, without_former_selves
from certstore.succession import Succession, View

__all__ = [
    "Clock",
    "NullPublisher",
    "Publisher",
    "Store",
    "read_bundle",
    "read_generation",
]

Clock = Callable[[], datetime]  # aware; the wall clock, right or wrong


@dataclass(frozen=True, slots=True)
class _Pruned:
    """What was pruned last, and which receipts that left: the same again would find nothing to remove."""

    view: View
    keep: int
    in_use: frozenset[int]
    receipts: frozenset[str]


class Store:
    """A store that is held: locked for everybody else until `close`. Made by `open`."""

    def __init__(self, root: Path, lock: Lock, disk: Disk, clock: Clock, publisher: Publisher) -> None:
        """Use `open`."""
        self._root = root
        self._lock = lock
        self._clock = clock
        self._shelf = Shelf(root, disk)
        self._archive = Archive(root, disk)
        self._ledger = Ledger(root, disk)
        self._handled = Handled(root, disk)
        self._activation = Activation(root, disk, self._shelf, self._archive)
        self._succession = Succession(
            self._activation, self._archive, self._shelf, publisher, clock, self.clock_plausible
        )
        self._changing = threading.Lock()
        self._barred: StoreError | None = None
        self._pruned: _Pruned | None = None
        recovered = Recovery(root, disk, self._shelf, self._archive, self._ledger).run(
            clock(), self.clock_plausible
        )
        self._handled.load()
        self._succession.view = View.of(recovered.active, recovered.slots)
        self._succession.next_number = recovered.next_number
        self.recovered = recovered.findings

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        clock: Clock,
        publisher: Publisher | None = None,
        lock_wait_s: float = 0.0,
        disk: Disk | None = None,
        held: int | None = None,
    ) -> Store:
        """Open the store in the folder `path`, made (0700) if absent, and put right what the last run left.

        held: the descriptor of the store's lock, where this process has it already (`at_rest`).
        What had to be put right stands in `recovered`. The publisher is not called: read `active` first.
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
            store = cls(root, lock, disk, clock, publisher or NullPublisher())
            if barred is not None:
                store._barred = barred
                told = found("store_read_only", why=barred)
                store.recovered = tuple(dict.fromkeys((*store.recovered, told)))
        except BaseException:
            lock.release()
            raise
        return store

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

    # --- reading: never waits ---

    @property
    def path(self) -> Path:
        """The store's folder, absolute."""
        return self._root

    @property
    def active(self) -> Generation | None:
        """The generation that is served; None until something was ever activated."""
        return self._succession.view.active

    def slots(self) -> tuple[Slot, ...]:
        """Give all slots, the highest source first."""
        return in_order(self._succession.view.slots.values())

    def bundle(self, id: str) -> Bundle:  # noqa: A002  it is the bundle's id
        """Give a bundle. Raises NotFound, StoreCorrupt when its files are damaged, or StoreExhausted."""
        return self._shelf.bundle(id)

    def meta(self, id: str) -> Meta:  # noqa: A002  it is the bundle's id
        """Tell what is known of a bundle, from memory where anything is. Raises as `bundle`."""
        return self._shelf.meta(id)

    def known_key(self, spki: str) -> PrivateKey | None:
        """Give the private key with this SPKI hash, where a bundle here holds it."""
        return self._shelf.key(spki)

    def receipt(self, id: str) -> Receipt:  # noqa: A002  it is the receipt's id
        """Give a receipt. Raises NotFound."""
        return self._ledger.receipt(id)

    def receipts(self, limit: int = 50) -> tuple[Receipt, ...]:
        """Give at most `limit` receipts, the newest first."""
        return self._ledger.newest(limit)

    def handled(self, path: Path | str, digest: str) -> str | None:
        """Give the id of the receipt that this content at this path got before, if it did."""
        return self._handled.receipt(str(path), digest)

    def clock_plausible(self) -> bool:
        """Whether the clock can be right: not before the build date, nor behind the last receipts."""
        return firstboot.clock_plausible(self._clock(), firstboot.BUILD_DATE, self._ledger.newest_seen())

    # --- changing: one after another ---

    def propose(
        self, candidate: Candidate | Bundle, *, source: Source, via: str, examiner: Examiner
    ) -> Receipt:
        """Examine, store and activate a candidate; gives its receipt, confirmed or refused.

        Never raises for what is wrong with the candidate or with its publishing. Raises StoreError when the
        disk fails before the new generation is active: what was served is served on, and the candidate may
        be proposed again. When the disk fails after that, the receipt is live and says so (`not_recorded`).
        """
        with self._changing:
            self._require_writable()
            receipt = self._ledger.open(source, via, self._clock())
            told: list[Finding] = []
            try:
                with examiner.examine(candidate, self.known_key) as examination:
                    bundle = examination.bundle
                    told += examination.findings
                    receipt = replace(receipt, bundle=bundle.id)
                    slot = self._succession.view.slots.get((source, slot_id(bundle.names)))
                    if slot is not None and self._is_live(slot, bundle):
                        return self._already_live(receipt, slot, told)
                    if slot is not None and slot.sealed:
                        raise Refusal(found("slot_sealed", source=source))  # noqa: TRY301  all refusals end below
                    told += examination.judge(self._clock(), self.clock_plausible())
                return self._activate(receipt.with_findings(tuple(told)), bundle, slot)
            except Refusal as refusal:
                refused = receipt.with_findings((*told, *refusal.findings))
                return self._record(refused.advance(State.REFUSED, self._clock()))
            except StoreError as error:
                self._abandon(receipt, found("disk_failed", why=error))
                raise
            except BaseException:
                self._abandon(receipt, found("interrupted"))
                raise

    def refused(self, source: Source, via: str, findings: tuple[Finding, ...]) -> Receipt:
        """Write down a refusal that was decided outside: of what never became a candidate."""
        assert any(finding.is_error for finding in findings), "a refusal without an error"
        with self._changing:
            self._require_writable()
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
        with self._changing:
            self._require_writable()
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
                self._ledger.prune(last.receipts)
                self._handled.prune()

    # --- the steps of a proposal ---

    def _require_writable(self) -> None:
        if self._barred is not None:
            raise self._barred

    def _is_live(self, slot: Slot, bundle: Bundle) -> bool:
        aside = self._succession.aside
        return slot.bundle == bundle.id and bundle.id not in aside and self._shelf.is_whole(bundle.id)

    def _already_live(self, receipt: Receipt, slot: Slot, told: Sequence[Finding]) -> Receipt:
        active = self.active
        number = active.number if active is not None else slot.since
        noted = receipt.with_findings((*told, found("already_live")))
        now = self._clock()
        return self._record(noted.advance(State.LIVE, now, number).advance(State.CONFIRMED, now))

    def _activate(self, receipt: Receipt, bundle: Bundle, before: Slot | None) -> Receipt:
        succession = self._succession
        number, held = succession.next_number, succession.view.slots
        slot = Slot(
            source=receipt.source,
            names=bundle.names,
            bundle=bundle.id,
            last_confirmed=before.last_confirmed if before is not None else None,
            via=receipt.via,
            sealed=False,
            receipt=receipt.id,
            stored_at=self._clock(),
            since=number,
        )
        slots = without_former_selves({**held, slot.key: slot}, slot)
        generation = succession.compute(slots, Cause.PROPOSAL, receipt, bundle)
        former = [old for key, old in held.items() if key not in slots]
        succession.put_into_effect(generation, slots, Change(bundle, slot, before))
        succession.aside -= {bundle.id}
        return self._confirm(receipt.advance(State.LIVE, self._clock(), generation.number), slot, former)

    def _confirm(self, live: Receipt, slot: Slot, former: list[Slot]) -> Receipt:
        """Write down that the change is live and confirmed; there is no probation yet."""
        try:
            confirmed = replace(slot, last_confirmed=slot.bundle)
            self._activation.write_slot(confirmed)
            view = self._succession.view
            self._succession.view = View.of(view.active, {**view.slots, confirmed.key: confirmed})
            for old in former:
                self._activation.remove_slot(old)
            return self._record(live.advance(State.CONFIRMED, self._clock()))
        except (
            StoreError
        ) as error:  # it is served and will be after a restart, which also settles the receipt
            told = live.with_findings((found("not_recorded", why=error),))
            self._ledger.keep(told)
            return told

    def _record(self, receipt: Receipt) -> Receipt:
        self._ledger.record(receipt)
        return receipt

    def _abandon(self, receipt: Receipt, finding: Finding) -> None:
        """Refuse what we failed to carry out, on disk too if that still takes writes.

        Behind the point of no return it is served, so not refused: the next start settles it.
        """
        if self.active is not None and self.active.receipt == receipt.id:
            return
        with suppress(StoreError):
            self._record(receipt.with_findings((finding,)).advance(State.REFUSED, self._clock()))


def _raiser(error: StoreError) -> Callable[[str, Path], None]:
    def refuse(step: str, path: Path) -> NoReturn:  # noqa: ARG001  the shape of Disk's seam
        raise error

    return refuse
