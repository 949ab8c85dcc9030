"""A worker process: the data plane behind a channel. Started by workers/birth.py, never by a person.

    python -P -m tlsproxy.workers.process channel=FD

Promises: it does what the supervisor says, and whatever it has to tell goes there, logs too; when the
supervisor is gone it accepts nothing more, so that another may take the ports, finishes what is open, and
ends. It reads bundles from the store and writes nowhere: once it knows what it is to serve, and before it can
be reached, it gives up the power to do anything else (privilege/worker.py).

Theory. The loop that reads the channel must never wait for work, since a heartbeat must be answered whatever
else goes on: generations are prepared and committed by a second task, in a thread, in their order. Listening
sockets are closed here as soon as this worker has no more business with them: a port is free only when the
last process that inherited it has closed it.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from certstore import Bundle, Generation, StoreError, read_bundle, read_trust
from tlsproxy.errors import ProxyError
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.observe.counters import Counters
from tlsproxy.privilege.facts import Confined
from tlsproxy.privilege.worker import give_up_all_but, hide_memory
from tlsproxy.signals import let_in
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import load
from tlsproxy.workers.announcing import Announcing
from tlsproxy.workers.asking import Asking
from tlsproxy.workers.challenges import Challenges
from tlsproxy.workers.channel import Channel
from tlsproxy.workers.clients import refusing
from tlsproxy.workers.counting import Logs, counts_of
from tlsproxy.workers.guarding import guards_of
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.messages import (
    AcceptOn,
    BundleLost,
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
    Said,
    Setup,
    SiblingKeys,
    Started,
    Stop,
    TicketKeys,
    ToWorker,
    Tripped,
    TurnAway,
    decode_to_worker,
)
from tlsproxy.workers.observing import Failures, observer_of
from tlsproxy.workers.proofs import Answering, Answers
from tlsproxy.workers.serving import Serving
from tlsproxy.workers.siblings import Siblings
from tlsproxy.workers.site import capacity_of, dials_of, needs_of, site_of
from tlsproxy.workers.spawn import descriptors
from tlsproxy.workers.worker import Listening, Worker

if TYPE_CHECKING:
    from tlsproxy.observe.access import AccessLog

__all__ = ["main"]


class Voice:
    """Says things to the supervisor's log, and asks it for clients."""

    def __init__(self, channel: Channel[ToWorker]) -> None:
        self.channel = channel
        self.asking = Asking(channel.send)

    def say(self, level: str, event: str, fields: dict[str, object]) -> None:
        """Tell of an event."""
        self.channel.send(Said(level, event, fields))

    def tripped(self, upstream: str, kind: str) -> None:
        """Tell that requests to an upstream fail by `kind`, so that it is left alone; "": not any more."""
        self.channel.send(Tripped(upstream, kind))

    def bundle_lost(self, bundle: str, why: str) -> None:
        """Tell of a bundle that can't be served after all."""
        self.channel.send(BundleLost(bundle, why))

    def ticket_keys(self, keys: dict[str, str]) -> None:
        """Tell of ticket keys that were made."""
        if keys:
            self.channel.send(TicketKeys(keys))


class WorkerProcess:
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
                case SiblingKeys() | Checked() | ConfirmJudged() | Answers():
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

    def _learn(self, message: SiblingKeys | Checked | ConfirmJudged | Answers) -> None:
        """Take note of what others know: a sibling's keys, an upstream's health, what is asked."""
        if isinstance(message, Answers):
            self._worker.challenges.take(message)
            self._channel.send(Answering(message.number))
        elif isinstance(message, SiblingKeys):
            self._siblings.learn(message.seat, message.keys)
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


async def serve(fd: int) -> None:
    """Serve behind the channel `fd` until told to end."""
    channel: Channel[ToWorker] = Channel(socket.socket(fileno=fd), decode_to_worker)
    async with trio.open_nursery() as nursery:
        await nursery.start(channel.run)
        async with aclosing(channel.receive()) as messages:
            async for setup in messages:
                assert isinstance(setup, Setup), "the first word is Setup"
                await _serve(channel, setup)
                break
        channel.finish()


