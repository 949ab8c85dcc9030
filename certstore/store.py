"""The store: what a device serves, and everything that ever changes it.

Promises: `propose` is the only way in, and whatever is wrong with a candidate leaves what is served as it
was, with a receipt that says so. Changes come one after another; each is whole on disk before it is served.
Refuses to know TLS, sockets, the time and what is in a file: publisher, clock and examiner are handed in.

Threads: what a store shows (showing.py) never waits, from any thread. Everything that changes something
blocks on the disk and on the changes before it: call it in a worker thread, and never from within a publisher
or an examiner.
"""

from __future__ import annotations

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
from certstore.bundle import Bundle
from certstore.changing import Changing
from certstore.decode import Candidate
from certstore.errors import StoreError, StoreNotWritable
from certstore.examination import Examiner
from certstore.findings import Finding, found
from certstore.gates import NullPublisher, Publisher
from certstore.generation import Cause, Generation
from certstore.ledger import Handled, Ledger
from certstore.lock import Lock
from certstore.premises import enter, furnish
from certstore.proposing import Proposing
from certstore.pruning import prune
from certstore.reading import read_bundle, read_generation
from certstore.receipts import Receipt
from certstore.recovery import Recovery, told_of
from certstore.shelf import Shelf
from certstore.showing import Clock, Shown
from certstore.slots import Source
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
        self._changes = Changing(self._ledger, self._activation, self._succession, clock)
        self._proposing = Proposing(self._changes, self._succession, self._shelf, clock, self.clock_plausible)
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
            return self._changes.handle(
                source, via, lambda case: self._proposing.propose(case, candidate, examiner)
            )

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

    def _require_writable(self) -> None:
        if self._barred is not None:
            raise self._barred


def _raiser(error: StoreError) -> Callable[[str, Path], None]:
    def refuse(step: str, path: Path) -> NoReturn:  # noqa: ARG001  the shape of Disk's seam
        raise error

    return refuse
