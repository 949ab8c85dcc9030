"""Words to the service manager (sd_notify(3)): that we are ready, reloading, stopping.

Promises: costs nothing and fails never where there is no service manager, or none that listens.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

__all__ = ["notify", "notify_reloading"]


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
