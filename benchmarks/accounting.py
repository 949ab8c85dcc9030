"""What a server has used, as the kernel counts it: processor time and memory of its whole process tree.

Parsing is pure and tested; `Tree` reads /proc. Processor time is that of each process's own clock, exact to
the nanosecond (clock_getcpuclockid(3)), with that of its children who have ended, exact to a clock tick of 10
ms (proc(5), stat, fields 16 and 17). Memory is PSS, in which a page that n processes share counts as 1/n for
each (smaps_rollup), so that a sum over processes means something. Which process holds a connection is told by
the inodes of its sockets. It doesn't know what the processes do.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# TCP_ESTABLISHED in the kernel's include/net/tcp_states.h, as /proc/net/tcp writes it.
_ESTABLISHED = "01"
# How the kernel numbers the clock of a process (include/linux/posix-timers.h); the C library does it so, too.
_CPUCLOCK_SCHED = 2


@dataclass(frozen=True, slots=True)
class Stat:
    """One process: its parent, and the clock ticks that its ended children have used."""

    parent: int
    ended_ticks: int


def parse_stat(text: str) -> Stat:
    """Read a line of /proc/PID/stat, whose second field may hold spaces and parentheses."""
    fields = text[text.rindex(")") + 2 :].split()  # from field 3 on
    return Stat(parent=int(fields[1]), ended_ticks=sum(map(int, fields[13:15])))


def parse_pss(text: str) -> int:
    """Read the bytes of PSS out of /proc/PID/smaps_rollup."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Pss line")


def parse_tcp(text: str, port: int) -> set[int]:
    """Read the inodes of the established connections to a local port out of /proc/net/tcp (proc(5))."""
    fields = [line.split() for line in text.splitlines()[1:]]
    return {
        int(field[9]) for field in fields if field[1].endswith(f":{port:04X}") and field[3] == _ESTABLISHED
    }


def family(root: int, parents: dict[int, int]) -> set[int]:
    """Give root and all that descend from it; `parents` maps a process to its parent."""
    found, before = {root}, set[int]()
    while found != before:
        before = found
        found = before | {pid for pid, parent in parents.items() if parent in before}
    return found


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and its descendants, read anew with each question."""

    root: int

    def stats(self) -> dict[int, Stat]:
        """Read the stat of each living member."""
        all_stats = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    all_stats[int(entry.name)] = parse_stat((entry / "stat").read_text(errors="replace"))
                except OSError:  # ended meanwhile
                    continue
        members = family(self.root, {pid: stat.parent for pid, stat in all_stats.items()})
        return {pid: all_stats[pid] for pid in members if pid in all_stats}

    def cpu_s(self) -> float:
        """Give the processor seconds used since the start."""
        return sum(own_cpu_s(pid) + stat.ended_ticks / TICKS_PER_S for pid, stat in self.stats().items())

    def pss(self) -> int:
        """Give the bytes of memory held."""
        held = 0
        for pid in self.stats():
            with suppress(OSError):  # ended meanwhile: a worker that a reload has replaced
                held += parse_pss(Path(f"/proc/{pid}/smaps_rollup").read_text())
        return held

    def connections(self, port: int) -> dict[int, int]:
        """Count the established connections to `port` (IPv4) that each member holds."""
        inodes = parse_tcp(Path("/proc/net/tcp").read_text(), port)
        return {pid: len(inodes & sockets_of(pid)) for pid in self.stats()}


def own_cpu_s(pid: int) -> float:
    """Give the processor seconds of a process and all its threads; nought for one that has ended."""
    clock = (~pid << 3) | _CPUCLOCK_SCHED
    with suppress(OSError):
        return time.clock_gettime(clock)
    return 0.0


def sockets_of(pid: int) -> set[int]:
    """Give the inodes of a process's sockets; nothing for one that has ended."""
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                kind, _, inode = str(entry.readlink()).partition(":")
                if kind == "socket":
                    found.add(int(inode.strip("[]")))
    return found
