"""What a store does as time goes by, unasked: what is over, expired, damaged, or needed no more.

The half of `Store` that a caretaker calls again and again; it changes something only where there is a reason.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from certstore import layout
from certstore.atomic import Disk
from certstore.changing import Changing
from certstore.errors import StoreError, StoreGone
from certstore.findings import Finding
from certstore.generation import Cause, Generation
from certstore.issuers.acme.folders import names_in
from certstore.lock import Lock
from certstore.pruning import Pruning
from certstore.receipts import Receipt
from certstore.resetting import Resetting
from certstore.showing import Shown
from certstore.slots import told_of

__all__ = ["Kept"]


class Kept(Shown):
    """A store that is looked after; `Store` is the whole."""

    _changing: threading.Lock
    _barred: StoreError | None
    _lock: Lock
    _disk: Disk
    _changes: Changing
    _resetting: Resetting
    _pruning: Pruning

    @property
    def is_here(self) -> bool:
        """Whether the folder at the store's path is still the one that is held.

        Where it isn't, nothing is changed, nor believed damaged: what is served is served on from memory.
        """
        return self._lock.is_at(self._root / layout.LOCK)

    def _why_barred(self) -> StoreError | None:
        """Give the reason why nothing may be written here now, if there is one."""
        if self._barred is not None or self.is_here:
            return self._barred
        return StoreGone(self._root)

    def end_probation(self) -> tuple[Receipt, ...]:
        """Let go back what nobody confirmed in time; gives the receipts that ended so.

        Costs nothing while nothing is over. Goes back in memory where the disk takes no writes. Raises what
        the publisher raises; then all is as it was.
        """
        with self._changing:
            return self._confirming.end(self._boot_clock(), self._why_barred())

    def refresh(self) -> Generation | None:
        """Compute the rows anew, because time went by; gives the new generation if they changed.

        Does nothing while the clock can't be right. Raises StoreError, or Refusal when the publisher can't
        prepare it; what was served is served on then, and the next call tries again.
        """
        with self._changing:
            slots = self._succession.view.slots
            if self.active is None or self._why_barred() is not None or not self.clock_plausible():
                return None
            generation = self._succession.compute(slots, Cause.EXPIRY)
            if not self._succession.is_news(generation):
                return None
            self._succession.put_into_effect(generation, slots)
            return generation

    @property
    def revoked(self) -> frozenset[str]:
        """The bundles that are known to be revoked by their authority."""
        return self._shelf.revoked.table

    @property
    def owes_revoked(self) -> bool:
        """Whether `revoked` is known in memory only, so that it is to be noted again."""
        return self._shelf.revoked.is_owed

    def note_revoked(self, bundles: Iterable[str]) -> Generation | None:
        """Know that exactly these bundles are revoked; gives the new generation if that moved rows.

        A row moves to a valid bundle of another real source, as from an expired one, and back when it is
        revoked no more. In memory where the disk takes no writes. Raises what the publisher raises; the rows
        are then as they were, and the next `refresh` tries again.
        """
        with self._changing:
            barred, succession = self._why_barred(), self._succession
            try:
                if barred is not None:
                    raise barred
                self._shelf.revoked.have(bundles)
            except StoreError as error:
                barred = error
                self._shelf.revoked.know(bundles)
            if self.active is None:
                return None
            generation = succession.compute(succession.view.slots, Cause.REVOCATION)
            if not succession.is_news(generation):
                return None
            succession.put_at_least_in_memory(generation, succession.view.slots, None, barred)
            return generation

    def set_aside(self, ids: Iterable[str]) -> Generation:
        """Do without exactly these bundles until the next start: they can be loaded, but not served.

        A slot that names one counts with its last confirmed bundle, then down the sources. Gives what is
        served then, in memory where the disk takes no writes. Raises what the publisher raises.
        """
        with self._changing:
            succession = self._succession
            succession.aside = frozenset(ids)
            if not succession.fall(self._why_barred()):
                succession.republish()
            assert succession.view.active is not None, "there was nothing to publish"
            return succession.view.active

    def prove(self, at_most: int, doubted: Iterable[str] = ()) -> tuple[Finding, ...]:
        """Read up to so many bundles that the start took on trust (meta.py says why), and the `doubted` ones.

        A slot whose bundle turns out to be damaged falls, and is told. Does nothing when all are proved.
        Nor while the folder is gone. Raises StoreError, and what the publisher raises.
        """
        if not self.is_here:
            return ()
        wrong = {id_ for id_ in (*doubted, *self._shelf.unproved()[:at_most]) if self._shelf.prove(id_)}
        with self._changing:
            if self._why_barred() is None:
                self._shelf.mend(at_most)
            if not wrong:
                return ()
            lost = wrong - self._shelf.facts(wrong).keys()
            self._succession.fall(self._why_barred())
            hit = [slot for slot in self.slots() if not lost.isdisjoint(slot.bundles)]
            return tuple(told_of("slot_fallen", slot) for slot in hit)

    def forget_enrolment(self) -> bool:
        """Remove the accounts at ACME authorities, and what is wanted of them, where they are another unit's.

        Says whether there was one. Certificates that came stay. What is wanted goes first: a crash within
        leaves nobody who would ask with a key that is half gone. Raises StoreError.
        """
        with self._changing:
            if (barred := self._why_barred()) is not None:
                raise barred
            had = bool(names_in(self._root / layout.ACCOUNTS))
            self._disk.remove([self._root / layout.ENROLMENT, self._root / layout.RENEWAL])
            self._disk.empty(self._root / layout.ORDERS)
            self._disk.empty(self._root / layout.ACCOUNTS)
            return had

    def prune(self, keep: int = 20, in_use: frozenset[int] = frozenset()) -> None:
        """Remove what nobody needs: all but the active generation, those `in_use` (numbers) and `keep` more.

        Bundles that no slot and no kept generation names go with their keys; old receipts and what was
        handled long ago go beyond a bound. Writes nothing when there is nothing to remove.
        """
        with self._changing:
            if self._why_barred() is None:
                self._resetting.finish()
                view = self._succession.view
                named = self._pruning.run(view.active, view.slots, keep=keep, in_use=in_use)
                self._changes.catch_up()
                self._ledger.prune(named)
                self._handled.prune()
                self.requests.tidy()
