"""Contexts that were just made: the names of their ticket keys are found out, and told to the other workers.

Promises: making a context costs its maker nothing more; nobody waits for a name, and one that can't be found
out costs a client a full handshake, no more. Refuses to know who is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

import trio

from tlsproxy.tls.engines import Context
from tlsproxy.tls.tickets import key_name

__all__ = ["Announcing"]


class Announcing:
    """`note` from any thread; `run` once, on the event loop."""

    def __init__(self, tell: Callable[[dict[str, str]], None]) -> None:
        """Take who is told, on the event loop: names in hex, each with the bundle that its key is for."""
        self._tell = tell
        self._made: deque[Context] = deque()
        self._wake = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None

    def note(self, context: Context) -> None:
        """Take note of a context that was made."""
        self._made.append(context)
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._hurry, idempotent=True)

    async def run(self) -> None:
        """Find out names until cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        while True:
            self._wake = trio.Event()
            if self._made:
                with suppress(RuntimeError):  # no thread is to be had: these are not told
                    self._tell(await trio.to_thread.run_sync(self._name_all))
            else:
                await self._wake.wait()

    def _hurry(self) -> None:
        self._wake.set()

    def _name_all(self) -> dict[str, str]:
        found = {}
        while self._made:
            context = self._made.popleft()
            if name := key_name(context):
                found[name.hex()] = context.bundle_id
        return found
