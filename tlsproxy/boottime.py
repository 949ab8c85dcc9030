"""The boot's own time: which boot this is, and the seconds since it began, sleep included.

What waits for a person's word (a probation) is measured by it: no wall clock that is set moves it, and after
a reboot everybody sees that it is another one.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from certstore import BootClock, BootTime

__all__ = ["boot_clock"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_clock(path: Path = _BOOT_ID) -> BootClock:
    """Give the clock of this boot.

    path: where the kernel tells the boot's id (proc_sys_kernel(5)). Where it tells none (no /proc), each
    process has one of its own, so that what is in probation goes back at the next start rather than never.
    """
    try:
        boot = path.read_text("ascii").strip()
    except (OSError, ValueError):
        boot = ""
    boot = boot or str(uuid.uuid4())
    return lambda: BootTime(boot, time.clock_gettime(time.CLOCK_BOOTTIME))
