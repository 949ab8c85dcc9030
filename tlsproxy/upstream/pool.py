"""The idle connections of one upstream, as a decision: whom to lend, whom to keep, whom to close.

Promises: what is given back is lent once, or handed out once to be closed, never both and never twice;
never more than `max_idle` are kept. Last in, first out: the warmest connection is the least likely to be
stale, and the ones that a peak left behind grow old and go. Refuses to know what its items are, and the
time: both are passed in. Closing is the caller's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class PoolCounts:
    """What became of everything so far; `lent + evicted + expired + idle` is what was ever given back."""

    lent: int = 0
    missed: int = 0
    evicted: int = 0
    expired: int = 0


class Pool(Generic[T]):
    """Idle items with the time since when; times are float seconds on any one clock, and never go back."""

    __slots__ = ("_idle", "counts", "idle_s", "max_idle")

    def __init__(self, max_idle: int, idle_s: float) -> None:
        self._idle: deque[tuple[float, T]] = deque()
        self.max_idle = max_idle
        self.idle_s = idle_s
        self.counts = PoolCounts()

    def __len__(self) -> int:
        return len(self._idle)

    @property
    def next_expiry(self) -> float:
        """When the oldest idle item becomes too old; infinity where there is none."""
        return self._idle[0][0] + self.idle_s if self._idle else float("inf")

    def take(self, now: float, younger_than: float | None = None) -> T | None:
        """Lend the item given back last; None where there is none, or it is too old.

        Too old: idle for `idle_s`, or for `younger_than` where given. Such an item stays for `expire`, and
        all below it are older still.
        """
        limit = self.idle_s if younger_than is None else min(younger_than, self.idle_s)
        if self._idle and now - self._idle[-1][0] < limit:
            self.counts.lent += 1
            return self._idle.pop()[1]
        self.counts.missed += 1
        return None

    def give_back(self, item: T, now: float) -> T | None:
        """Keep `item`, idle since `now`; return the one to close instead, where there is no room."""
        if self.max_idle <= 0:
            self.counts.evicted += 1
            return item
        self._idle.append((now, item))
        if len(self._idle) <= self.max_idle:
            return None
        self.counts.evicted += 1
        return self._idle.popleft()[1]

    def take_oldest(self) -> T | None:
        """Hand out the oldest: to be closed."""
        if not self._idle:
            return None
        self.counts.evicted += 1
        return self._idle.popleft()[1]

    def expire(self, now: float) -> list[T]:
        """Hand out those idle for `idle_s` or longer, oldest first: to be closed."""
        old: list[T] = []
        while self._idle and now - self._idle[0][0] >= self.idle_s:
            old.append(self._idle.popleft()[1])
        self.counts.expired += len(old)
        return old

    def empty(self) -> list[T]:
        """Hand out all, oldest first: to be closed."""
        rest = [item for _, item in self._idle]
        self._idle.clear()
        self.counts.expired += len(rest)
        return rest
