"""What a worker does at each word of its supervisor: serve a generation, accept, answer, retire, end.

Promises: it does what the supervisor says; when the supervisor is gone it accepts nothing more, so that
another may take the ports, finishes what is open, and ends.

Theory. The loop that reads the channel must never wait for work, since a heartbeat must be answered whatever
else goes on: generations are prepared and committed by a second task, in a thread, in their order. Listening
sockets are closed here as soon as this worker has no more business with them: a port is free only when the
last process that inherited it has closed it.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from certstore import Bundle, Generation, StoreError
from tlsproxy.errors import ProxyError
from tlsproxy.privilege.facts import Confined
from tlsproxy.workers.clients import refusing
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.messages import (
    AcceptOn,
    Checked,
    CloseTunnels,
    Commit,
    Committed,
    ConfirmJudged,
    Count,
    Counts,
    EndBundles,
    EndClients,
    Leaving,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Quiet,
    Retire,
    Setup,
    SiblingKeys,
    Started,
    Stop,
    TurnAway,
)
from tlsproxy.workers.proofs import Answering, Answers
from tlsproxy.workers.serving import Serving
from tlsproxy.workers.siblings import Siblings
from tlsproxy.workers.stapled import Staples
from tlsproxy.workers.voice import Voice
from tlsproxy.workers.worker import Listening, Worker

__all__ = ["Duties"]


class Duties:
    """Joins the channel to the data plane."""

    def __init__(  # noqa: PLR0913  each has another owner
        self,
        voice: Voice,
        setup: Setup,
        serving: Serving,
        worker: Worker,
        *,
        siblings: Siblings,
        confined: Confined,
        count: Callable[[], Counts],
    ) -> None:
        self._confined, self._siblings = confined, siblings
        self._channel, self._asking, self._say = voice.channel, voice.asking, voice.say
        self._setup, self._serving, self._worker = setup, serving, worker
        self._count = count
        self._sockets = [socket.socket(fileno=one.fd) for one in setup.listening]
        self._next: Generation | Bundle | None = None
        self._out, self._orders = trio.open_memory_channel[Prepare | Commit](1000)

    async def run(self) -> None:
        """Obey until stopped, or retired and the last connection has ended."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._leave_at_signal)
            nursery.start_soon(self._publish)
            if self._setup.tls.tickets:
                nursery.start_soon(self._renew_tickets)
            async with trio.open_nursery() as working:
                await working.start(self._worker.run)
                nursery.start_soon(self._listen, nursery)
                self._learn(self._setup.answers)
                if self._setup.staples is not None:
                    self._learn(self._setup.staples)
                self._channel.send(Started(os.getpid(), self._confined))
            nursery.cancel_scope.cancel()
        self._channel.send(self._count())

    async def _listen(self, nursery: trio.Nursery) -> None:
        async for message in self._channel.receive():
            match message:
                case Ping(number=number):
                    worker = self._worker
                    self._channel.send(Pong(number, worker.open, worker.generations()))
                case Count():
                    self._channel.send(self._count())
                case Prepare() | Commit():
                    self._out.send_nowait(message)
                case AcceptOn(places=places, seats=seats):
                    self._siblings.meet(seats)
                    self._worker.accept_on([self._listening(place) for place in places])
                case SiblingKeys() | Checked() | ConfirmJudged() | Answers() | Staples():
                    self._learn(message)
                case Retire(last=last):
                    self._worker.retire(last=last)
                    self._close_sockets()
                    nursery.start_soon(self._tell_when_quiet)
                case EndClients():
                    nursery.start_soon(self._end_clients, message)
                case TurnAway() | CloseTunnels() | EndBundles() | Stop():
                    self._end(message)
        self._stop(self._setup.limits.drain_s)  # the supervisor is gone

    def _learn(self, message: SiblingKeys | Checked | ConfirmJudged | Answers | Staples) -> None:
        """Take note of what others know: a sibling's keys, an upstream's health, what is asked."""
        if isinstance(message, Answers):
            self._worker.challenges.take(message)
            self._channel.send(Answering(message.number))
        elif isinstance(message, SiblingKeys):
            self._siblings.learn(message.seat, message.keys)
        elif isinstance(message, Staples):
            self._serving.staple(message.staples)
        elif isinstance(message, ConfirmJudged):
            self._asking.judged(message)
        elif (guards := self._worker.guards) is not None:
            guards.note(message.upstream, message.path, message.retry_s, message.holds_s)

    def _end(self, message: TurnAway | CloseTunnels | EndBundles | Stop) -> None:
        match message:
            case TurnAway():
                self._worker.turn_away()
            case CloseTunnels(code=code):
                self._worker.close_tunnels(code)
            case EndBundles(bundles=bundles, seconds=seconds, code=code):
                self._worker.end_bundles(bundles, seconds, code)
            case Stop(seconds=seconds):
                self._stop(seconds)

    async def _end_clients(self, message: EndClients) -> None:
        """Read the sets in a thread: a list may be long."""
        refuses = await trio.to_thread.run_sync(refusing, Path(self._setup.store), message.trust)
        self._worker.end_clients(refuses, message.seconds, message.code)

    def _stop(self, seconds: float) -> None:
        self._worker.stop(seconds)
        self._close_sockets()

    def _listening(self, place: int) -> Listening:
        at = self._setup.listening[place]
        return Listening(self._sockets[place], at.kind, at.https_port)

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()

    async def _publish(self) -> None:
        """Prepare and commit generations, one after the other."""
        async for order in self._orders:
            act = self._prepare if isinstance(order, Prepare) else self._commit
            why = await _in_a_thread(partial(_attempt, partial(act, order)))
            answer = Prepared if isinstance(order, Prepare) else Committed
            self._channel.send(answer(order.number, why))

    def _prepare(self, order: Prepare | Commit) -> None:
        assert isinstance(order, Prepare)
        self._next = None
        if order.in_memory:
            self._next = Memory(self._setup.memory_fd).bundle()
        else:
            self._next = Generation.from_json(msgspec.json.decode(order.generation))
            self._serving.prepare(self._next)

    def _commit(self, order: Prepare | Commit) -> None:
        match self._next:
            case Generation() as generation if generation.number == order.number:
                self._serving.commit(generation)
            case Bundle() as bundle if not order.number:
                self._serving.serve_in_memory(bundle)
            case _:
                raise RuntimeError("it was not prepared")
        self._next = None

    async def _renew_tickets(self) -> None:
        """Let no ticket key live longer than configured: what it resumed is as secret as it is."""
        while True:
            await trio.sleep(self._setup.ticket_s)
            with suppress(RuntimeError):  # no thread is to be had: the next turn tries again
                failed = await trio.to_thread.run_sync(self._serving.renew_tickets)
                if failed:  # most often for the same reason
                    facts: dict[str, object] = {"bundles": len(failed), "why": next(iter(failed.values()))}
                    self._say("warning", "tickets_not_renewed", facts)

    async def _tell_when_quiet(self) -> None:
        await self._worker.wait_greeted()
        self._channel.send(Quiet())

    async def _leave_at_signal(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Have ourselves replaced, when a person ends this process by hand; the supervisor says how."""
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self._channel.send(Leaving())


async def _in_a_thread(act: Callable[[], str]) -> str:
    try:
        return await trio.to_thread.run_sync(act)
    except RuntimeError:  # no thread is to be had: the loop stands still meanwhile, but nobody is lost
        return act()


def _attempt(act: Callable[[], None]) -> str:
    """Do it; say in words why it failed, "" where it didn't."""
    try:
        act()
    except (ProxyError, StoreError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  the border around one change: it is refused, and this worker serves on
        return f"{type(error).__name__}: {error}"
    return ""
