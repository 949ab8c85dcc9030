"""The signals that a supervisor obeys, and how none is lost while it executes itself anew.

Promises: a signal that comes while they are held back is obeyed by the next image, or here, should there be
no exec after all. Refuses to know what each of them asks for (app.py).

Theory. A blocked signal stays pending over an exec; but a mask is a thread's own, and there are always other
threads (a directory is watched in one). A signal that the kernel gives to one of those is taken: Python notes
it for the main thread, which an exec ends first. So whatever is taken is noted outside of the process as
well: Python writes the number into a socket, which the next image inherits, and raises again.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["SIGNALS", "held_back", "raise_again"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_MOST_NOTED: Final = 4096


@contextmanager
def held_back() -> Iterator[int]:
    """Hold the signals back while the block runs; gives the descriptor of the notes. Main thread only."""
    notes, pen = socket.socketpair()
    with notes, pen:
        pen.setblocking(False)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        before = signal.set_wakeup_fd(pen.fileno(), warn_on_full_buffer=False)
        try:
            yield notes.fileno()
        finally:
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def raise_again(notes: int) -> None:
    """Send ourselves what was noted before the exec, and close the notes; the signals are still blocked."""
    with socket.socket(fileno=notes) as sock, suppress(OSError):
        for number in set(sock.recv(_MOST_NOTED, socket.MSG_DONTWAIT)).intersection(SIGNALS):
            os.kill(os.getpid(), number)
