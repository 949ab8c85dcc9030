"""What the rest of the house answers to the control socket: status, candidates, receipts.

Promises: every change made by it, or told to it, is logged once with its receipt; a change runs in a worker
thread and is never cut in two by a cancellation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import trio

from certstore import (
    Bundle,
    Candidate,
    Cause,
    Examiner,
    Generation,
    Receipt,
    Source,
    State,
    Store,
    StoreError,
)
from tlsproxy.config import Config
from tlsproxy.errors import ReloadError
from tlsproxy.metering import Meter
from tlsproxy.observe.audit import SIGNAL, SOCKET, Actor, AuditLog
from tlsproxy.observe.log import logger
from tlsproxy.observe.status import (
    ConfinementStatus,
    ListenerStatus,
    Place,
    Process,
    StoreFacts,
    WorkerStatus,
    describe,
)
from tlsproxy.reload import Reloader

_log = logger("changes")
TellReceipt = Callable[[Receipt], None]


def log_receipt(receipt: Receipt, actor: Actor) -> None:
    """Log what became of a candidate, and who brought it: one event, with the words of what was wrong."""
    tell = _log.warning if receipt.state is State.REFUSED else _log.info
    tell(
        "receipt",
        **actor.facts(),
        id=receipt.id,
        state=str(receipt.state),
        source=str(receipt.source),
        via=receipt.via,
        bundle=receipt.bundle,
        generation=receipt.generation,
        live_at=receipt.live_at and receipt.live_at.isoformat(),
        codes=list(receipt.codes),
        words=[finding.words for finding in receipt.findings],
    )


@dataclass(frozen=True, slots=True)
class Controller:
    """Implements `control.server.Controller` over one store; `in_memory`: whether the last rung is served."""

    config: Config
    store: Store
    examiner: Examiner
    clock: Callable[[], datetime]
    process: Process
    listeners: Sequence[ListenerStatus]
    workers: Callable[[], Sequence[WorkerStatus]]
    in_memory: Callable[[], bool]
    on_receipt: TellReceipt
    reloader: Reloader | None
    meter: Meter
    audit: AuditLog
    confinement: Callable[[], Iterable[ConfinementStatus]] = tuple

    def tell(self, receipt: Receipt, actor: Actor | None = None) -> None:
        """Log a receipt, also for the audit, count it, pass it on; without an actor, its `via` names him."""
        actor = actor or Actor.of(receipt)
        self.audit.note_receipt(actor, receipt)
        log_receipt(receipt, actor)
        self.meter.count_receipt(receipt)
        self.on_receipt(receipt)

    async def propose(self, candidate: Candidate, via: str, actor: Actor = SOCKET) -> Receipt:
        """Bring a customer's candidate to its end: live and confirmed, or refused. Raises StoreError."""
        propose = partial(
            self.store.propose, candidate, source=Source.CUSTOMER, via=via, examiner=self.examiner
        )
        try:
            receipt = await trio.to_thread.run_sync(propose)
        except StoreError as error:
            self.audit.note(actor, "propose", "failed", via=via, codes=[error.code])
            raise
        self.tell(receipt, actor)
        return receipt

    def propose_own(self, bundle: Bundle) -> Receipt:
        """Bring in the device's own bundle; from a worker thread. Raises StoreError."""
        receipt = self.store.propose(bundle, source=Source.GENERATED, via="identity", examiner=self.examiner)
        trio.from_thread.run_sync(self.tell, receipt)
        return receipt

    def receipt(self, id: str) -> Receipt:  # noqa: A002  the name it has everywhere
        """Give one receipt. Raises NotFound."""
        return self.store.receipt(id)

    def facts(self, now: datetime) -> StoreFacts:
        """Say what the store says; memory only."""
        nothing = Generation(0, (), None, (), Cause.RECOVERY, None, now)
        return StoreFacts(
            generation=nothing if self.in_memory() else self.store.active,
            slots=self.store.slots(),
            receipts=self.store.receipts(),
            bundle=self.store.bundle,
            clock_plausible=self.store.clock_plausible(),
        )

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Give all metrics and their content type, as the Accept field's value asks."""
        now = self.clock()
        return await self.meter.page(self.facts(now), now, accept)

    def status(self) -> dict[str, object]:
        """Give the status document (observe/status.py); memory only, so quick enough for the event loop."""
        now = self.clock()
        facts = self.facts(now)
        config = self.config
        place = Place(str(config.store), str(config.inbox), str(config.control_socket))
        status = describe(
            facts,
            place=place,
            now=now,
            process=self.process,
            listeners=self.listeners,
            workers=self.workers(),
        )
        return replace(status, confinement=tuple(self.confinement())).to_json()

    async def check_reload(self, actor: Actor = SOCKET) -> int:
        """Make a reload's pre-flight; gives the epoch that it will lead to. Raises ReloadError."""
        if self.reloader is None:
            raise ReloadError("this proxy is part of another program", "restart that program")
        try:
            await self.reloader.check()
        except ReloadError as error:
            self.audit.note(actor, "reload", "refused", why=error.why)
            raise
        return self.process.epoch + 1

    async def reload(self, actor: Actor = SOCKET) -> None:
        """Reload after its pre-flight; returns only where that failed after all, which is logged."""
        assert self.reloader is not None, "check_reload comes first"
        self.audit.note(actor, "reload", "begun", epoch=self.process.epoch + 1)
        try:
            await self.reloader.execute()
        except ReloadError as error:
            self.audit.note(actor, "reload", "failed", why=error.why)
            _tell_refused(error)

    async def reload_at_signal(self) -> None:
        """Reload, pre-flight and all; why not is logged."""
        try:
            await self.check_reload(SIGNAL)
        except ReloadError as error:
            _tell_refused(error)
        else:
            await self.reload(SIGNAL)


def _tell_refused(error: ReloadError) -> None:
    _log.error("reload_refused", code=error.code, why=error.why, hint=error.hint)
