"""An allowance: so many at once, and so many a second from then on; what is beyond is counted.

For lines of a log, which a stranger can provoke as fast as he can ask: they must not fill a disk.
"""

from __future__ import annotations

__all__ = ["Allowance"]


class Allowance:
    """A bucket of permits that fills again by itself; the clock (float seconds) is passed in."""

    __slots__ = ("_at", "_burst", "_left", "_per_s", "denied")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._left = burst
        self._at = float("-inf")
        self.denied = 0
        """How many were asked for in vain since the last `take_denied`."""

    def take(self, now: float) -> bool:
        """Take one permit; False, counted, where there is none."""
        self._left = min(self._burst, self._left + max(now - self._at, 0.0) * self._per_s)
        self._at = now
        if self._left < 1.0:
            self.denied += 1
            return False
        self._left -= 1.0
        return True

    def take_denied(self) -> int:
        """Say how many were denied, and begin to count anew."""
        denied, self.denied = self.denied, 0
        return denied
