"""All that the supervisor runs once its sockets and its store are open, in one tree of tasks.

Order: signals are listened to first, then workers on standby, then a certificate to serve, then accepting,
and only then the control socket, the inbox and the watched directories, whose candidates need something to
publish to. At SIGTERM or SIGINT the workers accept nothing more, open exchanges end, and after `drain_s` what
is left is cut. At SIGHUP, or when asked, the process executes itself anew (reload.py), and finds its sockets
and workers again.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import trio

from certstore import Finding, Generation, Receipt, Store, found
from tlsproxy import device, hardware
from tlsproxy.acmeconfigured import Configured
from tlsproxy.acmekeeping import AcmeKeeper
from tlsproxy.acmelookout import Lookout
from tlsproxy.acmeoutlook import Door
from tlsproxy.authoritykeeping import AuthorityKeeper, audited
from tlsproxy.caretaker import Caretaker
from tlsproxy.completing import completing
from tlsproxy.config import Config, parse_listen
from tlsproxy.config.clientauth import rule_words
from tlsproxy.confirmation import ProbationKeeper
from tlsproxy.control import metrics_port
from tlsproxy.control import server as control_server
from tlsproxy.control.backing import Backing
from tlsproxy.control.peers import Access
from tlsproxy.controller import Controller, TellReceipt
from tlsproxy.errors import ControlError
from tlsproxy.handover import HandedOver
from tlsproxy.inboxes import inboxes_of
from tlsproxy.ladder import Ladder
from tlsproxy.listening import Doors
from tlsproxy.metering import Meter
from tlsproxy.net.addresses import stable_addresses
from tlsproxy.net.servicemanager import keep_informed, notify
from tlsproxy.notify.helper import Notifier
from tlsproxy.observe.audit import ITSELF, AuditLog
from tlsproxy.observe.log import logger
from tlsproxy.observe.metrics import Key
from tlsproxy.observe.status import ConfinementStatus, ListenerStatus, Process
from tlsproxy.privilege.account import Account
from tlsproxy.privilege.supervisor import Kept
from tlsproxy.provisioning import FactoryDesk
from tlsproxy.reload import Reloader
from tlsproxy.reporting import Reporter
from tlsproxy.requestkeeping import keep_requests
from tlsproxy.resetting import Resetter
from tlsproxy.revocation import keep_revocations, keeper_for
from tlsproxy.signals import SIGNALS, Gate
from tlsproxy.telling import Teller
from tlsproxy.tls.engines import resolve
from tlsproxy.trustkeeping import TrustKeeper
from tlsproxy.unitguard import UnitGuard
from tlsproxy.upstreams import Upstreams
from tlsproxy.wire import WireConfirmation
from tlsproxy.workers.answering import Answering
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.ending import close_oldest, generations_held
from tlsproxy.workers.examiner import ExaminerProcess
from tlsproxy.workers.inheritance import workers_before
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.publishing import Publishing
from tlsproxy.workers.remote import RemoteWorker
from tlsproxy.workers.stapling import Stapling

if TYPE_CHECKING:
    from tlsproxy.revocationkeeping import RevocationKeeper

__all__ = ["House", "Listeners", "Program"]

_log = logger("app")
Listeners = tuple[ListenerStatus, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """This process is the command `tlsproxy run`, so it may be executed anew, and confined for good.

    account: whom to become once sockets are open. key_log: where sessions' secrets were asked for in vain.
    """

    handed_over: HandedOver | None = None
    inherited: Sequence[socket.socket] = ()
    account: Account | None = None
    key_log: str = ""


@dataclass(slots=True)
class House:
    """All that runs once the sockets and the store are open."""

    config: Config
    clock: Callable[[], datetime]
    doors: Doors
    memory: Memory
    crew: Crew
    publishing: Publishing
    store: Store
    examiner: ExaminerProcess
    on_receipt: TellReceipt
    program: Program | None
    gate: Gate
    kept: Kept | None
    teller: Teller
    notifier: Notifier
    upstreams: Upstreams
    answering: Answering
    stapling: Stapling
    _control_fd: int = -1
    _hangup: trio.Event = field(default_factory=trio.Event)
    _probation: ProbationKeeper = field(init=False)
    _ladder: Ladder = field(init=False)
    _guard: UnitGuard = field(init=False)
    _trust: TrustKeeper = field(init=False)
    _acme: AcmeKeeper = field(init=False)
    _revocation: RevocationKeeper | None = None
    _reporter: Reporter = field(init=False)

    async def run(self, task_status: trio.TaskStatus[Listeners]) -> None:
        """Run everything until a signal has ended it in order."""
        before = self.program.handed_over if self.program is not None else None
        self._probation = ProbationKeeper(self.store)
        here = (self.config, self.doors, self.crew, self.publishing, self.store, self.upstreams)
        self._reporter = Reporter(*here, self.teller)
        since = before.since if before is not None else self.clock()
        controller = self._controller(Process(os.getpid(), since, epoch=self.crew.epoch))
        caretaker = self._caretaker(controller)
        self._watch_expiry(controller, caretaker)
        resetter = self._watch_unit(controller, caretaker)
        self._reporter.attach(controller, before)
        async with trio.open_nursery() as nursery:
            # before anybody is told that we serve: who then asks for the end must get an orderly one
            await nursery.start(self._obey_signals, nursery.cancel_scope)
            nursery.start_soon(self.upstreams.run, lambda: self.crew.workers)
            ended = trio.Event()
            await nursery.start(self._work, workers_before(before), ended)
            nursery.start_soon(keep_informed, self._reporter.words, lambda: self.crew.is_well)
            await self._first_start(caretaker)
            self.crew.open()
            self.doors.close_left()
            close_oldest(self.crew.workers, self.crew.epoch)
            async with trio.open_nursery() as keeping:
                keeping.start_soon(caretaker.run)
                keeping.start_soon(self._reporter.look_at_rung, controller)
                self._ask_authorities(keeping)
                keeping.start_soon(self.notifier.run, self.teller.events)
                self._watch_probations(keeping, controller)
                await self._start_control(keeping, controller, resetter)
                if self.config.metrics is not None:
                    keeping.start_soon(metrics_port.run, self.config.metrics, controller.metrics)
                for inbox in resetter.inboxes:
                    await keeping.start(inbox.run)
                self._reporter.serving(first=before is None)
                keeping.start_soon(self._reload_when_asked, controller)
                notify(f"READY=1\nSTATUS={self._reporter.words()}")
                task_status.started(self.doors.statuses)
                await ended.wait()
                keeping.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        _log.info("stopped")

    def _watch_expiry(self, controller: Controller, caretaker: Caretaker) -> None:
        """Have certificates that end told, here and to whom the device's maker named."""
        self._ladder = Ladder(self.store, self.clock, partial(self._reporter.step, controller.meter))
        caretaker.look_at_expiry = self._ladder.turn
        tell = audited(controller.audit, partial(self._reporter.trouble, controller.meter))
        caretaker.look_at_requests = partial(keep_requests, self.store, tell)
        self._trust = TrustKeeper(self.store, self._asked_sets, self.clock, partial(tell, None, {}))
        caretaker.look_at_trust = self._trust.turn
        if self.config.identity.device_ca:
            caretaker.authority_for = AuthorityKeeper(self.store, tell).turn
            self.store.device_ca.on_kept = caretaker.hurry
        trouble = partial(self._reporter.trouble, controller.meter)
        self.notifier.on_report, self.notifier.on_finding = controller.meter.count_notice, trouble
        told = (controller, trouble, controller.audit)
        self._acme = AcmeKeeper(self.store, self.answering, self.clock, *told)
        self._acme.on_try = controller.meter.count_acme
        self._acme.herald.tell = self.teller.acme
        self._acme.configured = Configured(self.config.acme.enrolment)
        if self.config.acme.dns_hook:
            self._acme.run_hook = self.notifier.run_dns_hook
        self._revocation = keeper_for(self.config, self.store, self.examiner, self.clock, self.stapling)
        if self._revocation is not None:
            self._revocation.tell, self._revocation.on_asked = trouble, controller.meter.count_revocation
            self._revocation.on_moved = partial(_audit_moved, controller.audit)

    async def _first_start(self, caretaker: Caretaker) -> None:
        """Have all that a first client gets: a certificate, and the staple that it may demand."""
        await caretaker.first_start()
        if self._revocation is not None:
            await self._revocation.recall()

    def _ask_authorities(self, nursery: trio.Nursery) -> None:
        """Have certificates ordered, and asked about."""
        nursery.start_soon(self._acme.run)
        nursery.start_soon(keep_revocations, self._revocation, self.store)

    def _watch_probations(self, nursery: trio.Nursery, controller: Controller) -> None:
        """Have changes go back that nobody confirms, and words judged that confirm them over the network."""
        nursery.start_soon(self._probation.run, controller.tell_gone_back)
        wire = WireConfirmation(self.store, controller.confirm_by_wire)
        self.crew.on_confirm = wire.ask
        nursery.start_soon(wire.run)

    def _watch_unit(self, controller: Controller, caretaker: Caretaker) -> Resetter:
        """Have a store that was copied here get a key of its own before it is served; gives what resets."""
        trouble = partial(self._reporter.trouble, controller.meter)
        foresee = controller.forecasting_for
        inboxes = tuple(inboxes_of(self.config, self.store, foresee, self.clock, controller.tell, trouble))
        own = controller.fresh_identity
        change, audit = controller.change, controller.audit
        rest = self._acme.at_rest
        resetter = Resetter(self.store, self.config.inbox, inboxes, rest, own, change, audit)
        look = partial(hardware.look, self.config.identity.hardware_id_file)
        renew = partial(resetter.renew_identity, controller.tell)
        self._guard = UnitGuard(self.store, look, renew, lambda f: trio.from_thread.run_sync(trouble, f))
        caretaker.settle_unit = self._guard.settle
        return resetter

    async def _start_control(self, nursery: trio.Nursery, controller: Controller, resetter: Resetter) -> None:
        """Open the control socket; whoever serves already goes on where that fails. Raises ControlError."""
        rules = partial(rule_words, self.config.client_auth)
        told, fresh, desk = self.teller.events, controller.fresh_identity, FactoryDesk(controller)
        proxy = (controller, controller, controller)
        lookout = Lookout(self.store, self._acme.books, self._front_doors, stable_addresses)
        lookout.has_hook = bool(self.config.acme.dns_hook)
        backing = Backing(*proxy, self.store, told, desk, resetter, self._acme, lookout, fresh, rules)
        wanted, before = self.config.control, self.program.handed_over if self.program is not None else None
        answer = partial(
            control_server.run,
            self.config.control_socket,
            backing,
            access=Access.of(wanted.users, wanted.groups, wanted.mode),
            handed_over=before.control_fd if before is not None and before.control_fd >= 0 else None,
        )
        try:
            self._control_fd = await nursery.start(answer)
        except ControlError as error:
            if before is None:
                raise  # somebody stands there and waits
            _log.error("control_lost", why=str(error), hint=error.hint)

    def _front_doors(self) -> list[Door]:
        return [Door(one.kind, parse_listen(one.address)[0], one.port) for one in self.doors.statuses]

    async def _work(
        self, old: Sequence[RemoteWorker], ended: trio.Event, *, task_status: trio.TaskStatus[None]
    ) -> None:
        await self.crew.run(old, task_status=task_status)
        ended.set()

    async def _obey_signals(
        self, everything: trio.CancelScope, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Drain at SIGTERM or SIGINT; who asks a second time doesn't want to wait. Note a SIGHUP."""
        seconds = self.config.limits.drain_s
        with trio.open_signal_receiver(*SIGNALS) as signals:
            self.gate.open()
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._hangup.set()
                    continue
                notify("STOPPING=1")
                if self.publishing.serves or self.crew.epoch > 1:  # there, old workers serve from the start
                    _log.info("draining", seconds=seconds)
                    self.crew.stop(seconds)
                    seconds = 0.0
                else:
                    everything.cancel()

    async def _reload_when_asked(self, controller: Controller) -> None:
        """Reload at SIGHUP, one after the other; those that come meanwhile ask for one more."""
        while True:
            await self._hangup.wait()
            self._hangup = trio.Event()
            await controller.reload_at_signal()

    def _reloader(self, process: Process) -> Reloader:
        return Reloader(
            config=self.config,
            doors=self.doors,
            crew=self.crew,
            store=self.store,
            memory=self.memory,
            examiner=self.examiner,
            gate=self.gate,
            since=process.since,
            control_fd=lambda: self._control_fd,
            kept=self.kept,
            events=self.teller.events,
            notifier=self.notifier,
            upstreams=self.upstreams.statuses,
        )

    def _controller(self, process: Process) -> Controller:
        reloader = self._reloader(process) if self.program is not None else None
        return Controller(
            config=self.config,
            store=self.store,
            examiner=completing(self.config.checks, self.store, self.examiner),
            clock=self.clock,
            process=process,
            listeners=self.doors.statuses,
            workers=self.crew.statuses,
            in_memory=lambda: self.publishing.in_memory,
            confinement=self._confinement,
            on_receipt=self._receipt_told,
            reloader=reloader,
            teller=self.teller,
            meter=self._meter(process),
            audit=AuditLog(self.store.path, self.clock),
            expiring=self._standing,
            upstreams=self.upstreams.statuses,
            lost=self.doors.lost,
        )

    def _standing(self) -> Iterator[Finding]:
        """Give what health has to tell beside the rung."""
        yield from self._ladder.standing
        yield from self._guard.standing
        yield from self._acme.troubles()
        if self._revocation is not None:
            yield from self._revocation.standing
        yield from self.upstreams.standing
        yield from self.store.trust.standing(self._asked_sets)
        if self.store.watches_suspended:
            yield from (found("watch_suspended", path=watch.path) for watch in self.config.watches)

    @property
    def _asked_sets(self) -> set[str]:
        """The trust sets by which clients are to be verified."""
        return {one.trust for one in self.config.client_auth if one.asks}

    def _confinement(self) -> Iterator[ConfinementStatus]:
        kept = self.kept or Kept.nothing("part of another program")
        yield ConfinementStatus("supervisor", kept.confined)
        if self.examiner.confined is not None:
            yield ConfinementStatus("examiner", self.examiner.confined)
        if (helper := self.notifier.confined) is not None:
            yield ConfinementStatus("hook helper", helper)
        for worker in self.crew.workers:
            if worker.confined is not None:
                yield ConfinementStatus("worker", worker.confined)

    def _receipt_told(self, receipt: Receipt) -> None:
        self.on_receipt(receipt)
        self._probation.wake()
        if self._revocation is not None:
            self._revocation.wake()

    def _meter(self, process: Process) -> Meter:
        engine = resolve(self.config.tls.engine, self.config.tls.policy)
        crew = self.crew
        of_crew = (crew.sums, crew.count, crew.statuses)
        meter = Meter(*of_crew, self.store.meta, process, engine, self._measured, crew.counted)
        for finding in self.store.recovered:
            meter.count_finding(finding)
        return meter

    def _measured(self) -> Iterator[tuple[Key, float]]:
        yield from self.upstreams.measured()
        yield from self._acme.measured()
        yield from self._trust.measured()
        if self._revocation is not None:
            yield from self._revocation.measured()

    def _caretaker(self, controller: Controller) -> Caretaker:
        identity = partial(device.identity, self.config.identity)
        caretaker = Caretaker(self.store, self.publishing, identity, self.clock, controller.propose_own)
        caretaker.on_finding = self.teller.finding
        caretaker.on_moved = partial(_audit_moved, controller.audit)
        caretaker.in_use = partial(generations_held, self.crew.workers)
        self.crew.on_bundle_lost = caretaker.lose
        return caretaker


def _audit_moved(audit: AuditLog, generation: Generation) -> None:
    audit.note(ITSELF, "move_rows", "live", generation=generation.number, cause=str(generation.cause))
