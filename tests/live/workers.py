"""Which worker has which connection, seen from outside: by /proc, as `ss -tnp` does it."""

from __future__ import annotations

import os
from pathlib import Path

_ESTABLISHED = "01"  # net/tcp_states.h


def owners(pids: list[int], port: int) -> dict[int, int]:
    """Map the port of each client connected to `port` on 127.0.0.1 to the process that holds it."""
    by_inode: dict[str, int] = {}
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(descriptor)  # noqa: PTH115  no path
            except OSError:
                continue
            if target.startswith("socket:["):
                by_inode[target[8:-1]] = pid
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(part.rpartition(":")[2], 16) for part in fields[1:3])
        if local == port and fields[3] == _ESTABLISHED and fields[9] in by_inode:
            found[remote] = by_inode[fields[9]]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody reaps doesn't."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"
