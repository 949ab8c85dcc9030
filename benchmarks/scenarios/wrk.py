"""wrk (Debian's 4.1), which makes keep-alive requests faster than any server here answers them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from benchmarks.client import HOST

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True, slots=True)
class Run:
    """What wrk tells: answers, how many were no 2xx or 3xx, socket errors, and the 99th percentile in ms."""

    requests: int
    bad: int
    errors: int
    p99_ms: float


def parse(text: str) -> Run:
    """Read wrk's report (with --latency); raises ValueError where it is none."""
    requests = re.search(r"(\d+) requests in ", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", text)
    if not requests or not p99:
        raise ValueError(f"wrk failed: {text.strip()[-200:]}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return Run(
        requests=int(requests[1]),
        bad=int(bad[1]) if bad else 0,
        errors=sum(map(int, errors.groups())) if errors else 0,
        p99_ms=float(p99[1]) * _UNITS[p99[2]],
    )


def start(port: int, connections: int, seconds: float) -> subprocess.Popen[str]:
    """Start it; `finish` reads what it says. The caller ends it on every path."""
    program = shutil.which("wrk")
    if program is None:
        raise OSError("wrk isn't installed: make bench-deps")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "--timeout", "10s"]
    return subprocess.Popen(
        [*command, "-H", f"Host: {HOST}", f"https://127.0.0.1:{port}/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Run:
    """Wait for its report."""
    return parse(process.communicate(timeout=120)[0])


def load(port: int, connections: int, seconds: float) -> Run:
    """Run it to its end."""
    process = start(port, connections, seconds)
    try:
        return finish(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
