"""Keeps the time of changes in probation: what nobody confirms goes back when its time is over.

Promises: looks when the first one ends, and at least once a minute, since the event loop's clock stands still
while the device sleeps and the probation's doesn't. Where going back fails it is told, and tried again.
Refuses to know how a change goes back (certstore/confirming.py), and who confirms.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from certstore import Receipt, Refusal, Store, StoreError
from tlsproxy import policy
from tlsproxy.errors import ProxyError
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

__all__ = ["ProbationKeeper"]

_log = logger("changes")


class ProbationKeeper:
    """Watches over one store. `wake` it when something was put in probation."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = trio.Event()

    def wake(self) -> None:
        """Look again now."""
        self._changed.set()

    async def run(self, tell: Callable[[Receipt], None]) -> None:
        """Let go back what is over, until cancelled; `tell` of each."""
        while True:
            self._changed = trio.Event()
            ends_in_s = self._store.probation_ends_in_s()
            wait_s = policy.CARE_S if ends_in_s is None else min(ends_in_s, policy.CARE_S)
            with trio.move_on_after(wait_s):
                await self._changed.wait()
            if ends_in_s is not None and not await self._end(tell):
                await trio.sleep(policy.PROBATION_RETRY_S)

    async def _end(self, tell: Callable[[Receipt], None]) -> bool:
        try:
            receipts = await in_thread(self._store.end_probation)
        except (StoreError, ProxyError, Refusal) as error:
            _log.error("probation_not_ended", why=str(error))
            return False
        for receipt in receipts:
            tell(receipt)
        return True
