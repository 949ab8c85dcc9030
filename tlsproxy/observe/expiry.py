"""The expiry ladder: on which step a certificate stands as its life ends, and when that is told again.

Pure: dates and the time go in, a step comes out. Steps are shares of a life and not days, so that they fit
certificates of six days and of ten years. Promises: a step is told when it is reached, and again in a rhythm
that gets shorter with what is left; nothing is told while the clock can't be right. Refuses to know whose
certificate it is (ladder.py), and who is told.

Theory. Whoever renews by itself does so at a third of a life left, or before (RFC 9773 section 1; our own
identity, too), so nothing is told there: the first step comes when that should be over. *A clock that moves*:
set forward by years it brings every step at once, and once set right takes them back, so what was told is
compared as it is and never only as "more"; and how long ago something was told is taken without its sign, or
a clock set back would silence us for years. *A date without end* (99991231235959Z, RFC 5280 section 4.1.2.5)
needs no exception: a thousandth of such a life is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tlsproxy import policy_notices as policy

__all__ = ["Role", "Step", "Told", "is_due", "rhythm", "step_of"]


class Step(StrEnum):
    """How near the end is, the farthest first."""

    FINE = "fine"
    NOTICE = "notice"
    WARNING = "warning"
    URGENT = "urgent"
    EXPIRED = "expired"

    @property
    def number(self) -> int:
        """The place on the ladder; 0 is fine."""
        return _NUMBERS[self]


_NUMBERS: Final = {step: number for number, step in enumerate(Step)}


class Role(StrEnum):
    """Whether clients get the certificate now, or would when another one falls."""

    SERVED = "served"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a certificate last, and when."""

    step: Step
    role: Role
    at: datetime


def step_of(not_before: datetime, not_after: datetime, now: datetime | None) -> Step:
    """Say on which step a certificate stands; both dates belong to its life (RFC 5280 section 4.1.2.5).

    now: None while the clock can't be right; then all is fine.
    """
    if now is None:
        return Step.FINE
    left, life = not_after - now, not_after - not_before
    if left < timedelta(0):
        return Step.EXPIRED
    if left < life * policy.URGENT_SHARE:
        return Step.URGENT
    if left < life * policy.WARNING_SHARE:
        return Step.WARNING
    return Step.NOTICE if left < life * policy.NOTICE_SHARE else Step.FINE


def rhythm(not_before: datetime, not_after: datetime, now: datetime) -> timedelta:
    """Say after what time the same step is told again: a quarter of what is left, within bounds.

    At most daily, but for a short life, of which a day is much: its 24th part (6 hours for six days).
    """
    day = timedelta(seconds=policy.AGAIN_LEAST_S)
    hour = timedelta(seconds=policy.AGAIN_SHORT_S)
    least = max(min(day, (not_after - not_before) / 24), hour)
    most = timedelta(seconds=policy.AGAIN_MOST_S)
    return min(max((not_after - now) * policy.AGAIN_SHARE, least), most)


def is_due(told: Told | None, step: Step, role: Role, now: datetime, again: timedelta) -> bool:
    """Say whether a step is to be told: it is new, its certificate has another role, or it was long ago."""
    if step is Step.FINE:
        return False
    if told is None or (told.step, told.role) != (step, role):
        return True
    return abs(now - told.at) >= again
