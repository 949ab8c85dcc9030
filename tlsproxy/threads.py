"""Work that blocks, in a thread; and what is done where no thread is to be had.

Promises: where the system has no thread left (a limit of processes, memory) `in_thread` raises ThreadError, a
ProxyError like others, so that who asked is told and nothing else ends; `in_thread_at_last` waits until there
is one; `in_thread_or_here` lets the event loop wait for the work. What the work itself raises is left alone.
Refuses to know what the work is.

Theory. What threading says then is a RuntimeError, as of a bug: it went up through every nursery, and a
proxy that had served for months ended for want of a thread for some milliseconds (tried). A new image is
worst off: it begins without any, since those of the image before ended with the exec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from tlsproxy import policy_service as policy
from tlsproxy.errors import ThreadError
from tlsproxy.observe.log import logger

__all__ = ["in_thread", "in_thread_at_last", "in_thread_or_here"]

_log = logger("threads")
T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Do it in a thread; cancelling waits for its end. Raises ThreadError, and what it raises."""
    begun = False

    def note_and_work() -> T:
        nonlocal begun
        begun = True
        return work()

    try:
        return await trio.to_thread.run_sync(note_and_work)
    except RuntimeError as error:
        if begun:
            raise
        raise ThreadError(str(error)) from error


async def in_thread_at_last(work: Callable[[], T], is_given_up: Callable[[], bool] = lambda: False) -> T:
    """Do it in a thread, as soon as there is one; that it waits is told once.

    Raises ThreadError only where it is given up.
    """
    told = False
    while True:
        try:
            return await in_thread(work)
        except ThreadError as error:
            if is_given_up():
                raise
            if not told:
                _log.error("thread_awaited", why=error.why, hint=error.hint)
            told = True
        await trio.sleep(policy.THREAD_RETRY_S)


async def in_thread_or_here(work: Callable[[], T]) -> T:
    """Do it in a thread, or at once: for what is short, and for an end that can't wait."""
    try:
        return await in_thread(work)
    except ThreadError:
        return work()
