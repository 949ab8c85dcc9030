"""What a server has used, as the kernel counts it: processor time and memory of its whole process tree.

Parsing is pure and tested; `Tree` reads /proc. Processor time is utime + stime with that of children who
have ended (proc(5), stat, fields 14 to 17), exact to a clock tick (10 ms): measure over seconds. Memory is
PSS, in which a page that n processes share counts as 1/n for each (smaps_rollup), so that a sum over
processes means something. Which process holds a connection is told by the inodes of its sockets. It doesn't
know what the processes do.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# TCP_ESTABLISHED in the kernel's include/net/tcp_states.h, as /proc/net/tcp writes it.
_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Stat:
    """One process: its parent, and the clock ticks that it and its ended children have used."""

    parent: int
    ticks: int


def parse_stat(text: str) -> Stat:
    """Read a line of /proc/PID/stat, whose second field may hold spaces and parentheses."""
    fields = text[text.rindex(")") + 2 :].split()  # from field 3 on
    return Stat(parent=int(fields[1]), ticks=sum(map(int, fields[11:15])))


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
        return sum(stat.ticks for stat in self.stats().values()) / TICKS_PER_S

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
