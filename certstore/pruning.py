"""What may go: old generations, and the bundles that only they named.

Generations go first, then the bundles: stopped in between, a start finds bundles that nothing names and
removes them. Wants the store's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from certstore.archive import Archive
from certstore.generation import Generation
from certstore.shelf import Shelf
from certstore.slots import Slot, bundles_named
from certstore.succession import View

__all__ = ["Pruning", "generations_kept", "prune"]


@dataclass(frozen=True, slots=True)
class _Pruned:
    """What was pruned last, and which receipts that left: the same again would find nothing to remove."""

    view: View
    keep: int
    in_use: frozenset[int]
    receipts: frozenset[str]


class Pruning:
    """Prunes one store, and remembers what it has done."""

    def __init__(self, archive: Archive, shelf: Shelf) -> None:
        """Take the rooms that grow."""
        self._archive, self._shelf = archive, shelf
        self._last: _Pruned | None = None

    def run(self, view: View, keep: int, in_use: frozenset[int]) -> frozenset[str]:
        """Remove what may go beside `view`; gives the receipts that must stay. As `prune`."""
        last = self._last
        if last is None or last.view is not view or (last.keep, last.in_use) != (keep, in_use):
            slots = tuple(view.slots.values())
            kept = prune(self._archive, self._shelf, view.active, slots, keep=keep, in_use=in_use)
            self._last = last = _Pruned(view, keep, in_use, kept)
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
