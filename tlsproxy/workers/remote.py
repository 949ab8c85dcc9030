"""One worker process as the supervisor sees it: its state, its answers, its end.

Promises: a question (`prepare`, `commit`) is answered, also by a worker that dies meanwhile; `ended` is set
once the process was reaped, never before. Refuses to know why a worker is wanted, and what comes after it:
that is the crew's business.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

import msgspec
import trio

from tlsproxy import policy, policy_service
from tlsproxy.observe.status import WorkerStatus
from tlsproxy.privilege.facts import Confined
from tlsproxy.workers.channel import Channel
from tlsproxy.workers.messages import (
    Checked,
    Commit,
    Committed,
    Count,
    Counts,
    Leaving,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Quiet,
    Retire,
    Said,
    Started,
    Tripped,
    TurnAway,
)
from tlsproxy.workers.proofs import Answering, Answers
from tlsproxy.workers.protocol import FromWorker
from tlsproxy.workers.stapled import Staples
from tlsproxy.workers.testimony import Names, believed, fence_believed

__all__ = ["Place", "Publication", "RemoteWorker", "Stage"]

_LATE = "it took too long"


class Stage(IntEnum):
    """How far a worker's life has come; it only goes forward."""

    STARTING = 0  # spawned, not heard of
    STANDBY = 1  # it serves the current generation, and accepts nowhere yet
    ACCEPTING = 2
    RETIRED = 3  # somebody else accepts in its place; hellos may still be read here
    QUIET = 4  # none is read any more: new generations don't matter to it
    GONE = 5  # stuck or dying; not to be spoken to

    @property
    def counts(self) -> bool:
        """Whether a change is live only once it is live here."""
        return self in {Stage.STANDBY, Stage.ACCEPTING}

    @property
    def follows(self) -> bool:
        """Whether it is told of changes."""
        return Stage.STANDBY <= self <= Stage.RETIRED


@dataclass(frozen=True, slots=True)
class Publication:
    """What is, or is to be, served: a generation's number, JSON, count of bundles; or what lies in memory."""

    number: int
    generation: bytes = b"null"
    bundles: int = 1
    in_memory: bool = False

    @property
    def patience_s(self) -> float:
        """How long a worker may take over it."""
        return policy.PREPARE_S + self.bundles * policy.PREPARE_EACH_S


@dataclass(frozen=True, slots=True)
class Place:
    """Whose sockets a worker has, and which image of the supervisor (counted from 1) has started it."""

    seat: int
    epoch: int


class _Answer:
    """An answer that is waited for: `why` is "" for yes, None where the worker is gone."""

    __slots__ = ("event", "why")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.why: str | None = None


