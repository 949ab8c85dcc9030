"""What the rest of the house answers to the control socket: status, health, candidates, receipts, reloads.

Promises: every change made by it, or told to it, is logged once with its receipt, and told to followers of
events; a change runs in a worker thread and is never cut in two by a cancellation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import trio

from certstore import Bundle, Candidate, Cause, Examiner, Generation, Receipt, Source, State, Store
from tlsproxy.config import Config
from tlsproxy.control.peers import Peer
from tlsproxy.errors import ReloadError
from tlsproxy.observe.health import Health, health_of
from tlsproxy.observe.log import logger
from tlsproxy.observe.status import (
    ListenerStatus,
    Place,
    Process,
    StoreFacts,
    WorkerStatus,
    describe,
    rung_of,
)
from tlsproxy.rehearsal import Rehearsal, rehearse
from tlsproxy.reload import Reloader
from tlsproxy.telling import Teller

_log = logger("changes")
TellReceipt = Callable[[Receipt], None]


def log_receipt(receipt: Receipt) -> None:
    """Log what became of a candidate: one event, with the words of what was wrong."""
    tell = _log.warning if receipt.state is State.REFUSED else _log.info
    tell(
        "receipt",
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
    """Implements the seams of control/backing.py over one store. `in_memory`: the last rung is served."""

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
    teller: Teller

    def tell(self, receipt: Receipt) -> None:
        """Log a receipt, and pass it on; with those of unconfirmed changes whose place it took."""
        self._tell_one(receipt)
        open_ones = self.teller.open_ones()
        for one in self.store.receipts() if open_ones else ():
            if one.id in open_ones and one.is_settled:
                self._tell_one(one)

    def _tell_one(self, receipt: Receipt) -> None:
        log_receipt(receipt)
        self.teller.receipt(receipt)
        self.on_receipt(receipt)

    async def propose(
        self,
        candidate: Candidate,
        via: str,
        *,
        by: Peer | None = None,
        confirm_within_s: float | None = None,
    ) -> Receipt:
        """Bring a customer's candidate to its end: live or refused. Raises StoreError.

        by: who asked on the control socket. confirm_within_s: as `Store.propose` takes it.
        """

        def propose(store: Store) -> Receipt:
            return store.propose(
                candidate,
                source=Source.CUSTOMER,
                via=via,
                examiner=self.examiner,
                confirm_within_s=confirm_within_s,
            )

        return await self.change("propose", propose, by)

    async def change(self, what: str, act: Callable[[Store], Receipt], by: Peer | None) -> Receipt:
        """Carry out a change of the store; gives its receipt. Raises StoreError, or Refusal without one."""
        _log.info("asked", what=what, uid=by and by.uid, pid=by and by.pid)
        receipt = await trio.to_thread.run_sync(act, self.store)
        self.tell(receipt)
        return receipt

    def propose_own(self, bundle: Bundle) -> Receipt:
        """Bring in the device's own bundle; from a worker thread. Raises StoreError."""
        receipt = self.store.propose(bundle, source=Source.GENERATED, via="identity", examiner=self.examiner)
        trio.from_thread.run_sync(self.tell, receipt)
        return receipt

    async def rehearse(self, candidate: Candidate) -> Rehearsal:
        """Examine a customer's candidate, and keep nothing of it. Raises Refusal."""
        act = partial(rehearse, self.store, self.examiner, candidate, Source.CUSTOMER, self.clock)
        return await trio.to_thread.run_sync(act)

    def worker_statuses(self) -> tuple[WorkerStatus, ...]:
        """Say which workers there are."""
        return tuple(self.workers())

    def health(self) -> Health:
        """Say how the proxy is, as cheaply as a probe each second deserves."""
        facts = self._facts()
        active = facts.generation
        return health_of(
            rung_of(facts, self.clock()),
            generation=(active.number or None) if active is not None else None,
            serves=self.in_memory() or (active is not None and active.default is not None),
            accepting=sum(worker.stage == "accepting" for worker in self.workers()),
            clock_plausible=facts.clock_plausible,
        )

    def status(self) -> dict[str, object]:
        """Give the status document (observe/status.py); memory only, so quick enough for the event loop."""
        config = self.config
        place = Place(str(config.store), str(config.inbox), str(config.control_socket))
        return describe(
            self._facts(),
            place=place,
            now=self.clock(),
            process=self.process,
            listeners=self.listeners,
            workers=self.workers(),
        ).to_json()

    def _facts(self) -> StoreFacts:
        nothing = Generation(0, (), None, (), Cause.RECOVERY, None, self.clock())
        return StoreFacts(
            generation=nothing if self.in_memory() else self.store.active,
            slots=self.store.slots(),
            receipts=self.store.receipts(),
            bundle=self.store.bundle,
            clock_plausible=self.store.clock_plausible(),
        )

    async def check_reload(self) -> int:
        """Make a reload's pre-flight; gives the epoch that it will lead to. Raises ReloadError."""
        if self.reloader is None:
            raise ReloadError("this proxy is part of another program", "restart that program")
        await self.reloader.check()
        return self.process.epoch + 1

    async def reload(self) -> None:
        """Reload after its pre-flight; returns only where that failed after all, which is logged."""
        assert self.reloader is not None, "check_reload comes first"
        try:
            await self.reloader.execute()
        except ReloadError as error:
            self._tell_refused(error)

    async def reload_at_signal(self) -> None:
        """Reload, pre-flight and all; why not is logged."""
        try:
            await self.check_reload()
        except ReloadError as error:
            self._tell_refused(error)
        else:
            await self.reload()

    def _tell_refused(self, error: ReloadError) -> None:
        _log.error("reload_refused", code=error.code, why=error.why, hint=error.hint)
        self.teller.reload_refused(error.why, error.hint)
