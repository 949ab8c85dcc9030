"""The composition root of the supervisor: builds all from a configuration, runs it in one tree of tasks.

Order at start: sockets first (a taken port is told before anything is written, and early clients wait in the
backlog), then root's power is given up (privilege/), then the examiner, which warms up meanwhile, then the
store; house.py goes on from there. After a reload, the sockets and the lock are found again (handover.py).
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from certstore import Receipt, Store
from tlsproxy.boottime import boot_clock
from tlsproxy.config import Config
from tlsproxy.controller import TellReceipt
from tlsproxy.device import comparison
from tlsproxy.handover import HandedOver
from tlsproxy.house import House, Listeners, Program
from tlsproxy.listening import Doors, Found
from tlsproxy.metering import first_sums
from tlsproxy.notify.helper import Notifier
from tlsproxy.observe.events import EventLog
from tlsproxy.observe.keylog import KEY_LOG_HINT
from tlsproxy.observe.log import alone, logger
from tlsproxy.privilege.supervisor import Belongings, Kept, settle
from tlsproxy.signals import Gate, end_is_asked
from tlsproxy.telling import Teller
from tlsproxy.threads import in_thread_at_last, in_thread_or_here
from tlsproxy.tls.engines import resolve
from tlsproxy.upstreams import Upstreams
from tlsproxy.upstreamterms import terms_of
from tlsproxy.workers.answering import Answering
from tlsproxy.workers.birth import Birth, Mailboxes, wanted_workers
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.examiner import ExaminerProcess
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.papers import Papers
from tlsproxy.workers.publishing import Publishing
from tlsproxy.workers.stapling import Stapling

__all__ = ["Listeners", "Program", "now", "run"]

_log = logger("app")


def now() -> datetime:
    """Tell the wall clock's time: the only place that asks for it, but for the command line."""
    return datetime.now(UTC)


def _untold(_receipt: Receipt) -> None:
    """Tell nobody beside the log."""


