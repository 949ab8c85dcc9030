"""What a worker asks its supervisor for a client: whether the word that it sent confirms a change.

Promises: an answer in bounded time, whatever the supervisor does; a client that guesses is slowed down before
the supervisor hears of it; of a word nothing but its hash leaves this process. Refuses to know which words
there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

import trio

from tlsproxy import policy_changes as policy
from tlsproxy.forward.site import ClientFacts
from tlsproxy.observe.allowance import Allowance
from tlsproxy.word import Judgement, hash_of
from tlsproxy.workers.messages import ConfirmAsked, ConfirmJudged

__all__ = ["Asking"]


class _Wait:
    """Who waits for an answer."""

    __slots__ = ("event", "judgement")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.judgement = Judgement.FAILED


class Asking:
    """Asks by `send`; who reads the channel calls `judged`."""

    def __init__(self, send: Callable[[ConfirmAsked], None]) -> None:
        self._send = send
        self._waiting: dict[int, _Wait] = {}
        self._asked = 0
        self._for_all = Allowance(policy.CONFIRM_PER_S_ALL, policy.CONFIRM_BURST_ALL)
        self._for_each: OrderedDict[str, Allowance] = OrderedDict()  # by address, the last used at the end

    async def confirm(self, word: bytes, client: ClientFacts) -> Judgement:
        """Have a word judged that came over this client's connection."""
        if not self._may_ask(client.peer, trio.current_time()):
            return Judgement.TOO_OFTEN
        self._asked += 1
        number, wait = self._asked, _Wait()
        self._waiting[number] = wait
        try:
            self._send(ConfirmAsked(number, hash_of(word), client.bundle, client.generation))
            with trio.move_on_after(policy.CONFIRM_PATIENCE_S):
                await wait.event.wait()
        finally:
            del self._waiting[number]
        return wait.judgement

    def _may_ask(self, address: str, now: float) -> bool:
        known = self._for_each
        if address not in known:
            known[address] = Allowance(policy.CONFIRM_PER_S, policy.CONFIRM_BURST)
            while len(known) > policy.CONFIRM_ADDRESSES:
                known.popitem(last=False)
        known.move_to_end(address)
        return known[address].take(now) and self._for_all.take(now)

    def judged(self, message: ConfirmJudged) -> None:
        """Take an answer; one that nobody waits for any more is passed by."""
        wait = self._waiting.get(message.number)
        if wait is not None:
            with suppress(ValueError):  # a word of a version to come: it is no yes
                wait.judgement = Judgement(message.judgement)
            wait.event.set()
