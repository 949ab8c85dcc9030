"""When an upstream is left alone because requests to it fail, and when one is let through to see: a decision.

Promises: so many failures in a row within so long open a breaker; an open one lets one request through each
`down_s`, and the first of these that is answered closes it; whatever happens, at most `down_s` after the last
thing that happened somebody is let through again. Refuses to know what a failure is, and the time: both are
passed in (float seconds on any one clock, never going back).

Theory. *One at a time.* Who is let through an open breaker is a trial. A trial may take for ever (a long
poll), so nobody waits for its outcome: the next one is due `down_s` later. One that came to nothing (its
client left) says nothing, and the next may go at once. *Old news.* Requests that were under way when the
breaker opened, or closed, end later, with news of a time that is over. So each is given the era in which it
was let through, and only news of the present one counts; each change begins another.
"""

from __future__ import annotations

from collections import deque
from math import ceil, inf
from typing import NewType

__all__ = ["Breaker", "Leave", "retry_after"]

Leave = NewType("Leave", int)
"""Leave to ask the upstream: hand it back by exactly one of `succeeded`, `failed` and `returned`."""


class Breaker:
    """The breaker of one upstream."""

    __slots__ = ("_down_s", "_era", "_failed_at", "_trial_at", "_within_s")

    def __init__(self, failures: int, within_s: float, down_s: float) -> None:
        self._within_s, self._down_s = within_s, down_s
        self._failed_at: deque[float] = deque(maxlen=failures)
        self._trial_at = -inf  # closed: everybody may try
        self._era = 0

    @property
    def is_open(self) -> bool:
        """Whether the upstream is left alone."""
        return self._trial_at > -inf

    def wait_s(self, now: float) -> float:
        """Say how long nobody will be let through; 0 where somebody is."""
        return max(self._trial_at - now, 0.0)

    def admit(self, now: float) -> Leave | None:
        """Let a request through, or not."""
        if self.is_open:
            if now < self._trial_at:
                return None
            self._trial_at = now + self._down_s
        return Leave(self._era)

    def succeeded(self, leave: Leave) -> bool:
        """Take note that the upstream has answered; say whether the breaker has closed by it."""
        if leave != self._era:
            return False
        self._failed_at.clear()
        return self._change(-inf) if self.is_open else False

    def failed(self, leave: Leave, now: float) -> bool:
        """Take note that it hasn't; say whether the breaker has opened by it."""
        if leave != self._era:
            return False
        if self.is_open:
            self._trial_at = max(self._trial_at, now + self._down_s)
            return False
        failures = self._failed_at
        failures.append(now)
        if len(failures) < (failures.maxlen or 1) or now - failures[0] > self._within_s:
            return False
        failures.clear()
        return self._change(now + self._down_s)

    def returned(self, leave: Leave, now: float) -> None:
        """Take note that nothing was learned; a trial that came to nothing leaves its place to the next."""
        if leave == self._era and self.is_open:
            self._trial_at = min(self._trial_at, now)

    def _change(self, trial_at: float) -> bool:
        self._trial_at = trial_at
        self._era += 1
        return True


def retry_after(wait_s: float, spread: float) -> int:
    """Give the whole seconds for `Retry-After` (RFC 9110 section 10.2.3): never too few, and never 0.

    spread: from 0 on, what is added to the wait as a share of it.
    """
    return max(ceil(wait_s * (1.0 + spread)), 1)
