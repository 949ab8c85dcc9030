"""Which trust sets were in force, where the generation that said so can't be read.

Promises: no set comes back that was replaced or taken away since: a revoked client must not get in because a
file was damaged. What can't be told for sure lets nobody in, and is named. Pure.

Theory. An older generation names what was in force in its time. Each change since has a receipt of its own,
which is on disk before the change, and behind it says which set it was about and what that has held from then
on. So the older generation and the receipts behind it give what was in force last. A receipt that never came
to its end leaves two answers, and so does one of a version that didn't note the set; both count as none. So
does all, where a receipt itself is damaged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from certstore.generation import Cause, Generation, Trusted
from certstore.receipts import Receipt, State

__all__ = ["Recalled", "recall_trust"]


class Recalled(NamedTuple):
    """The sets that were in force for sure, by name; and the names of those of which that can't be told."""

    sure: tuple[Trusted, ...]
    unsure: tuple[str, ...]


def recall_trust(base: Generation | None, receipts: Iterable[Receipt], *, is_whole: bool) -> Recalled:
    """Go on from the newest generation that can be read by the receipts behind it, oldest first.

    is_whole: whether every receipt could be read.
    """
    known = {one.name: one for one in base.trust} if base is not None else {}
    unsure: set[str] = set()
    for receipt in receipts:
        if not _is_behind(receipt, base):
            continue
        about = receipt.trust
        if about is None:  # a reset of some kind, or a receipt of an older version
            unsure |= known.keys()
            known.clear()
            continue
        known.pop(about.name, None)
        unsure.discard(about.name)
        if receipt.live_at is None:
            unsure.add(about.name)
        elif about.id:
            known[about.name] = about
    if not is_whole:
        unsure |= known.keys()
        known.clear()
    return Recalled(tuple(known[name] for name in sorted(known)), tuple(sorted(unsure)))


def _is_behind(receipt: Receipt, base: Generation | None) -> bool:
    """Whether it may have changed a set after that generation."""
    if receipt.cause not in {Cause.TRUST, Cause.RESET} or receipt.state is State.REFUSED:
        return False
    is_later = base is None or receipt.generation is None or receipt.generation > base.number
    return receipt.live_at is None or is_later