async def _serve(channel: Channel[ToWorker], setup: Setup) -> None:
    load(setup.engine, setup.tls)
    access = _access_log(setup)  # its code is loaded before the fence, its thread begins with the first line
    dials, confined = dials_of(setup), give_up_all_but(needs_of(setup))  # in this order: see dials_of
    voice, sweeper = Voice(channel), Sweeper()
    contexts, siblings = _contexts(setup, voice), _siblings(setup)
    announcing = Announcing(voice.ticket_keys)
    if siblings.are_there and setup.tls.tickets:
        contexts.on_made = announcing.note
    serving = Serving(contexts)
    serving.load_from(partial(read_bundle, Path(setup.store)))
    failures = Failures(voice.say)
    paths, upstreams = [path for path, _ in setup.routes], [name for _, name in setup.routes]
    counters = Counters(paths, upstreams, failures.exchange)

    def fault(code: str, error: BaseException | None) -> None:
        if code == "connection_fault":
            counters.connection_faulted()
        failures.fault(code, partial(_facts_of, error))

    learn = partial(counters.clientele.learn, is_ours=serving.is_ours)
    observer, guards = observer_of(counters, access), guards_of(setup, voice.tripped)
    with site_of(setup, sweeper, observer, guards, voice.asking.confirm, learn, dials) as site:
        challenges = Challenges(contexts.engine)
        worker = Worker(serving, site, capacity_of(setup), fault, counters, siblings, challenges)
        count = partial(counts_of, counters, worker, Logs(failures, access))
        gc.collect()
        gc.freeze()  # what was made so far stays for good, and need not be looked at again
        async with trio.open_nursery() as nursery:
            await nursery.start(sweeper.run)
            if access is not None:
                nursery.start_soon(access.run)
            if siblings.are_there:
                nursery.start_soon(announcing.run)
            process = WorkerProcess(
                voice, setup, serving, worker, siblings=siblings, confined=confined, count=count
            )
            await process.run()
            nursery.cancel_scope.cancel()
    if access is not None:
        access.flush()  # in this thread: a worker at its end has nothing else to do, and may get no other


def _contexts(setup: Setup, voice: Voice) -> Contexts:
    """Make the contexts, with none in it yet."""
    trust_of = partial(read_trust, Path(setup.store))
    return Contexts(setup.tls, setup.engine, voice.bundle_lost, setup.clients, trust_of)


def _siblings(setup: Setup) -> Siblings:
    """Find the mailboxes that were inherited."""
    collecting, posting = (
        [socket.socket(fileno=fd) for fd in fds] for fds in (setup.mailboxes, setup.siblings)
    )
    return Siblings(setup.seat, collecting, posting, time.monotonic)


def _access_log(setup: Setup) -> AccessLog | None:
    """Make the access log, on the stderr that we share with the supervisor; None where it is off."""
    if setup.log.access == "off" or sys.stderr is None:
        return None
    from tlsproxy.observe.access import AccessLog  # nobody pays for it who doesn't want it
    from tlsproxy.observe.outlet import Outlet, manner_of

    stderr = sys.stderr.fileno()
    return AccessLog(setup.log, Outlet(stderr), manner_of(setup.log.format, stderr), time.time)


def _facts_of(error: BaseException | None) -> dict[str, object]:
    """Give a traceback, which holds no values of variables."""
    return {} if error is None else {"exception": "".join(traceback.format_exception(error)).rstrip()}


def main(arguments: Sequence[str]) -> None:
    """Be a worker."""
    hide_memory()  # from the first moment: it will hold keys
    faulthandler.enable()  # a worker that is stuck is asked by SIGABRT to write where it stands
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    let_in()
    trio.run(serve, descriptors(arguments)["channel"])


if __name__ == "__main__":
    main(sys.argv[1:])
