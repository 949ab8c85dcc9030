"""Departure: what leaves with a change, and what that means for its key and its connections. Pure.

Theory. "The key that is compromised" is said of a change, not of a key, so which one is meant must be plain
from what happens: of the source that the change belongs to, what its slots name no more, and what it served
until now and doesn't any more. The second matters where a certificate for more names takes the place of one
for fewer: that one's slot stays, and only its rows go. Other sources are left alone: the device's own
certificate gives way to the first one of a customer, and is none the worse for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from certstore.slots import Slot, Source

__all__ = ["Departure", "bundles_leaving"]


@dataclass(frozen=True, slots=True)
class Departure:
    """The bundles that leave, whose connections end; and the keys (SPKI hashes) that are banned with them."""

    bundles: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


def bundles_leaving(
    source: Source,
    moves: Iterable[tuple[Slot | None, Slot | None]],
    slots: Iterable[Slot],
    served: tuple[Collection[str], Collection[str]],
) -> frozenset[str]:
    """Give the bundles that a change of `source` takes away.

    moves: its slots as they were and will be; slots: all as they were; served: before it, and after it.
    """
    before, after = served
    given_up = {
        id_
        for was, is_now in moves
        if was is not None and was.source is source
        for id_ in was.ways
        if is_now is None or id_ not in is_now.bundles
    }
    ousted = {id_ for slot in slots if slot.source is source for id_ in slot.bundles if id_ in before}
    return frozenset((given_up | ousted) - set(after))
