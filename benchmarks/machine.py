"""The machine: which core is the server's and which the load's, how busy it is, what it is made of.

The driver pins itself, and with it all that it starts (load, upstream), to the last core; servers are
started by `taskset` on the first. On one core both are the same, and RESULTS.md says so.
"""

from __future__ import annotations

import os
import platform
import ssl
from pathlib import Path

_ALLOWED = sorted(os.sched_getaffinity(0))
SERVER_CORE = _ALLOWED[0]
LOAD_CORE = _ALLOWED[-1]


def pin_load() -> None:
    """Keep this process and what it starts from now on away from the server's core."""
    os.sched_setaffinity(0, {LOAD_CORE})


def on_server_core(command: list[str]) -> list[str]:
    """Give the command that runs `command` on the server's core; the process keeps its id."""
    return ["taskset", "--cpu-list", str(SERVER_CORE), *command]


def load_average() -> float:
    """Give how many processes wanted to run in the last minute, on average."""
    return os.getloadavg()[0]


def describe() -> str:
    """Say on what the measurement was made, in one line."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()} with {ssl.OPENSSL_VERSION}; "
        f"server on core {SERVER_CORE}, load and upstream on core {LOAD_CORE}"
    )
