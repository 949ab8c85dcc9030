"""How many may ask one upstream at once: so many places, and a short wait for one, first come, first served.

Promises: never more than `places` are in; nobody waits longer than `patience_s`; who was let in leaves
exactly once, and whoever has waited longest takes the place. Refuses to know what is done there.

Theory. A small service has a handful of threads, and each connection holds one, also an idle one that is kept
for the next request. So a place stands for a connection, and who opens a new one closes an idle one where all
places would be passed otherwise (connection.py). The wait is what smooths the dozen requests of a page over
four threads; it is short, since whoever waits for longer is better told to come again (HAProxy's `timeout
queue` is by default what connecting may take, too).
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from tlsproxy import policy_health as policy
from tlsproxy.errors import UpstreamBusyError
from tlsproxy.upstream.breaker import retry_after

__all__ = ["Room"]


class Room:
    """The places of one upstream in this worker. spread: gives chance, from 0 to 1."""

    __slots__ = ("_free", "_patience_s", "_spread", "_upstream", "places")

    def __init__(self, upstream: str, places: int, patience_s: float, spread: Callable[[], float]) -> None:
        self.places = places
        self._upstream, self._patience_s, self._spread = upstream, patience_s, spread
        self._free = trio.Semaphore(places, max_value=places)

    @property
    def taken(self) -> int:
        """How many are in."""
        return self.places - self._free.value

    async def enter(self) -> None:
        """Take a place. Raises UpstreamBusyError where none gets free in time; cancelled, it takes none."""
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            pass
        else:
            return
        with trio.move_on_after(self._patience_s):
            await self._free.acquire()
            return
        seconds = retry_after(self._patience_s, policy.RETRY_SPREAD * self._spread())
        raise UpstreamBusyError(self._upstream, seconds)

    def leave(self) -> None:
        """Give the place to whoever has waited longest."""
        self._free.release()
