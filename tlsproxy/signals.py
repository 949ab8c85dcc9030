"""The signals that a supervisor obeys, and when they reach it: only while its loop waits.

Promises: while a `Gate` is in force, no thread but the main one ever takes one of them, and that one only
while it waits for events; what comes at another time waits in the kernel, over an exec too. Refuses to know
what is done at a signal.

Theory. A signal to a process goes to any thread that doesn't hold it back. Held back by the main thread only,
just before an exec, it reaches a helper thread, whose handler notes it for a loop that is no more: a SIGTERM
was lost (tried). Other threads can't be told to hold anything back, but each inherits what its maker holds
back. So the main thread holds back always, from before the first thread on, and lets in only around the
loop's waiting, as pselect(2) does. Children inherit it, too: whoever wants these signals in one lets them in
(`let_in`).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

__all__ = ["SIGNALS", "Gate", "end_is_asked", "let_in"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def let_in() -> None:
    """Take these signals in this thread, as a process does unless told otherwise."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_is_asked() -> bool:
    """Whether somebody has asked for the end, which nobody could obey yet."""
    return not {signal.SIGTERM, signal.SIGINT}.isdisjoint(signal.sigpending())


class Gate(trio.abc.Instrument):
    """Holds them back whenever tasks run; and while the loop waits, until `open`."""

    def __init__(self) -> None:
        self._is_open = False

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Hold back while the block runs: in the main thread, in trio.run, before there are other threads."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)
            signal.pthread_sigmask(signal.SIG_SETMASK, before - set(SIGNALS))

    def open(self) -> None:
        """Let in from now on: somebody listens."""
        self._is_open = True

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Let nothing in while the block runs."""
        before, self._is_open = self._is_open, False
        try:
            yield
        finally:
            self._is_open = before

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002  the shape of an instrument
        """Let in what waits, and what comes."""
        if self._is_open:
            let_in()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002  the shape of an instrument
        """Hold back: tasks run, and may start threads and children."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
