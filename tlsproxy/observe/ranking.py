"""A ranking: how often each of many things came, in bounded memory.

Pure. Promises: counting what is known costs one look-up and one addition; a flood of things that come once
drives out none that came more often. Not for two threads at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

__all__ = ["Ranking"]

T = TypeVar("T", bound=Hashable)


class Ranking(Generic[T]):
    """Counts of `most` things at most."""

    __slots__ = ("_counts", "_most")

    def __init__(self, most: int, counted: Iterable[tuple[T, float]] = ()) -> None:
        self._most = most
        self._counts: dict[T, float] = {}
        self.add(counted)

    @property
    def counts(self) -> Mapping[T, float]:
        """How often each came."""
        return self._counts

    def count(self, one: T) -> None:
        """Count one that came."""
        count = self._counts.get(one)
        if count is not None:
            self._counts[one] = count + 1
        else:
            self._admit(one, 1)

    def add(self, counted: Iterable[tuple[T, float]]) -> None:
        """Add what another one has counted."""
        for one, count in counted:
            if one in self._counts:
                self._counts[one] += count
            else:
                self._admit(one, count)

    def _admit(self, one: T, count: float) -> None:
        """Begin to count it, in the place of the one that came least often where there is no room."""
        if len(self._counts) >= self._most:
            least = min(self._counts, key=self._counts.__getitem__)
            if self._counts[least] > count:
                return
            del self._counts[least]
        self._counts[one] = count
