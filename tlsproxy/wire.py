"""Confirmations that come over the network: a worker has one, and here it is judged and carried out.

Promises: a change is confirmed only by the word that its import answered with, and only over a connection
that is served by just that change, at its generation or later; it is on the disk before the client is told.
Words are known by their hashes alone. Who asks again because the answer got lost is told yes again. Refuses
to know HTTP, and how a change is confirmed (certstore/confirming.py).
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from certstore import NotFound, Receipt, Refusal, Slot, Store, StoreError
from tlsproxy import policy_changes as policy
from tlsproxy.errors import ProxyError
from tlsproxy.observe.log import logger
from tlsproxy.word import Judgement
from tlsproxy.workers.messages import ConfirmAsked, ConfirmJudged
from tlsproxy.workers.remote import RemoteWorker

__all__ = ["Awaited", "WireConfirmation", "find"]

_log = logger("changes")


@dataclass(frozen=True, slots=True)
class Awaited:
    """A change that a word confirms: its receipt, the word's hash, its bundles and generation."""

    receipt: str
    word: str
    bundles: tuple[str, ...]
    generation: int

    def is_served_to(self, asked: ConfirmAsked) -> bool:
        """Whether whoever asks has got it."""
        return asked.bundle in self.bundles and asked.generation >= self.generation


def find(awaited: Iterable[Awaited], asked: ConfirmAsked) -> Awaited | None:
    """Find what a word stands for; takes as long whichever it is, and where it is none."""
    found = None
    for one in awaited:
        if one.word and hmac.compare_digest(
            one.word.encode(), asked.word.encode()
        ):  # a liar's may be no ASCII
            found = one
    return found


class WireConfirmation:
    """Judges what workers ask, one after the other. `ask` is called on the event loop."""

    def __init__(self, store: Store, confirm: Callable[[str], Awaitable[Receipt]]) -> None:
        """Take whose changes they are; `confirm` carries one out, by its receipt's id, and tells of it."""
        self._store, self._confirm = store, confirm
        self._in, self._asked = trio.open_memory_channel[tuple[RemoteWorker, ConfirmAsked]](
            policy.CONFIRM_WAITING
        )
        self._done: OrderedDict[str, Awaited] = OrderedDict()

    def ask(self, worker: RemoteWorker, asked: ConfirmAsked) -> None:
        """Take a question; whom there is no room for is told to come again."""
        try:
            self._in.send_nowait((worker, asked))
        except trio.WouldBlock:
            worker.channel.send(ConfirmJudged(asked.number, Judgement.TOO_OFTEN))

    async def run(self) -> None:
        """Answer them until cancelled."""
        async for worker, asked in self._asked:
            worker.channel.send(ConfirmJudged(asked.number, await self.judge(asked)))

    async def judge(self, asked: ConfirmAsked) -> Judgement:
        """Confirm what the word stands for, where it is served to whoever asks."""
        found = find((*self._waiting(), *self._done.values()), asked)
        if found is None or not found.is_served_to(asked):
            return Judgement.NOT_HERE
        if found.word in self._done:
            return Judgement.CONFIRMED
        try:
            await self._confirm(found.receipt)
        except Refusal:
            return Judgement.NOT_HERE  # it has gone back just now
        except (StoreError, ProxyError, RuntimeError) as error:  # the last: no thread is to be had
            _log.error("confirmation_failed", receipt=found.receipt, why=str(error))
            return Judgement.FAILED
        self._done[found.word] = found
        while len(self._done) > policy.CONFIRM_REMEMBERED:
            self._done.popitem(last=False)
        return Judgement.CONFIRMED

    def _waiting(self) -> Iterable[Awaited]:
        slots = {slot.key: slot for slot in self._store.slots()}
        for one in self._store.probations():
            slot = slots.get(one.key)
            try:
                generation = self._store.receipt(one.receipt).generation
            except NotFound:
                continue
            if slot is not None and generation is not None:
                yield Awaited(one.receipt, one.word, _what_came(slot), generation)


def _what_came(slot: Slot) -> tuple[str, ...]:
    """Give those of a slot's bundles that the change has brought: who gets another has seen nothing new."""
    before = {slot.last_confirmed, slot.confirmed_beside}
    return tuple(id_ for id_ in slot.bundles if id_ not in before) or slot.bundles
