"""Words to the service manager (sd_notify(3)): ready, reloading, well, stopping; and what is served.

Promises: costs nothing and fails never where there is no service manager, or none that listens. Refuses to
know what being well means.

Theory. The watchdog is fed by a task of the event loop, so a loop that hangs feeds no more, and only while
`is_well` says so. The manager's clock starts when we are ready and goes on over a reload: what is fed before
the exec must last until the new image's loop turns, a second or two; a third of the time is a wide margin.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from tlsproxy import policy

__all__ = ["keep_informed", "notify", "notify_reloading", "watchdog_s"]


def notify(state: str) -> None:
    """Say `state` ("READY=1", "STOPPING=1", "STATUS=...") where NOTIFY_SOCKET names somebody to say it to."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        sock.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)


def notify_reloading() -> None:
    """Say that a reload has begun; `Type=notify-reload` wants to know when (systemd.service(5))."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Give within how many seconds the manager wants a sign of life (sd_watchdog_enabled(3)); None: never."""
    text, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
    if not (text.isascii() and text.isdigit()) or not int(text) or pid != str(os.getpid()):
        return None
    return int(text) / 1_000_000


async def keep_informed(words: Callable[[], str], is_well: Callable[[], bool]) -> None:
    """Tell what changes in `words`, and feed the watchdog while all is well, until cancelled.

    Returns at once where nobody listens.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        return
    limit = watchdog_s(os.environ)
    pause = policy.SERVICE_WORDS_S if limit is None else min(policy.SERVICE_WORDS_S, limit / 3)
    told = ""
    while True:
        said = words()
        if said != told:
            notify(f"STATUS={said}")
            told = said
        if limit is not None and is_well():
            notify("WATCHDOG=1")
        await trio.sleep(pause)
