"""First boot: whether this device may make a key now, and whether it may believe its clock.

Promises: `random_ready` never blocks; `clock_plausible` is pure. Refuses to know: who waits, and what is
told.

What could go wrong, and why it is asked: devices that made their keys in their first second, before the
kernel had gathered randomness, ended with keys that others share (Heninger et al., "Mining Your Ps and Qs",
2012). And a device without a battery starts in 1970, where every certificate is "not yet valid": to refuse
them all would lock everybody out of the page on which the clock is set.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["BUILD_DATE", "CLOCK_TOLERANCE", "clock_plausible", "random_ready"]

# No clock can be right that is behind the making of this software. A release sets it to its own date.
BUILD_DATE: Final = datetime(2026, 11, 1, tzinfo=UTC)

# How far behind the newest date that we have seen a clock may be: one set by hand to local time is up to 14
# hours off, and steps back when NTP comes; a clock that has lost its battery is off by years.
CLOCK_TOLERANCE: Final = timedelta(days=1)


def random_ready() -> bool:
    """Say whether the kernel's random generator has been seeded, without waiting for it (getrandom(2)).

    Once true, it stays so until the next boot. A kernel that lacks the call (a sandbox may deny it) counts as
    ready: `os.urandom` is then all there is, and no waiting would change it.
    """
    try:
        os.getrandom(1, os.GRND_NONBLOCK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def clock_plausible(now: datetime, build_date: datetime, newest_seen: datetime | None) -> bool:
    """Say whether `now` can be the time: not before this software was made, nor far behind what was seen.

    `newest_seen` is the newest date this device has written (its newest receipt), None on a fresh one. That a
    clock is *ahead* can't be told from here. All dates are aware.
    """
    if now < build_date:
        return False
    return newest_seen is None or now >= newest_seen - CLOCK_TOLERANCE
