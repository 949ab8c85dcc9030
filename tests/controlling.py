"""The control API as it runs: a real socket, a real store; no workers behind it, and no TLS."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import trio

from certstore import Authority, Candidate, Finding, InProcess, Reason, Receipt, Store
from certstore.inbox import Inbox
from tests.authorities.answering import Recorder
from tlsproxy.acmekeeping import AcmeKeeper
from tlsproxy.acmelookout import Lookout
from tlsproxy.acmeoutlook import Door
from tlsproxy.boottime import boot_clock
from tlsproxy.config.arguments import from_arguments
from tlsproxy.control import server
from tlsproxy.control.backing import Backing
from tlsproxy.control.client import Client
from tlsproxy.control.peers import Access, Peer
from tlsproxy.controller import Controller
from tlsproxy.errors import ReloadError
from tlsproxy.metering import Meter
from tlsproxy.observe.audit import AuditLog
from tlsproxy.observe.events import EventLog
from tlsproxy.observe.metrics import Counted, Sums
from tlsproxy.observe.status import Process, WorkerStatus
from tlsproxy.provisioning import FactoryDesk
from tlsproxy.rehearsal import Rehearsal
from tlsproxy.resetting import Resetter
from tlsproxy.telling import Teller

T = TypeVar("T")
DEADLINE_S = 30
WORKERS = (
    WorkerStatus(11, 0, 1, "accepting", 5, generation=2, generations=((1, 1), (2, 3))),
    WorkerStatus(12, 1, 1, "retired", 1, generation=1, generations=((1, 1),)),
)


def now() -> datetime:
    return datetime.now(UTC)


def controller_of(store: Store, told: Callable[[Receipt], None] = lambda _: None) -> Controller:
    config = from_arguments(["127.0.0.1:0"], ["http://127.0.0.1:9"], store.path)
    return Controller(
        config=config,
        store=store,
        examiner=InProcess(),
        clock=now,
        process=Process(os.getpid(), now()),
        listeners=(),
        workers=lambda: WORKERS,
        in_memory=lambda: False,
        on_receipt=told,
        reloader=None,
        teller=Teller(EventLog(now)),
        meter=Meter(Sums(), nobody_counts, tuple, store.meta, Process(1, now()), "system"),
        audit=AuditLog(store.path, now),
    )


def resetter_of(controller: Controller, inboxes: Sequence[Inbox] = ()) -> Resetter:
    store, inbox, audit = controller.store, controller.config.inbox, controller.audit
    return Resetter(store, inbox, inboxes, nullcontext, controller.fresh_identity, controller.change, audit)


async def nobody_counts() -> tuple[Sums, Counted]:
    await trio.lowlevel.checkpoint()
    return Sums(), []


class Changes:
    """The controller's changes, but for what the test wants to go wrong; remembers who asked."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.failure: Exception | None = None
        self.seen: list[tuple[Candidate, str, Peer]] = []

    async def propose(
        self,
        candidate: Candidate,
        via: str,
        *,
        by: Peer,
        confirm_within_s: float | None,
        reason: Reason,
        word: str,
        beside: bool,
    ) -> Receipt:
        self.seen.append((candidate, via, by))
        if self.failure is not None:
            raise self.failure
        return await self._controller.propose(
            candidate,
            via,
            by=by,
            confirm_within_s=confirm_within_s,
            reason=reason,
            word=word,
            beside=beside,
        )

    async def change(self, what: str, act: Callable[[Store], Receipt], by: Peer) -> Receipt:
        return await self._controller.change(what, act, by)

    async def put_trust(self, name: str, candidate: Candidate, via: str, *, by: Peer) -> Receipt:
        return await self._controller.put_trust(name, candidate, via, by=by)

    async def carry_out(
        self, what: str, act: Callable[[Store], T], by: Peer, facts: Callable[[T], Mapping[str, object]]
    ) -> T:
        return await self._controller.carry_out(what, act, by, facts)

    async def renew_authority(self, by: Peer) -> Authority:
        return await self._controller.renew_authority(by)

    async def rehearse(self, candidate: Candidate, *, beside: bool) -> Rehearsal:
        return await self._controller.rehearse(candidate, beside=beside)


class Reloads:
    """Reloads nothing, and counts."""

    def __init__(self) -> None:
        self.refusal: ReloadError | None = None
        self.made = 0

    async def check_reload(self, by: Peer) -> int:
        assert by.uid == os.geteuid()
        if self.refusal is not None:
            raise self.refusal
        return 2

    async def reload(self, by: Peer) -> None:
        assert by.pid == os.getpid()
        self.made += 1


@dataclass
class Api:
    """A running API."""

    path: Path
    store: Store
    controller: Controller
    changes: Changes
    reloads: Reloads

    @property
    def events(self) -> EventLog:
        return self.controller.teller.events

    async def ask(self, method: str, target: str, **more: Any) -> httpx2.Response:
        """Ask once, over a connection of its own."""
        transport = httpx2.AsyncHTTPTransport(uds=str(self.path))
        with trio.fail_after(DEADLINE_S):
            async with httpx2.AsyncClient(transport=transport, base_url="http://x", timeout=20) as client:
                return await client.request(method, target, **more)

    async def client(self, question: Callable[[Client], T]) -> T:
        """Ask in a thread, as the command line does in its own process."""

        def ask() -> T:
            with Client(self.path) as client:
                return question(client)

        with trio.fail_after(DEADLINE_S):
            return await trio.to_thread.run_sync(ask)

    async def connect(self) -> trio.SocketStream:
        sock = trio.socket.socket(socket.AF_UNIX)
        await sock.connect(str(self.path))
        return trio.SocketStream(sock)


@asynccontextmanager
async def control_api(folder: Path, access: Access | None = None) -> AsyncIterator[Api]:
    """Run the API over a fresh store in `folder` while the block runs."""
    with trio.fail_after(120), Store.open(folder / "store", clock=now, boot_clock=boot_clock()) as store:
        controller = controller_of(store)
        api = Api(folder / "run" / "control.sock", store, controller, Changes(controller), Reloads())
        desk, resetter = FactoryDesk(controller), resetter_of(controller)
        own = controller.fresh_identity
        acme = acme_of(controller)
        proxy = (controller, api.changes, api.reloads)
        backing = Backing(*proxy, store, api.events, desk, resetter, acme, lookout_of(store, acme), own)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(server.run, api.path, backing, access=access))
            yield api
            nursery.cancel_scope.cancel()


def acme_of(controller: Controller) -> AcmeKeeper:
    """Give one that is asked, and does nothing by itself."""

    def untold(_finding: Finding) -> None:
        """Tell nobody."""

    told = (controller, untold, controller.audit)
    return AcmeKeeper(controller.store, Recorder(), controller.clock, *told)


def lookout_of(store: Store, acme: AcmeKeeper) -> Lookout:
    """Give one for a device with two listeners and one address."""
    doors = (Door("tls", "::", 443), Door("http", "0.0.0.0", 80))
    return Lookout(store, acme.books, lambda: doors, lambda: ("192.0.2.7",))


def as_user(access: Access, own: int) -> Access:
    """The same for a proxy that runs as another user, so that we are nobody's friend."""
    return replace(access, own=own)
