"""When an authority is asked again whether a certificate is revoked. Pure.

Promises: the next answer is there long before the last one ends, and a revocation is known after a day at the
most; devices that were switched on together don't ask together; a responder that is down is asked less and
less often, up to once an hour. Refuses to know the time now, and to make chance (a number of [0, 1)).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from certstore import Judgement
from tlsproxy import policy_revocation as policy

__all__ = ["after_answer", "after_failure"]

_MOST_DOUBLINGS = 8  # a minute doubled so often is more than an hour


def after_answer(judgement: Judgement, now: datetime, at_most: timedelta, chance: float) -> datetime:
    """Say when to ask again after an answer: at half of its life, later after a quarter of the rest.

    at_most: the longest pause, whatever the answer says.
    """
    wanted = judgement.half - now
    if wanted <= timedelta(0):
        wanted = (judgement.ends - now) / 4
    return now + min(max(wanted, policy.LEAST_PAUSE), at_most) * (1 + policy.JITTER * chance)


def after_failure(failures: int, now: datetime, at_most: timedelta, chance: float) -> datetime:
    """Say when to ask again after so many failures in a row, one at least."""
    pause = policy.FIRST_RETRY * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)
    return now + min(pause, policy.LONGEST_RETRY, at_most) * (1 + policy.JITTER * chance)
