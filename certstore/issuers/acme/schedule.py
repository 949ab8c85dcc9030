"""When to renew, and when to try again: by what the authority suggests, else by a share of the life. Pure.

Promises: a certificate is due long before its end; devices that were made, or switched on, in one moment are
not due in one moment; whoever fails waits longer each time, by chance, up to a day, but never so long that
the certificate ends meanwhile, and never so short that an authority refuses to listen. Refuses to know the
time now, and to make chance: both are handed in (`chance`: a number of [0, 1)).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from certstore.issuers.acme.renewalinfo import RenewalInfo

__all__ = [
    "HOUR_KEPT",
    "TRIES_AT_FIRST",
    "after_absence",
    "due_at",
    "latest",
    "next_try",
    "pause",
    "turn_of",
    "within",
]

# Let's Encrypt's advice: a third of the life is left for what may go wrong, half of a short one.
_SHARE: Final = 2 / 3
_SHARE_OF_SHORT: Final = 1 / 2
_SHORT: Final = timedelta(days=10)
# Whatever an authority suggests, so much of the life is left for what may go wrong.
_SHARE_AT_LAST: Final = 7 / 8
# Earlier by up to so much of the life, each device by another.
_JITTER: Final = 0.05
_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(days=1)
_MOST_DOUBLINGS: Final = 11  # a minute doubled so often is more than a day
# While a certificate is still good, no pause takes more than this share of what is left of its life.
_SHARE_OF_REST: Final = 1 / 8
# Without one that is good, what is served is the device's own: nobody waits a day for a passing trouble.
_LONGEST_WITHOUT: Final = timedelta(hours=6)
# Let's Encrypt refuses to look at a name for the sixth time within an hour, and others took that over.
HOUR_KEPT: Final = 4
_HOUR: Final = timedelta(hours=1)
# So often the first authority is asked before another one is.
TRIES_AT_FIRST: Final = 3
# Who runs is never so late; so the device was off, and with it perhaps all others of its site.
_LATE: Final = timedelta(minutes=5)
_SPREAD: Final = timedelta(hours=1)
_SPREAD_WITHOUT: Final = timedelta(minutes=10)


def due_at(begin: datetime, end: datetime, chance: float) -> datetime:
    """Say when a certificate is due whose authority suggests nothing."""
    life = end - begin
    share = _SHARE_OF_SHORT if life < _SHORT else _SHARE
    return begin + life * (share - _JITTER * chance)


def latest(begin: datetime, end: datetime) -> datetime:
    """Say when one is due whatever its authority suggests: it may err, and suggest the end, or later."""
    return begin + (end - begin) * _SHARE_AT_LAST


def within(info: RenewalInfo, chance: float) -> datetime:
    """Choose a point in the window that an authority suggests, each as likely (RFC 9773 section 4.2)."""
    return info.start + (info.end - info.start) * chance


def pause(
    failures: int, chance: float, *, is_lasting: bool = False, left: timedelta | None = None
) -> timedelta:
    """Say how long to wait after so many failures in a row, from 1 on; what is lasting waits for a person.

    left: of the life of the certificate that stands; None or below zero where there is none that is good.
    """
    doubled: int = 2 ** min(failures, _MOST_DOUBLINGS)
    most = min(_FIRST_PAUSE * doubled, _LONGEST_PAUSE)
    if is_lasting:
        most, chance = _LONGEST_PAUSE, (1 + chance) / 2
    wait = most * chance
    if left is not None and left > timedelta():
        wait = min(wait, left * _SHARE_OF_REST)
    elif not is_lasting:
        wait = min(wait, _LONGEST_WITHOUT)
    return max(_FIRST_PAUSE, wait)


def next_try(now: datetime, wait: timedelta, recent: Sequence[datetime]) -> datetime:
    """Say when to try again after `wait`, so that no hour sees more tries than authorities bear.

    recent: when tries failed, the oldest first, this one among them; the last HOUR_KEPT are looked at.
    """
    at = now + wait
    kept = [one for one in recent[-HOUR_KEPT:] if now - _HOUR < one <= now]  # the clock may have been set
    return max(at, kept[0] + _HOUR) if len(kept) == HOUR_KEPT else at


def after_absence(due: datetime, now: datetime, left: timedelta | None, chance: float) -> timedelta:
    """Say how long whoever is late waits, so that ten thousand who were off don't ask in one minute.

    due: when something was. Nothing for who was there. An hour at the most, and ten minutes without a good
    certificate; `left` as for `pause`.
    """
    if now - due < _LATE:
        return timedelta()
    if left is None or left <= timedelta():
        return _SPREAD_WITHOUT * chance
    return min(_SPREAD, left * _SHARE_OF_REST) * chance


def turn_of(failures: int, barred: Sequence[bool]) -> int | None:
    """Say whose turn it is after so many failures in a row: the first authority's, then each one's by turns.

    barred: of each authority, in order, whether it has said that it won't listen yet. None where none does.
    """
    count = len(barred)
    first = 0 if failures < TRIES_AT_FIRST else (failures - TRIES_AT_FIRST + 1) % count
    return next((place % count for place in range(first, first + count) if not barred[place % count]), None)
