"""Errands: commands that the supervisor waits for, one after the other, each called once.

Promises: in order, and each to its end, also when the helper is to be renewed: who sets a DNS record is not
cut off in the middle. Both ends are here: the helper's queue, and who waits in the supervisor. Refuses to
know what is run.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from tlsproxy import policy_acme as policy
from tlsproxy.notify.letters import Done, Errand

__all__ = ["Desk", "Errands"]


class Errands:
    """The helper's queue. `run` works it off, until `end` was told and nothing is left."""

    def __init__(self, do: Callable[[Errand], Awaitable[None]]) -> None:
        self._do = do
        self._waiting = deque[Errand](maxlen=policy.DNS_HOOK_CALLS)
        self._come = trio.Event()
        self._is_ending = False

    def take(self, errand: Errand) -> None:
        """Queue one."""
        self._waiting.append(errand)
        self._come.set()

    def end(self) -> None:
        """Take no more."""
        self._is_ending = True
        self._come.set()

    async def run(self) -> None:
        """Run them."""
        while True:
            while self._waiting:
                await self._do(self._waiting.popleft())
            if self._is_ending:
                return
            await self._come.wait()
            self._come = trio.Event()


class Desk:
    """Who waits for what in the supervisor. On the event loop."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[trio.Event, list[Done]]] = {}

    def take(self, words: Sequence[str]) -> Errand:
        """Make an errand; nobody else has its id, also not one of before a reload."""
        errand = Errand(secrets.token_hex(8), tuple(words))
        self._open[errand.id] = trio.Event(), []
        return errand

    async def wait(self, errand: Errand, limit_s: float) -> Done:
        """Wait for its end, whatever that is."""
        event, done = self._open[errand.id]
        try:
            with trio.move_on_after(limit_s):
                await event.wait()
        finally:
            del self._open[errand.id]
        return done[0] if done else Done(errand.id, f"nobody said within {limit_s:g} s what came of it")

    def close(self, done: Done) -> None:
        """Take what came of one; of one that nobody waits for any more, nothing."""
        if (waiting := self._open.get(done.id)) is not None:
            waiting[1].append(done)
            waiting[0].set()

    def lose_all(self, why: str) -> None:
        """Let all know that nobody does it any more."""
        for id_ in tuple(self._open):
            self.close(Done(id_, why))
