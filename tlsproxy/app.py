"""The composition root: builds all from a configuration, runs it in one tree of tasks, ends it in order.

Order at start: sockets first (a taken port is told before anything is written, and early clients wait in the
backlog), then the examiner's process, which warms up meanwhile, then the store, then a certificate to serve,
then accepting, and only then the control socket, the inbox and the watched directories, whose candidates need
something to publish to. At SIGTERM or SIGINT: no more accepting, open exchanges end, and after `drain_s` what
is left is cut.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import trio

from certstore import Examiner, Finding, Receipt, Source, Store
from certstore.inbox import Inbox
from certstore.snapshot import Kind
from tlsproxy import device
from tlsproxy.caretaker import Caretaker
from tlsproxy.config import Config
from tlsproxy.control import server as control_server
from tlsproxy.controller import Controller, TellReceipt
from tlsproxy.forward.site import ExchangeRecord, Forwarded, Limits, Site, make_upstream
from tlsproxy.http.head import DEFAULT_LIMITS
from tlsproxy.net.listeners import open_listeners
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.observe.log import logger
from tlsproxy.observe.status import ListenerStatus, Process
from tlsproxy.policy import TLSPolicy
from tlsproxy.routing.table import Route, RouteTable
from tlsproxy.tls.contexts import Contexts
from tlsproxy.workers.examiner import ExaminerProcess
from tlsproxy.workers.serving import Serving
from tlsproxy.workers.worker import Capacity, Listening, Worker

_log = logger("app")
Listeners = tuple[ListenerStatus, ...]


def now() -> datetime:
    """Tell the wall clock's time: the only place that asks for it, but for the command line."""
    return datetime.now(UTC)


def _untold(_receipt: Receipt) -> None:
    """Tell nobody beside the log."""


async def run(
    config: Config,
    *,
    on_receipt: TellReceipt = _untold,
    task_status: trio.TaskStatus[Listeners] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the proxy until SIGTERM, SIGINT or cancellation; reports its listeners once it serves.

    Raises ProxyError or StoreError where it can't start: a taken port, a store that is held or can't be
    written.
    """
    contexts = Contexts(TLSPolicy(), config.tls.engine)
    serving = Serving(contexts)
    examiner = ExaminerProcess(contexts.policy, contexts.engine)
    with _listening(config) as listening, examiner:
        opening = partial(Store.open, config.store, clock=now, publisher=serving, lock_wait_s=5.0)
        store = await trio.to_thread.run_sync(opening)
        serving.load_from(store.bundle)
        try:
            tell_findings(store.recovered)
            await House(config, store, serving, examiner, on_receipt).run(listening, task_status)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(store.close)


def tell_findings(findings: Sequence[Finding]) -> None:
    """Log findings that belong to no candidate: what a start put right, trouble with a directory."""
    for finding in findings:
        _log.warning("finding", code=finding.code, words=finding.words, hint=finding.hint)


@contextmanager
def _listening(config: Config) -> Iterator[list[tuple[Listening, ListenerStatus]]]:
    """Open every listener's sockets, or none; they are closed at the end."""
    with ExitStack() as opened:
        found: list[tuple[Listening, ListenerStatus]] = []
        for one in config.listeners:
            for sock in open_listeners(one.host, one.port):
                opened.enter_context(sock)
                port = sock.getsockname()[1]
                found.append((Listening(sock, one.kind, port), ListenerStatus(one.address, one.kind, port)))
        https_port = next(one.https_port for one, _ in found if one.kind == "tls")
        yield [(replace(one, https_port=https_port) if one.kind == "http" else one, s) for one, s in found]


@dataclass(frozen=True, slots=True)
class House:
    """All that runs once the sockets and the store are open."""

    config: Config
    store: Store
    serving: Serving
    examiner: Examiner
    on_receipt: TellReceipt

    async def run(
        self,
        listening: Sequence[tuple[Listening, ListenerStatus]],
        task_status: trio.TaskStatus[Listeners],
    ) -> None:
        """Run everything until a signal has ended it in order."""
        statuses = tuple(status for _, status in listening)
        config, store = self.config, self.store
        controller = Controller(
            config=config,
            store=store,
            examiner=self.examiner,
            clock=now,
            process=Process(os.getpid(), now()),
            listeners=statuses,
            in_memory=lambda: caretaker.in_memory,
            on_receipt=self.on_receipt,
        )
        identity = partial(device.identity, config.identity)
        caretaker = Caretaker(store, self.serving, identity, now, controller.propose_own)
        await caretaker.first_start()
        sweeper = Sweeper()
        with _site(config, sweeper) as site:
            async with trio.open_nursery() as nursery:
                worker = Worker(self.serving, site, _capacity(config), _tell_fault)
                await nursery.start(sweeper.run)
                ended = await nursery.start(self._serve, worker, [one for one, _ in listening])
                # before anybody is told that we serve: who then asks for the end must get an orderly one
                await nursery.start(self._stop_at_signal, worker)
                nursery.start_soon(caretaker.run)
                await nursery.start(control_server.run, config.control_socket, controller)
                for inbox in self._inboxes(controller):
                    await nursery.start(inbox.run)
                _log.info("serving", listeners=[_shown(s) for s in statuses], **self._served())
                task_status.started(statuses)
                await ended.wait()
                nursery.cancel_scope.cancel()
        _log.info("stopped")

    async def _stop_at_signal(self, worker: Worker, *, task_status: trio.TaskStatus[None]) -> None:
        """Drain at the first SIGTERM or SIGINT; who asks a second time doesn't want to wait."""
        seconds = self.config.limits.drain_s
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                _log.info("draining", seconds=seconds)
                worker.stop(seconds)
                seconds = 0.0

    async def _serve(
        self, worker: Worker, listening: Sequence[Listening], *, task_status: trio.TaskStatus[trio.Event]
    ) -> None:
        ended = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run, listening)
            task_status.started(ended)
        ended.set()

    def _inboxes(self, controller: Controller) -> Iterator[Inbox]:
        def on_trouble(finding: Finding) -> None:
            tell_findings((finding,))

        own = (self.config.inbox, Kind.INBOX, Source.CUSTOMER, "inbox")
        foreign = ((w.path, Kind.WATCH, w.slot, f"watch:{w.path}") for w in self.config.watches)
        for path, kind, source, via in (own, *foreign):
            yield Inbox(
                store=self.store,
                path=path,
                kind=kind,
                source=source,
                via=via,
                examiner=self.examiner,
                clock=now,
                on_receipt=controller.tell,
                on_trouble=on_trouble,
            )

    def _served(self) -> dict[str, object]:
        generation = self.store.active
        context = self.serving.table.choose(None, None)
        return {
            "generation": generation and generation.number,
            "fingerprint": self.serving.fingerprint(context.bundle_id) if context else None,
            "engine": context.engine_name if context else None,
            "inbox": str(self.config.inbox),
        }


