"""Processes as the kernel tells of them: since when they run, what they hold, how large they are.

Promises: what this user may not see is told as unknown, never guessed; a process that ends meanwhile is no
error. Workers and supervisor hide their memory and descriptors from everybody but root (docs/privileges.md).
psutil is imported where it is used: a supervisor that nobody asks has no need of it (0.7 MB).
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["describe", "is_ours", "started_at"]

# Python's OpenSSL, and cryptography's, which lies within its one module
_TLS_LIBRARIES = ("/libssl", "/libcrypto", "/_ssl.", "cryptography/hazmat/bindings/_rust")


def started_at(pid: int) -> datetime | None:
    """Say when a process began, to 10 ms; None where there is none, or the system doesn't tell.

    An exec is no new beginning: the supervisor's is its first start, whatever reloads came since. A unit with
    ProtectProc= and ProcSubset= hides /proc/stat and processes like ours, even from us: psutil raises
    whatever its reading of them came to.
    """
    import psutil

    try:
        return datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC)
    except (psutil.Error, OSError, RuntimeError, ValueError, OverflowError):
        return None


def is_ours(pid: int) -> bool:
    """Say whether a process is one of tlsproxy's, by its command: a number may be of another container's."""
    import psutil

    try:
        return any("tlsproxy" in word for word in psutil.Process(pid).cmdline())
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False


def describe(pid: int) -> dict[str, object]:
    """Give what is to be seen of a process; sizes in bytes, None for what this user may not see."""
    import psutil

    begun = started_at(pid)
    facts: dict[str, object] = {"pid": pid, "since": begun and begun.isoformat()}
    if begun is None:
        return {**facts, "seen": False}
    process = psutil.Process(pid)
    for name, ask in (
        ("user", process.username),
        ("threads", process.num_threads),
        ("cpu_s", lambda: sum(process.cpu_times()[:2])),
        ("rss_bytes", lambda: process.memory_info().rss),
        ("pss_bytes", lambda: process.memory_full_info().pss),
        ("descriptors", process.num_fds),
        ("descriptors_most", lambda: list(process.rlimit(psutil.RLIMIT_NOFILE))),
        ("limits", lambda: _limits(pid)),
        ("command", lambda: " ".join(process.cmdline())),
        ("libraries", lambda: _libraries(pid)),
    ):
        try:
            facts[name] = ask()
        except (psutil.Error, OSError):
            facts[name] = None
    return facts


def _limits(pid: int) -> list[str]:
    """Give /proc/PID/limits line by line."""
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:  # noqa: PTH123  no path of ours
        return [" ".join(line.split()) for line in file]


def _libraries(pid: int) -> list[str]:
    """Give the TLS libraries that are mapped, each with "(deleted)" where the file on the disk is another."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123
        paths = {line.split(maxsplit=5)[5].strip() for line in file if line.count("/")}
    return sorted(path for path in paths if any(name in path for name in _TLS_LIBRARIES))
