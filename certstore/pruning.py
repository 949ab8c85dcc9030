"""What may go: old generations, and the bundles that only they named.

Generations go first, then the bundles: stopped in between, a start finds bundles that nothing names and
removes them. Wants the store's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from certstore.archive import Archive
from certstore.generation import Generation
from certstore.shelf import Shelf
from certstore.slots import Key, Slot, bundles_named

__all__ = ["Pruning", "generations_kept", "prune"]


@dataclass(frozen=True, slots=True)
class _Pruned:
    """What was pruned last, and which receipts that left: the same again would find nothing to remove."""

    active: Generation | None
    slots: Mapping[Key, Slot]
    keep: int
    in_use: frozenset[int]
    receipts: frozenset[str]


class Pruning:
    """Prunes, and remembers of what: a store that nobody changes is not read for it again and again."""

    def __init__(self, archive: Archive, shelf: Shelf) -> None:
        """Take the rooms of what may go."""
        self._archive, self._shelf = archive, shelf
        self._last: _Pruned | None = None

    def run(
        self, active: Generation | None, slots: Mapping[Key, Slot], *, keep: int, in_use: frozenset[int]
    ) -> frozenset[str]:
        """Prune as `prune` does, and give what that gives; as of the last time for the very same objects."""
        last = self._last
        same = last is not None and last.active is active and last.slots is slots
        if last is None or not same or (last.keep, last.in_use) != (keep, in_use):
            kept = prune(self._archive, self._shelf, active, slots.values(), keep=keep, in_use=in_use)
            self._last = last = _Pruned(active, slots, keep, in_use, kept)
        return last.receipts


def generations_kept(
    numbers: Iterable[int], active: int, keep: int, in_use: Collection[int]
) -> frozenset[int]:
    """Decide which generations stay: the active one, those in use, and the `keep` newest before it."""
    older = sorted(number for number in numbers if number < active and number not in in_use)
    newest = older[-keep:] if keep > 0 else []
    return frozenset({active, *newest, *in_use})


def prune(
    archive: Archive,
    shelf: Shelf,
    active: Generation | None,
    slots: Iterable[Slot],
    *,
    keep: int,
    in_use: Collection[int],
) -> frozenset[str]:
    """Remove generations and bundles beyond what is kept; gives the receipts that the kept ones name."""
    numbers = archive.numbers()
    # what a start had to compute in memory, for want of a disk, is not what the active file names
    pointed = archive.pointed_at()
    in_use = {*in_use, *([pointed] if pointed is not None else [])}
    kept = generations_kept(numbers, active.number if active is not None else 0, keep, in_use)
    archive.remove(number for number in numbers if number not in kept)
    slots = tuple(slots)
    bundles = set(bundles_named(slots))
    receipts = {slot.receipt for slot in slots}
    for number in kept.intersection(numbers):
        mentions = archive.mentions(number)
        bundles |= mentions.bundles
        receipts |= mentions.receipts
    shelf.remove(shelf.ids() - bundles)
    return frozenset(receipts)
