"""A hook helper executes itself anew: the same process with the same channel, and the code of today.

Promises: what waits goes along, in memory; where the exec can't be made, nothing has changed. Refuses to know
when that is asked for, and what is done with letters (process.py).
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, suppress
from typing import Final

import msgspec

from tlsproxy.notify.letters import Luggage
from tlsproxy.signals import SIGNALS

__all__ = ["MODULE", "execute", "unpacked"]

MODULE: Final = "tlsproxy.notify.process"


def execute(luggage: Luggage, channel: int) -> None:
    """Execute ourselves anew; returns only where that fails."""
    with ExitStack() as failed, suppress(OSError):
        fd = os.memfd_create("tlsproxy-luggage", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(fd), "wb") as file:
            failed.callback(os.close, fd)
            file.write(msgspec.json.encode(luggage))
        failed.callback(os.set_inheritable, channel, False)
        for handed in (channel, fd):
            os.set_inheritable(handed, True)
        # the new image has no handlers yet; `main` lets them in
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        failed.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        words = [sys.executable, "-P", "-m", MODULE, f"channel={channel}", f"luggage={fd}"]
        os.execv(sys.executable, words)  # noqa: S606  ourselves


def unpacked(fd: int) -> Luggage:
    """Read what the image before us has left, and close it. Raises msgspec.DecodeError."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        return msgspec.json.decode(file.read(), type=Luggage)
