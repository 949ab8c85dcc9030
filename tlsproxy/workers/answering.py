"""Answers for ACME authorities, given by every worker: certstore's `Answering` for http-01 and tls-alpn-01.

Promises: `publish` comes back only when each worker that accepts connections gives the answers; one that is
born later has them before it accepts. Nobody waits for a worker that is retired or gone. Refuses to know
orders and authorities, and how workers answer (challenges.py).

Theory. An authority looks from several places, at any moment after it was told "ready", and the kernel hands
each look to any worker: one that doesn't know the answer yet fails the order. So "ready" waits for all of
them. The whole set is sent each time, with a number: who was born in between has an older or a newer one, and
no order of messages matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import trio

from certstore import Answer, AnswersUngiven, Challenge
from tlsproxy import policy_acme as policy
from tlsproxy.workers.proofs import Answers, PendingAnswer
from tlsproxy.workers.remote import RemoteWorker, Stage

__all__ = ["Answering"]


class Answering:
    """The answers that are given now; `certstore.Answering`. On the event loop."""

    def __init__(self, clock: Callable[[], datetime], workers: Callable[[], Sequence[RemoteWorker]]) -> None:
        """Take the wall clock, by which answers end, and what gives all workers there are."""
        self._clock, self._workers = clock, workers
        self._given: dict[tuple[Challenge, str], Answer] = {}
        self._number = 0

    def pending(self) -> Answers:
        """Give what a worker is to answer from now on, as a message."""
        now = self._clock()
        self._given = {key: one for key, one in self._given.items() if one.expires > now}
        pending = [_pending(one, now) for one in self._given.values()]
        return Answers(self._number, now.timestamp(), pending)

    async def publish(self, answers: Sequence[Answer]) -> None:
        """Have them given, beside those that are. Raises AnswersUngiven; then none of these is."""
        given = {(one.challenge, one.token): one for one in answers}
        if len(self._given.keys() | given) > policy.ANSWERS:
            raise AnswersUngiven(f"more than {policy.ANSWERS} answers would be given at a time")
        self._given |= given
        self._spread()
        try:
            await self._wait()
        except BaseException:
            await self.withdraw(answers)
            raise

    async def withdraw(self, answers: Sequence[Answer]) -> None:
        """Have these given no more. Never raises, and waits for nobody."""
        for one in answers:
            self._given.pop((one.challenge, one.token), None)
        self._spread()

    def _spread(self) -> None:
        self._number += 1
        message = self.pending()
        for worker in self._workers():
            if worker.stage < Stage.RETIRED:  # one that only starts hears it before it is told to accept
                worker.tell(message)

    async def _wait(self) -> None:
        number, asked = self._number, [worker for worker in self._workers() if worker.stage.counts]
        with trio.move_on_after(policy.ANSWERS_S) as in_time:
            async with trio.open_nursery() as nursery:
                for worker in asked:
                    nursery.start_soon(worker.wait_answering, number)
        if in_time.cancelled_caught:
            silent = [worker.pid for worker in asked if worker.answering < number]
            raise AnswersUngiven(f"the worker {silent[0]} doesn't say that it gives the answers")
        if not any(worker.stage is Stage.ACCEPTING for worker in self._workers()):
            raise AnswersUngiven("no worker accepts connections")


def _pending(answer: Answer, now: datetime) -> PendingAnswer:
    holds_s = min((answer.expires - now).total_seconds(), policy.ANSWER_MOST_S)
    if answer.challenge is Challenge.HTTP_01:
        return PendingAnswer("http-01", answer.token, answer.key_authorization, holds_s)
    assert answer.challenge is Challenge.TLS_ALPN_01, "others are answered by name servers"
    return PendingAnswer("tls-alpn-01", answer.name, answer.digest.hex(), holds_s)
