"""Whether an upstream that is checked is up: a decision, by checks that pass or fail.

Promises: so many contrary results in a row change it, and fewer never do, so that one pause of a service is
no outage and one lucky answer no recovery. Nobody is taken for down before a check has said so: a proxy that
has just started knows nothing, and refuses nothing. Refuses to know what a check is, and when one is made.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["Streak", "is_among"]


class Streak:
    """What checks say. rise, fall: so many passes, or failures, in a row; is_up: also what it begins with."""

    __slots__ = ("_against", "_fall", "_rise", "is_up")

    def __init__(self, rise: int, fall: int, *, is_up: bool = True) -> None:
        self._rise, self._fall = rise, fall
        self._against = 0
        self.is_up = is_up

    def note(self, *, passed: bool) -> bool:
        """Take a result; say whether it has changed anything."""
        if passed is self.is_up:
            self._against = 0
            return False
        self._against += 1
        if self._against < (self._rise if passed else self._fall):
            return False
        self.is_up, self._against = passed, 0
        return True

    @property
    def to_go(self) -> int:
        """How many checks must still pass until it is up; 0 while it is."""
        return 0 if self.is_up else self._rise - self._against


def is_among(status: int, wanted: Collection[str]) -> bool:
    """Say whether a status is one of those as they are configured: "204", or "2xx" for a whole class."""
    return str(status) in wanted or f"{status // 100}xx" in wanted
