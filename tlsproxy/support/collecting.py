"""Parts into a package: each by itself, within a bound of time.

Promises: a part that can't be had costs no other; what it was, and why it is missing, is told in the package.
Once the time is over nothing more is begun; a part that takes too long is cut short.

Theory. A bundle is asked for where something is broken, and nobody knows what: so whatever goes wrong in a
part, foreseen or not, is itself a finding, and the others still come. A part may also stand still in the
kernel, for instance where somebody put a pipe in the place of a file: only a signal gets it out of there.
It comes again each second, since what it interrupts may take the error for that of one file and try the next.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tlsproxy import policy
from tlsproxy.support.masking import masked_text
from tlsproxy.support.package import Package

__all__ = ["Part", "collect"]

# The slowest part is many files of a store; asking a proxy has its own bound.
_PART_S = 2 * policy.SUPPORT_ANSWER_S


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the bundle, and how it is made: text, or what JSON can hold. keep_end: where it is long."""

    name: str
    make: Callable[[], object]
    keep_end: bool = False


def collect(package: Package, parts: Iterable[Part], seconds: float) -> dict[str, list[str]]:
    """Put the parts into the package; gives the names of those that are missing, by the reason why."""
    until = time.monotonic() + seconds
    missing: dict[str, list[str]] = {}
    for part in parts:
        if (why := _put(package, part, until)) is not None:
            missing.setdefault(why, []).append(part.name)
    return missing


def _put(package: Package, part: Part, until: float) -> str | None:
    """Put one part in; gives why it is missing."""
    if time.monotonic() > until:
        return "no time was left"
    try:
        with _bounded(_PART_S):
            made = part.make()
        if isinstance(made, str):
            fits = package.add(part.name, made, keep_end=part.keep_end)
        else:
            fits = package.add_json(part.name, made)
    except Exception as error:  # noqa: BLE001  one part's trouble is not another's
        return masked_text(" ".join(str(error).split())) or type(error).__name__
    return None if fits else "no room was left"


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes too long; in the main thread, since no other gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_number: int, _frame: object) -> None:
        raise TimeoutError("it took too long")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
