"""The machine around us: the system's versions, listening sockets, what lies in the store.

Promises: only names, sizes, modes and owners of files, never what is in them; symbolic links are told, never
followed; a listing is bounded. What this user may not see is missing, and said to be.
"""

from __future__ import annotations

import os
import platform
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

__all__ = ["listed", "listening", "system"]


def system() -> dict[str, object]:
    """Say what this machine is: kernel, distribution, processors, memory, disk; sizes in bytes."""
    memory = psutil.virtual_memory()
    release: dict[str, str] = {}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    return {
        "kernel": " ".join(os.uname()[i] for i in (0, 2, 3, 4)),
        "distribution": release.get("PRETTY_NAME"),
        "libc": " ".join(platform.libc_ver()),
        "python": sys.version,
        "executable": sys.executable,
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "memory_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "uid": os.geteuid(),
    }


def listening(pids: Iterable[int]) -> list[str]:
    """Give the listening TCP sockets of this machine, one a line, ours marked, as `ss -ltn` would.

    Ours are known by their process only to root; for others the mark is missing.
    """
    ours = frozenset(pids)
    try:
        found = psutil.net_connections("tcp")
    except (psutil.Error, OSError) as error:
        return [f"can't be listed: {type(error).__name__}"]
    lines = set()
    for one in found:
        if one.status == psutil.CONN_LISTEN and one.laddr:
            owner = "tlsproxy" if one.pid in ours else str(one.pid) if one.pid else "-"
            host = f"[{one.laddr.ip}]" if ":" in one.laddr.ip else one.laddr.ip
            lines.add(f"{host}:{one.laddr.port}  {owner}")
    return sorted(lines)


def listed(root: Path, most: int) -> list[str]:
    """List what lies below a folder, one a line: mode, owner, group, size in bytes, time, name."""
    lines: list[str] = []
    for path in _below(root):
        if len(lines) == most:
            lines.append(f"... more than {most} ...")
            break
        lines.append(_line(root, path))
    return lines


def _below(root: Path) -> Iterator[Path]:
    yield root
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            yield Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))


def _line(root: Path, path: Path) -> str:
    name = "." if path == root else str(path.relative_to(root))
    # a stranger's name must not steer the terminal of whoever reads it
    shown = name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
    try:
        facts = path.lstat()
    except OSError as error:
        return f"?  {shown}  ({error.strerror})"
    when = datetime.fromtimestamp(facts.st_mtime, UTC)
    return (
        f"{stat.filemode(facts.st_mode)} {facts.st_uid:>6} {facts.st_gid:>6} {facts.st_size:>10}"
        f"  {when:%Y-%m-%d %H:%M:%S}  {shown}"
    )