class RemoteWorker:
    """Made for a process that was just spawned or handed over; `run` once, in a task of its own."""

    def __init__(self, place: Place, pid: int, channel: Channel[FromWorker], reap: Callable[[], int]) -> None:
        """Take charge of a child and of our end of its channel; `reap` waits and gives its exit code.

        Raises OSError where no descriptor is left; the child and the channel are still the caller's then.
        """
        self._pidfd = os.pidfd_open(pid)
        self.seat, self.epoch, self.pid = place.seat, place.epoch, pid
        self.reap = reap
        self.channel = channel
        self.stage = Stage.STARTING
        self.connections = 0
        self.generations: tuple[tuple[int, int], ...] = ()
        self.exit_code: int | None = None
        self.on_stage: Callable[[RemoteWorker], None] = lambda _worker: None
        """Called when it has come to another stage."""
        self.accepts_on: tuple[tuple[int, ...], set[int]] | None = None
        """The sockets that it was told to accept on, and whose seats are taken."""
        self.confined: Confined | None = None
        """What it has given up; None where it didn't tell us."""
        self.counts: Counts | None = None
        """What it has said last that it counted, as far as it is believed."""
        self.ticket_keys: dict[str, str] = {}
        """The names of its ticket keys, as it says, each with the bundle that it is for."""
        self.names = Names()
        """What it may count by."""
        self.tripped: dict[str, str] = {}
        """Upstreams that it leaves alone, and by what requests to them fail, as far as it is believed."""
        self.answering = 0
        """Which answers to ACME authorities it gives, by the number that they were sent with."""
        self.published: Publication | None = None
        """What it has committed."""
        self.asked_at: float | None = None
        """Since when (trio time) a heartbeat is unanswered."""
        self.started, self.vacated, self.ended = trio.Event(), trio.Event(), trio.Event()
        """It is there, or gone; its seat needs somebody else; the process is reaped."""
        self._counted = trio.Event()  # set, and replaced, when it has said so anew
        self._answered = trio.Event()  # set, and replaced, when it gives other answers; set when it retires
        self._silent = trio.Event()  # it says nothing more
        self._quiet = trio.Event()  # it reads no hello any more, or is gone
        self._is_late = False  # it owes an answer since it is retired, and is not waited for again
        self._prepared: int | None = None
        self._answers: dict[tuple[str, int], _Answer] = {}
        self._beats = 0

    def __repr__(self) -> str:
        return f"<RemoteWorker {self.pid} seat={self.seat} {self.stage.name.lower()}>"

    @property
    def status(self) -> WorkerStatus:
        """Say it to people."""
        return WorkerStatus(
            self.pid,
            self.seat,
            self.epoch,
            self.stage.name.lower(),
            self.connections,
            generation=(self.published.number or None) if self.published is not None else None,
            generations=self.generations,
        )

    async def run(self, told: Callable[[RemoteWorker, FromWorker], None]) -> None:
        """Follow the worker until its process has ended; `told` gets what isn't an answer."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.channel.run)
                nursery.start_soon(self._listen, told)
                await trio.lowlevel.wait_readable(self._pidfd)
                self.leave(Stage.GONE)  # its seat is empty, but what it said last may not be read yet
                with trio.move_on_after(policy.LAST_WORDS_S):
                    await self._silent.wait()
                nursery.cancel_scope.cancel()
        finally:
            os.close(self._pidfd)
            self.leave(Stage.GONE)
            self.channel.close()
        self.exit_code = self.reap()
        self.ended.set()

    async def _listen(self, told: Callable[[RemoteWorker, FromWorker], None]) -> None:
        try:
            async for message in self.channel.receive():
                match message:
                    case Started(confined=confined):
                        self.confined = fence_believed(confined)
                        self.started.set()
                    case Pong() | Counts() | Tripped() | Answering():
                        self._note(message)
                    case Prepared(number=number, why=why) | Committed(number=number, why=why):
                        self._answer(type(message).__name__, number, why)
                    case Leaving():
                        self.vacated.set()
                    case Quiet() if self.stage >= Stage.RETIRED:
                        self.leave(Stage.QUIET)
                    case Quiet():
                        self._disown(told, "it follows no changes, and accepts")
                    case _:
                        told(self, message)
        except ValueError as error:
            self._disown(told, str(error))
        self._silent.set()
        self.leave(Stage.GONE)
        await trio.sleep(policy.STOP_GRACE_S)
        self.kill()  # it has left the channel and lives on: nobody could stop it otherwise

    def _note(self, message: Pong | Counts | Tripped | Answering) -> None:
        """Keep what it says of itself and its work."""
        match message:
            case Pong(connections=connections, generations=generations):
                self.connections, self.generations = connections, tuple(generations)
                self.asked_at = None
            case Counts():
                self.counts = believed(message, self.names)
                self._counted.set()
                self._counted = trio.Event()
            case Answering(number=number):
                self.answering = number
                self._answered.set()
                if self.stage < Stage.RETIRED:
                    self._answered = trio.Event()
            case Tripped(upstream=upstream, kind=kind) if upstream in self.names.upstreams:
                self.tripped[upstream] = kind

    def _disown(self, told: Callable[[RemoteWorker, FromWorker], None], why: str) -> None:
        """Be rid of what speaks nonsense: whatever runs there, it is not a worker of ours any more."""
        told(self, Said("error", "worker_misspoke", {"why": why}))
        self.kill()

    # --- what it is asked

    async def prepare(self, publication: Publication) -> str | None:
        """Have it build what a publication needs: "" when done, else why not; None where it is gone."""
        self._prepared = None
        order = Prepare(
            publication.number, msgspec.Raw(publication.generation), in_memory=publication.in_memory
        )
        why = await self._ask(order, "Prepared", publication)
        if why == "":
            self._prepared = publication.number
        return why

    async def commit(self, publication: Publication) -> str | None:
        """Have it serve a publication, prepared first where that is missing; answers as `prepare`."""
        if self._prepared != publication.number:
            why = await self.prepare(publication)
            if why != "":
                return why
        why = await self._ask(Commit(publication.number), "Committed", publication)
        if why == "":
            self.published, self._prepared = publication, None
        return why

    async def _ask(self, order: Prepare | Commit, kind: str, publication: Publication) -> str | None:
        if self.stage is Stage.GONE:
            return None
        if self._is_late:
            return _LATE
        answer = self._answers[kind, publication.number] = _Answer()
        self.channel.send(order)
        with trio.move_on_after(publication.patience_s):
            await answer.event.wait()
            return answer.why
        if self.stage is Stage.RETIRED:  # whether it is stuck is found out by its heart
            self._is_late = True
            return _LATE
        self.kill()
        return None

    def _answer(self, kind: str, number: int, why: str | None) -> None:
        answer = self._answers.pop((kind, number), None)
        if answer is not None:
            answer.why = why
            answer.event.set()

    async def count(self) -> None:
        """Have it say what it has counted, within `policy.COUNT_PATIENCE_S`."""
        self.channel.send(Count())
        with trio.move_on_after(policy.COUNT_PATIENCE_S):
            await self._counted.wait()

    async def wait_answering(self, number: int) -> None:
        """Return once it gives the answers with this number, or accepts no more."""
        while self.answering < number and self.stage < Stage.RETIRED:
            await self._answered.wait()

    # --- what it is told

    def tell(self, message: Checked | Answers | Staples) -> None:
        """Tell it of an upstream, what ACME authorities look for, or what it is to staple."""
        self.channel.send(message)

    def retire(self, *, last: bool = False) -> None:
        """Tell it that another worker has its sockets; `last`: but not its mailbox."""
        if self.stage < Stage.RETIRED:
            self.channel.send(Retire(last))
            self.leave(Stage.RETIRED)

    async def turn_away(self) -> None:
        """Have a retired worker greet nobody any more, within `policy_service.TURN_AWAY_S`.

        One of an older version doesn't know that; there who is about to say hello is still served.
        """
        self.channel.send(TurnAway())
        with trio.move_on_after(policy_service.TURN_AWAY_S):
            await self._quiet.wait()
        self.leave(Stage.QUIET)

    def beat(self, now: float) -> bool:
        """Ask whether its loop turns; False where it has owed the answer for too long (trio time)."""
        if self.asked_at is not None:
            return self.turned_lately(now)
        self._beats += 1
        self.asked_at = now
        self.channel.send(Ping(self._beats))
        return True

    def turned_lately(self, now: float) -> bool:
        """Say whether it owes no answer, or not for long (trio time)."""
        return self.asked_at is None or now - self.asked_at < policy.WORKER_STUCK_S

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it by force."""
        self.leave(Stage.GONE)
        if not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)  # it isn't reaped yet, so the number is still its own

    def leave(self, stage: Stage) -> None:
        """Go on to a later stage; who leaves its seat is missed there, and who is gone answers no more."""
        before, self.stage = self.stage, max(self.stage, stage)
        if self.stage is not before:
            self.on_stage(self)
        if self.stage >= Stage.RETIRED:
            self.vacated.set()
            self._answered.set()
        if self.stage >= Stage.QUIET:
            self._quiet.set()
        if self.stage is Stage.GONE:
            self.started.set()
            for kind, number in tuple(self._answers):
                self._answer(kind, number, None)
