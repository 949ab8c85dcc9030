"""Where lines of a log go: a descriptor that may be slow, full, or gone; nobody who writes waits for it.

Promises: `write` returns at once, whatever becomes of the line; what waits is bounded, beyond that lines are
dropped and counted; lines of several processes on one pipe don't run into each other, up to 4 KiB each.
Refuses to know what a line says.

Theory. A pipe holds 64 KiB. When its reader stops (a collector that hangs, a terminal that was paused), the
next `write` blocks, and with it whoever called: an event loop would stand still, and a proxy would stop for
want of a log. Three ways round that were not taken: O_NONBLOCK is a property of the open file, which belongs
to our neighbours on the same terminal as well; opening /proc/self/fd/2 anew needs a permission that is gone
once privileges are dropped, and is impossible for sockets; asking poll(2) first is a race with our siblings.
So one thread writes and may block; it blocks all signals, which are the main thread's, and is a daemon, so
that it keeps no process from ending. What the kernel takes in one write of up to PIPE_BUF bytes stays whole
(pipe(7)), therefore lines are joined up to that and no further.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from tlsproxy import policy

__all__ = ["Format", "Manner", "Outlet", "manner_of"]

Format = Literal["auto", "console", "json"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How lines are written. priorities: each begins with `<N>`, as journald reads it (sd-daemon(3))."""

    is_console: bool
    priorities: bool = False
    colours: bool = False

    def begin(self, level: str) -> str:
        """Give what stands before a line of this level."""
        return _PRIORITIES.get(level, "<6>") if self.priorities else ""


# syslog(3)'s numbers
_PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}


def manner_of(style: Format, fd: int) -> Manner:
    """Choose the manner for a descriptor: readable on a terminal, else JSON; priorities for the journal."""
    try:
        is_terminal = os.isatty(fd)
        priorities = os.environ.get("JOURNAL_STREAM", "") == _identity(fd)
    except OSError:
        is_terminal = priorities = False
    return Manner(style == "console" or (style == "auto" and is_terminal), priorities, is_terminal)


def _identity(fd: int) -> str:
    """Name the open file as systemd does in JOURNAL_STREAM (systemd.exec(5))."""
    facts = os.fstat(fd)
    return f"{facts.st_dev}:{facts.st_ino}"


class Outlet:
    """Carries lines to a descriptor, which stays its maker's. Any thread may write."""

    def __init__(self, fd: int, most_bytes: int = policy.LOG_WAITING_BYTES) -> None:
        self._fd, self._most = fd, most_bytes
        self._lines: list[bytes] = []
        self._bytes = 0  # of lines that wait, and of those that are being written
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """How many lines there was no room for, in all."""

    def write(self, lines: Iterable[bytes]) -> bool:
        """Take lines, each with its end; False where some had to be dropped."""
        with self._changed:
            before = self.dropped
            for line in lines:
                if self._bytes + len(line) > self._most:
                    self.dropped += 1
                else:
                    self._lines.append(line)
                    self._bytes += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._carry, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self.dropped == before

    def flush(self, seconds: float = policy.LOG_FLUSH_S) -> bool:
        """Wait, blocking the thread, until all was written; False where that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._bytes, seconds)

    def _carry(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                lines, self._lines = self._lines, []
            for part in _joined(lines):
                with suppress(OSError):  # nobody reads any more, or the disk is full: nobody can be told
                    self._write(part)
            with self._changed:
                self._bytes -= sum(map(len, lines))
                self._changed.notify_all()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # a neighbour has made it non-blocking
                select.select([], [self._fd], [])


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines to parts that a pipe takes whole."""
    part = b""
    for line in lines:
        if part and len(part) + len(line) > select.PIPE_BUF:
            yield part
            part = b""
        part += line
    if part:
        yield part
