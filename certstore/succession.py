"""Succession: from one generation to the next, in memory and on disk.

Promises: readers see the old state or the new one, whole; a number that a publisher has seen is never used
for anything else. Decides nothing itself: `generation.compute` does. Everything here but `view` wants the
lock of whoever changes the store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from certstore.activation import Activation, Change
from certstore.archive import Archive
from certstore.bundle import Bundle
from certstore.errors import StoreError
from certstore.gates import Publisher
from certstore.generation import BundleFacts, Cause, Generation, compute
from certstore.receipts import Receipt
from certstore.shelf import Shelf
from certstore.slots import Key, Slot, bundles_named, in_order

__all__ = ["Succession", "View"]


@dataclass(frozen=True, slots=True)
class View:
    """What readers see: swapped whole, by one assignment."""

    active: Generation | None
    slots: Mapping[Key, Slot]

    @classmethod
    def of(cls, active: Generation | None, slots: Mapping[Key, Slot]) -> View:
        """Take a copy that nobody can change."""
        return cls(active, MappingProxyType(dict(slots)))


class Succession:
    """The line of generations of one store. `view` is assigned by the store at its start."""

    def __init__(
        self,
        activation: Activation,
        archive: Archive,
        shelf: Shelf,
        publisher: Publisher,
        clock: Callable[[], datetime],
        clock_plausible: Callable[[], bool],
    ) -> None:
        """Take the store's rooms, who is told, and the time."""
        self._activation = activation
        self._archive = archive
        self._shelf = shelf
        self._publisher = publisher
        self._clock, self._clock_plausible = clock, clock_plausible
        self.view = View.of(None, {})
        self.next_number = 1
        self.aside: frozenset[str] = frozenset()
        """Bundles that can be loaded, but that nobody can serve."""
        self.owed: Change | None = None
        """What has changed in memory only, because the disk takes no writes; the next change writes it."""

    def compute(
        self,
        slots: Mapping[Key, Slot],
        cause: Cause,
        receipt: Receipt | None = None,
        fresh: tuple[Bundle, ...] = (),
        banned: Collection[str] = (),
    ) -> Generation:
        """Compute the next generation; `fresh` are bundles that may not be on the shelf yet.

        banned: keys (SPKI hashes) that are about to be banned, beside those that are.
        """
        now = self._clock()
        named = bundles_named(slots.values()) - self.aside
        if banned:
            named = frozenset(id_ for id_ in named if self._shelf.spki(id_) not in banned)
        facts = self._shelf.facts(named)
        barred = {*self._shelf.bans.table, *banned}
        new = (bundle for bundle in fresh if bundle.spki not in barred)
        facts |= {bundle.id: self._shelf.marked(bundle.id, BundleFacts.of(bundle)) for bundle in new}
        served = compute(slots.values(), facts, now, self._clock_plausible())
        by, number = receipt.id if receipt is not None else None, self.next_number
        trust = self.view.active.trust if self.view.active is not None else ()
        recorded = in_order(slots.values())
        return Generation(number, served.rows, served.default, recorded, cause, by, now, trust, served.beside)

    def is_news(self, generation: Generation) -> bool:
        """Whether anybody would be served something else by it than now."""
        active = self.view.active
        return active is None or generation.served != active.served

    def put_into_effect(
        self, generation: Generation, slots: Mapping[Key, Slot], change: Change | None = None
    ) -> None:
        """Write, prepare, activate and commit. Raises StoreError, Refusal, or what the publisher raises."""
        self.next_number += 1  # a number that a publisher has seen is never used for anything else
        view = View.of(generation, slots)
        try:
            self._activation.run(generation, self._publisher, _both(self.owed, change))
        except BaseException:
            if self._archive.is_active(generation.number):  # interrupted just behind the point of no return
                self.view, self.owed = view, None
            raise
        self.view, self.owed = view, None
        self._publisher.commit(generation)

    def end(self, bundles: Collection[str], why: str) -> None:
        """End what was begun with those of these bundles that nobody is served now."""
        active = self.view.active
        gone = frozenset(bundles) - (active.bundles() if active is not None else frozenset())
        if gone:
            self._publisher.end(gone, why)

    def republish(self) -> None:
        """Have what is active prepared and committed once more, or for the first time."""
        assert self.view.active is not None, "there is nothing to publish"
        self._publisher.prepare(self.view.active)
        self._publisher.commit(self.view.active)

    def fall(self, barred: StoreError | None) -> bool:
        """Serve what can still be served; in memory where the disk takes no writes, or is `barred`.

        False where that is what was served before. Raises what the publisher raises.
        """
        slots = self.view.slots
        generation = self.compute(slots, Cause.RECOVERY)
        if not self.is_news(generation):
            return False
        self.put_at_least_in_memory(generation, slots, None, barred)
        return True

    def put_at_least_in_memory(
        self,
        generation: Generation,
        slots: Mapping[Key, Slot],
        change: Change | None,
        barred: StoreError | None,
    ) -> bool:
        """Put a generation into effect; False where the disk takes no writes, or is `barred`: in memory then.

        Raises what the publisher raises.
        """
        try:
            if barred is not None:
                raise barred
            self.put_into_effect(generation, slots, change)
        except StoreError:
            self.next_number = generation.number + 1
            self._publisher.prepare(generation)
            self.view, self.owed = View.of(generation, slots), _both(self.owed, change)
            self._publisher.commit(generation)
            return False
        return True


def _both(owed: Change | None, change: Change | None) -> Change | None:
    """Give both changes as one, the owed first."""
    if owed is None or change is None:
        return owed or change
    return replace(change, moves=(*owed.moves, *change.moves))