async def run(
    config: Config,
    *,
    on_receipt: TellReceipt = _untold,
    program: Program | None = None,
    task_status: trio.TaskStatus[Listeners] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the proxy until SIGTERM, SIGINT or cancellation; reports its listeners once it serves.

    program: where this process is one of its own; without it a reload is refused. Raises ProxyError or
    StoreError where it can't start: a taken port, a store that is held or can't be written, workers that die.
    """
    resolve(config.tls.engine, config.tls.policy)  # raises where it couldn't serve anybody
    before = program.handed_over if program is not None else None
    gate = Gate()
    with ExitStack() as stack:
        stack.enter_context(gate.in_force())
        doors, notifier, kept = _settled(config, program, stack)
        memory = stack.enter_context(closing(Memory(before.memory_fd if before is not None else None)))
        papers = stack.enter_context(closing(Papers(terms_of(config.routes))))
        upstreams = _upstreams(config, before, papers)
        mailboxes = Mailboxes.make(seats := wanted_workers(config.workers), stack)
        answering, stapling = Answering(now, lambda: crew.workers), Stapling(now, lambda: crew.workers)
        pending = (upstreams.checked, answering.pending, papers, stapling.pending)
        birth = Birth(config, doors, memory, seats, mailboxes, *pending)
        crew = _crew(birth, before)
        examiner = stack.enter_context(
            ExaminerProcess(config.tls.policy, config.tls.engine, comparison(config))
        )
        publishing = Publishing(crew, memory, examiner)
        async with _held(config, before, publishing) as store:
            if program is not None:
                _tell_surroundings(program, kept, config.tls.key_log)
            await House(
                config=config,
                clock=now,
                doors=doors,
                memory=memory,
                crew=crew,
                publishing=publishing,
                store=store,
                examiner=examiner,
                on_receipt=on_receipt,
                program=program,
                gate=gate,
                kept=kept,
                teller=Teller(EventLog(now, before.events if before is not None else None)),
                notifier=notifier,
                upstreams=upstreams,
                answering=answering,
                stapling=stapling,
            ).run(task_status)


def _crew(birth: Birth, before: HandedOver | None) -> Crew:
    """Make the crew, which goes on counting where the image before has ended."""
    if before is None:
        return Crew(birth, sums=first_sums(()))
    crew = Crew(birth, epoch=before.epoch + 1, sums=first_sums(before.sums))
    crew.sums.clientele.add(before.asked, before.strict, before.refused)
    return crew


def _settled(
    config: Config, program: Program | None, stack: ExitStack
) -> tuple[Doors, Notifier, Kept | None]:
    """Do, in this order, all that must be done before the fence, and enter it."""
    with alone():  # a fence is a thread's own
        before = program.handed_over if program is not None else None
        doors = _doors(config, before, program.inherited if program is not None else ())
        stack.callback(doors.close)
        notifier = _notifier(config, program)
        stack.callback(notifier.close)
        kept = _settle(config, program, doors)
    notifier.landlock = kept.landlock if kept is not None else 0
    return doors, notifier, kept


def _upstreams(config: Config, before: HandedOver | None, papers: Papers) -> Upstreams:
    """Make who watches the services behind us; what was known of them before a reload is known still."""
    return Upstreams(config.routes, now, before.upstreams if before is not None else (), papers.terms)


@asynccontextmanager
async def _held(config: Config, before: HandedOver | None, publishing: Publishing) -> AsyncIterator[Store]:
    """Hold the store while the block runs."""
    opening = partial(
        Store.open,
        config.store,
        clock=now,
        boot_clock=boot_clock(),
        publisher=publishing,
        lock_wait_s=5.0,
        held=before.lock_fd if before is not None else None,
    )
    store = await in_thread_at_last(opening, end_is_asked)
    publishing.load_from(store.bundle)
    try:
        yield store
    finally:
        with trio.CancelScope(shield=True):
            await in_thread_or_here(store.close)


def _notifier(config: Config, program: Program | None) -> Notifier:
    """Start who runs hooks, outside the fence that comes next, or find him again."""
    before = program.handed_over if program is not None else None
    account = program.account if program is not None else None
    helper = before.helper if before is not None else None
    notifier = Notifier(config.notify, account, helper, reloaded=before is not None, acme=config.acme)
    if before is not None:
        notifier.begin_after(before.told)
    return notifier


def _settle(config: Config, program: Program | None, doors: Doors) -> Kept | None:
    """Give up what power isn't needed; None where this process isn't ours alone."""
    if program is None:
        return None
    is_shared = bool(config.control.users or config.control.groups)
    belongings = Belongings(config.store, config.runtime, config.inbox, is_shared, config.tls.key_log)
    before = program.handed_over
    return settle(program.account, belongings, doors.sockets, before.kept if before is not None else None)


def _tell_surroundings(program: Program, kept: Kept | None, key_log: Path | None) -> None:
    """Tell of what can only be told behind the fence: before it no thread may begin, nor a log."""
    if key_log is not None:
        _log.warning("key_log_written", path=str(key_log), hint=KEY_LOG_HINT)
    if program.key_log:
        _log.warning("key_log_refused", path=program.key_log, hint="unset SSLKEYLOGFILE")
    if kept is None:
        return
    facts = kept.confined
    if facts.uid == 0:
        _log.warning("still_root", hint='name a user to become: user = "tlsproxy", or --user')
    _log.info("confined", uid=facts.uid, capabilities=facts.capabilities, landlock=facts.landlock_words)


def _doors(config: Config, before: HandedOver | None, inherited: Sequence[socket.socket]) -> Doors:
    """Open the listeners, or find them again."""
    handed_over = []
    for state in before.doors if before is not None else ():
        groups = tuple(tuple(socket.socket(fileno=fd) for fd in group) for group in state.groups)
        handed_over.append(Found(state.address, state.kind, groups))
    size = wanted_workers(config.workers)
    return Doors.open(config.listeners, size, handed_over=handed_over, inherited=inherited)
