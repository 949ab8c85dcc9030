"""When to renew, and when to try again: by what the authority suggests, else by a share of the life. Pure.

Promises: a certificate is due long before its end; devices that were made, or switched on, in one moment are
not due in one moment; whoever fails waits longer each time, by chance, up to a day. Refuses to know the time
now, and to make chance: both are handed in (`chance`: a number of [0, 1)).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from certstore.issuers.acme.renewalinfo import RenewalInfo

__all__ = ["due_at", "pause", "within"]

# Let's Encrypt's advice: a third of the life is left for what may go wrong, half of a short one.
_SHARE: Final = 2 / 3
_SHARE_OF_SHORT: Final = 1 / 2
_SHORT: Final = timedelta(days=10)
# Earlier by up to so much of the life, each device by another.
_JITTER: Final = 0.05
_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(days=1)
_MOST_DOUBLINGS: Final = 11  # a minute doubled so often is more than a day


def due_at(begin: datetime, end: datetime, chance: float) -> datetime:
    """Say when a certificate is due whose authority suggests nothing."""
    life = end - begin
    share = _SHARE_OF_SHORT if life < _SHORT else _SHARE
    return begin + life * (share - _JITTER * chance)


def within(info: RenewalInfo, chance: float) -> datetime:
    """Choose a point in the window that an authority suggests, each as likely (RFC 9773 section 4.2)."""
    return info.start + (info.end - info.start) * chance


def pause(failures: int, chance: float, *, is_lasting: bool = False) -> timedelta:
    """Say how long to wait after so many failures in a row, from 1 on; what is lasting waits for a person."""
    doubled: int = 2 ** min(failures, _MOST_DOUBLINGS)
    most = min(_FIRST_PAUSE * doubled, _LONGEST_PAUSE)
    if is_lasting:
        most, chance = _LONGEST_PAUSE, (1 + chance) / 2
    return max(_FIRST_PAUSE, most * chance)