@contextmanager
def _site(config: Config, sweeper: Sweeper) -> Iterator[Site]:
    """Make what connections are given; at the end the upstreams' idle connections are closed."""
    limits, addresses = config.limits, {str(route.upstream): route.upstream for route in config.routes}
    upstreams = {
        name: make_upstream(name, address, sweeper, limits.connect_s) for name, address in addresses.items()
    }
    try:
        yield Site(
            routes=RouteTable(tuple(Route(route.path, str(route.upstream)) for route in config.routes)),
            upstreams=upstreams,
            sweeper=sweeper,
            limits=Limits(
                heads=replace(DEFAULT_LIMITS, head_bytes=limits.max_header_bytes),
                max_body_bytes=limits.max_body_bytes,
                requests=limits.requests_per_connection,
                header_s=limits.header_s,
                idle_s=limits.idle_s,
                body_s=limits.body_s,
                response_s=limits.response_s,
            ),
            forwarded=Forwarded(config.forwarded.trust, tell_bundle=config.forwarded.tell_bundle),
            observer=_UpstreamFaults(),
        )
    finally:
        for upstream in upstreams.values():
            upstream.close()


def _capacity(config: Config) -> Capacity:
    limits = config.limits
    return Capacity(limits.connections, limits.connections_per_address, limits.handshakes, limits.handshake_s)


class _UpstreamFaults:
    """Logs exchanges that failed by the upstream's fault or ours; never a query, which may hold secrets."""

    def exchange_done(self, record: ExchangeRecord) -> None:
        if record.status >= 500 and record.code:
            path = record.target.partition(b"?")[0].decode("ascii", "replace")
            _log.warning(
                "exchange_failed", code=record.code, status=record.status, upstream=record.upstream, path=path
            )


def _tell_fault(code: str, error: BaseException | None) -> None:
    _log.error(code, exc_info=error)


def _shown(status: ListenerStatus) -> dict[str, object]:
    return {"address": status.address, "kind": status.kind, "port": status.port}
