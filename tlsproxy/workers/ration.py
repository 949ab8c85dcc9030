"""How often things of one kind are told to the log. Pure: it counts, and is handed the time.

Promises: the first few of a kind are told, then no more until a while has passed since the first; those left
out are counted, and the count goes with the next that is told. Refuses to know what is told. A count that
nothing follows is never told. Kinds are remembered for ever: there must not be many.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["Ration"]


@dataclass(slots=True)
class _Share:
    until: float
    told: int = 1
    left_out: int = 0


class Ration:
    """At most `most` of each kind in `seconds`."""

    __slots__ = ("_most", "_seconds", "_shares")

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._shares: dict[Hashable, _Share] = {}

    def admit(self, kind: Hashable, now: float) -> int | None:
        """Say whether one more is told (None: no), and how many were left out since the last was."""
        share = self._shares.get(kind)
        if share is None or now >= share.until:
            self._shares[kind] = _Share(now + self._seconds)
            return 0 if share is None else share.left_out
        if share.told < self._most:
            share.told += 1
            return 0
        share.left_out += 1
        return None
