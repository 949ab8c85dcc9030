"""The crew: all workers of one proxy, kept complete, and moved together from generation to generation.

Promises: each seat has a worker, a dead one is replaced (with patience where it dies at birth), and until
then its neighbours accept on its sockets; what is published is live in every accepting worker when `commit`
returns; a generation that one worker can't build is refused and harms nobody. Refuses to know certificates,
the store and configuration: it is handed a way to start workers, and generations as JSON.

Theory. *Two phases.* `prepare` asks everybody who accepts, or is about to; one no refuses, and nothing has
changed. A worker that dies over the question doesn't refuse by it (it may have been killed by chance), unless
nobody is left to say yes: then the generation itself may be what kills. `commit` comes behind the point of no
return: who can't follow is killed and replaced, never waited for.
*Nobody comes late.* A new worker is brought to what is current *now*, and between the look that it is and its
membership no await stands. A change that was prepared before it came, and is committed after, finds it not
prepared, and prepares it first (remote.py).
*Old workers.* A retired one may still read hellos that it had accepted; until it says Quiet it is told of
changes, and `commit` waits for it too, but what it can't do refuses nothing, and costs it no tunnel.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol, TypeAlias

import trio

from tlsproxy import policy
from tlsproxy.errors import WorkerError
from tlsproxy.observe.log import logger
from tlsproxy.observe.metrics import Counted, Sums
from tlsproxy.observe.status import WorkerStatus
from tlsproxy.threads import in_thread_or_here
from tlsproxy.workers.backoff import Backoff
from tlsproxy.workers.introductions import introduce, pass_on
from tlsproxy.workers.messages import (
    AcceptOn,
    BundleLost,
    ConfirmAsked,
    Count,
    Said,
    Stop,
    TicketKeys,
)
from tlsproxy.workers.protocol import FromWorker
from tlsproxy.workers.remote import Place, Publication, RemoteWorker, Stage
from tlsproxy.workers.sharing import share_out
from tlsproxy.workers.testimony import sum_up, take

__all__ = ["Crew"]

_log = logger("workers")
# What a worker can't call its facts: those are ours, or arguments of structlog's own.
_TAKEN = frozenset({"event", "worker", "self", "method_name"})
Answering: TypeAlias = Awaitable[str | None]


class Bearing(Protocol):
    """What a crew needs to have workers."""

    @property
    def seats(self) -> int:
        """How many there should be."""
        ...

    @property
    def groups(self) -> tuple[int, ...]:
        """How many sockets each address has."""
        ...

    def bear(self, place: Place) -> RemoteWorker:
        """Start one. Raises OSError."""
        ...


@dataclass(eq=False)
class Crew:
    """Make it inside trio.run; `run` once. `epoch` counts the images of this supervisor."""

    birth: Bearing
    epoch: int = 1
    on_bundle_lost: Callable[[str, str], None] = lambda _bundle, _why: None
    on_confirm: Callable[[RemoteWorker, ConfirmAsked], None] = lambda _worker, _asked: None
    """Called when a client wants to confirm a change; whoever judges it answers the worker."""
    on_worker: Callable[[RemoteWorker], None] = lambda _worker: None
    """Called when a worker has started, come to another stage, or ended (it has its exit code then)."""
    current: Publication | None = None
    """What is served; set before the first worker has committed it."""
    workers: list[RemoteWorker] = field(default_factory=list)
    """All that live, old sets too; in the order in which they came."""
    sums: Sums = field(default_factory=Sums)
    """What the dead have counted, and who is above the workers."""
    _open: bool = False
    _ends_at: float = inf  # when what is left is cut (trio time), once the end was asked for
    _failed: int | None = None  # the exit code of the last one that died at birth
    _failure: WorkerError | None = None
    _ready: trio.Event = field(default_factory=trio.Event)
    _changed: trio.Event = field(default_factory=trio.Event)
    _nursery: trio.Nursery | None = None

    async def run(
        self,
        old: Iterable[RemoteWorker] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the crew until `stop` has ended it; cancelled, it kills them all.

        Reports started when each seat has a worker on standby. old: workers of the supervisor before us,
        which retire when the new ones accept. Raises WorkerError where none starts.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for worker in old:
                    self._follow(worker)
                    if worker.stage in {Stage.STARTING, Stage.GONE}:
                        worker.kill()  # it holds no connection, or is to end: who led it there is no more
                for seat in range(self.birth.seats):
                    nursery.start_soon(self._keep_seat, seat)
                nursery.start_soon(self._beat_for_ever)
                await self._wait_complete()
                task_status.started()
                await self._wait_empty()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._kill_all()

    @property
    def stopping(self) -> bool:
        """Whether the end was asked for."""
        return self._ends_at < inf

    @property
    def is_well(self) -> bool:
        """Whether somebody accepts whose loop turned lately, or the end was asked for."""
        now = trio.current_time()
        return self.stopping or any(
            worker.stage is Stage.ACCEPTING and worker.turned_lately(now) for worker in self.workers
        )

    # --- seats

    async def _keep_seat(self, seat: int) -> None:
        backoff = Backoff()
        while not self.stopping:
            worker = await self._bring_up(seat)
            came = trio.current_time()  # who didn't get here died at birth, however long that took
            if worker is not None:
                await worker.vacated.wait()  # who only asked to leave serves until its successor does
            self._reshare()
            wait_s = backoff.after(trio.current_time() - came)
            if self._is_first_start and backoff.early_deaths >= policy.WORKER_FIRST_TRIES:
                self._failure = WorkerError(self._failed)
                self._changed.set()
            if not self.stopping:
                await trio.sleep(wait_s)

    async def _bring_up(self, seat: int) -> RemoteWorker | None:
        """Start a worker and have it serve what is current; None where it died on the way."""
        try:
            worker = self.birth.bear(Place(seat, self.epoch))
        except OSError as error:
            _log.error("worker_not_started", seat=seat, why=str(error))
            return None
        self._follow(worker)
        self.on_worker(worker)
        with trio.move_on_after(policy.WORKER_START_S):
            await worker.started.wait()
        if not worker.started.is_set():
            worker.kill()
        while worker.stage is Stage.STARTING and worker.published is not self.current:
            assert self.current is not None
            why = await worker.commit(self.current)
            if why:
                _log.error("worker_cannot_serve", seat=seat, pid=worker.pid, why=why)
                worker.kill()
        if worker.stage is not Stage.STARTING:
            await worker.ended.wait()
            self._failed = worker.exit_code
            return None
        worker.leave(Stage.STANDBY)
        self._changed.set()
        self._reshare()
        return worker

    def _follow(self, worker: RemoteWorker) -> None:
        assert self._nursery is not None
        self.workers.append(worker)
        worker.on_stage = self.on_worker
        self._nursery.start_soon(self._follow_to_the_end, worker)
        if self.stopping:  # asked for before `run`
            worker.channel.send(Stop(max(self._ends_at - trio.current_time(), 0.0)))

    async def _follow_to_the_end(self, worker: RemoteWorker) -> None:
        await worker.run(self._told)
        self.workers.remove(worker)
        self.on_worker(worker)
        expected = self.stopping or worker.exit_code == 0
        take(self.sums, worker.counts)
        if not expected:
            self.sums.add("tlsproxy_worker_deaths_total")
        tell = _log.info if expected else _log.error
        tell("worker_ended", seat=worker.seat, pid=worker.pid, exit_code=worker.exit_code)
        self._changed.set()

    # --- who accepts where

    def open(self) -> None:
        """Let the crew accept, now and from now on."""
        self._open = True
        self._reshare()

    def _reshare(self) -> None:
        """Give each worker the sockets that are its own now, and those of seats where nobody is.

        Whose seat has been taken by a newer one retires; so do old ones whose seat there is no more.
        """
        if not self._open or self.stopping:
            return
        sitting = [worker for worker in self.workers if worker.stage.counts]
        taken = {worker.seat: worker for worker in sitting if self._ours(worker)}  # the newest counts
        shares = share_out(self.birth.groups, self.birth.seats, taken)
        for seat, worker in taken.items():
            if worker.stage < Stage.ACCEPTING:
                introduce(worker, self.workers)
            worker.leave(Stage.ACCEPTING)
            if worker.accepts_on != (shares[seat], set(taken)):
                worker.accepts_on = shares[seat], set(taken)
                worker.channel.send(AcceptOn(list(shares[seat]), sorted(taken)))
        for worker in sitting:
            is_filled = worker.seat in taken or worker.seat >= self.birth.seats
            if is_filled and worker is not taken.get(worker.seat):
                worker.retire(last=not self._ours(worker) or worker.seat >= self.birth.seats)

    @property
    def _is_first_start(self) -> bool:
        """Whether nobody has served yet, neither of ours nor of an image before."""
        return not self._ready.is_set() and all(map(self._ours, self.workers))

    def _ours(self, worker: RemoteWorker) -> bool:
        """Whether a worker was started by this image of the supervisor, with these sockets."""
        return worker.epoch == self.epoch

    # --- what is served

    async def prepare(self, publication: Publication) -> None:
        """Have everybody build it. Raises WorkerError where one can't, or where none is left to say so."""
        asked = [worker for worker in self.workers if worker.stage.follows]
        answers = await self._ask_all(asked, lambda worker: worker.prepare(publication))
        counted = [answers[worker] for worker in asked if worker.stage.counts or answers[worker] is None]
        if (refusal := next((why for why in counted if why), None)) is not None:
            raise WorkerError(None, refusal)
        if counted and all(why is None for why in counted) and not self.stopping:
            raise WorkerError(None, "every worker died over it")

    async def commit(self, publication: Publication) -> None:
        """Have everybody serve it; who can't is killed, and replaced by one who can. Never raises.

        A retired one has nobody in its place: it greets nobody any more.
        """
        self.current = publication
        asked = [worker for worker in self.workers if worker.stage.follows]
        answers = await self._ask_all(asked, lambda worker: worker.commit(publication))
        async with trio.open_nursery() as nursery:
            for worker, why in answers.items():
                if why:
                    _log.error("worker_cannot_follow", pid=worker.pid, generation=publication.number, why=why)
                    if worker.stage is Stage.RETIRED:  # what is open there goes on
                        nursery.start_soon(worker.turn_away)
                    else:
                        worker.kill()
                        self._reshare()

    async def _ask_all(
        self, workers: Iterable[RemoteWorker], ask: Callable[[RemoteWorker], Answering]
    ) -> dict[RemoteWorker, str | None]:
        answers: dict[RemoteWorker, str | None] = {}

        async def note(worker: RemoteWorker) -> None:
            answers[worker] = await ask(worker)

        async with trio.open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(note, worker)
        return answers

    # --- what they say

    def _told(self, worker: RemoteWorker, message: FromWorker) -> None:
        match message:
            case Said(level=level, event=event, fields=fields):
                tell = {"info": _log.info, "warning": _log.warning}.get(level, _log.error)
                facts = {name: value for name, value in fields.items() if name not in _TAKEN}
                tell(event, worker=worker.pid, **facts)
            case TicketKeys(keys=keys):
                pass_on(worker, keys, self.workers)
            case BundleLost(bundle=bundle, why=why):
                self.on_bundle_lost(bundle, why)
            case ConfirmAsked():
                self.on_confirm(worker, message)
            case _:
                _log.warning("worker_misspoke", worker=worker.pid, message=type(message).__name__)

    # --- what they count

    async def count(self) -> tuple[Sums, Counted]:
        """Add what all have counted, the dead too; and say what stands open now."""
        async with trio.open_nursery() as nursery:
            for worker in self.workers:
                if Stage.STARTING < worker.stage < Stage.GONE:
                    nursery.start_soon(worker.count)
        return self.counted()

    def counted(self) -> tuple[Sums, Counted]:
        """Give what is known of that without asking: it is some seconds old."""
        return sum_up(self.sums, (worker.counts for worker in self.workers))

    # --- hearts

    async def _beat_for_ever(self) -> None:
        last = trio.current_time()
        for beat in itertools.count(1):
            await trio.sleep(policy.HEARTBEAT_S)
            now = trio.current_time()
            # when it was us who stood still, the answers may be here and unread
            late, last = now - last > 2 * policy.HEARTBEAT_S, now
            for worker in tuple(self.workers):
                if not beat % policy.COUNT_BEATS and worker.stage < Stage.GONE:
                    worker.channel.send(Count())
                if not late and Stage.STARTING < worker.stage < Stage.GONE and not worker.beat(now):
                    _log.error("worker_stuck", seat=worker.seat, pid=worker.pid)
                    assert self._nursery is not None
                    self._nursery.start_soon(self._abort, worker)

    async def _abort(self, worker: RemoteWorker) -> None:
        """Let a stuck worker write where it stands, then end it; its neighbours have its sockets at once."""
        worker.kill(signal.SIGABRT)
        self._reshare()
        with trio.move_on_after(policy.ABORT_S):
            await worker.ended.wait()
        worker.kill()

    # --- the end

    def stop(self, seconds: float) -> None:
        """Drain everybody; what is left after `seconds` is cut. `run` returns when all have ended.

        At any time, and again to shorten it.
        """
        self._ends_at = min(self._ends_at, trio.current_time() + seconds)
        for worker in self.workers:
            worker.channel.send(Stop(seconds))
        self._changed.set()

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """Say who there is."""
        return tuple(worker.status for worker in self.workers)

    async def _wait_complete(self) -> None:
        """Return when each seat has a worker. Raises WorkerError where they die at birth."""
        while True:
            self._changed = trio.Event()
            if self._failure is not None:
                raise self._failure
            sitting = {w.seat for w in self.workers if w.stage.counts and self._ours(w)}
            if len(sitting) == self.birth.seats or self.stopping:
                self._ready.set()
                return
            await self._changed.wait()

    async def _wait_empty(self) -> None:
        while not self.stopping or self.workers:
            self._changed = trio.Event()
            with trio.move_on_at(self._ends_at + policy.STOP_GRACE_S) as in_time:
                await self._changed.wait()
            if in_time.cancelled_caught:
                await self._end_late_ones()

    async def _end_late_ones(self) -> None:
        late = tuple(self.workers)
        for worker in late:
            _log.warning("worker_killed", pid=worker.pid, why="it did not end in time")
            worker.kill()
        for worker in late:
            await worker.ended.wait()

    async def _kill_all(self) -> None:
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            await in_thread_or_here(worker.reap)
