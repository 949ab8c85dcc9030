"""What the rest of the house answers to the control socket: status, health, candidates, receipts, reloads.

Promises: every change made by it, or told to it, is logged once with its receipt, and told to followers of
events; a change runs in a worker thread and is never cut in two by a cancellation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import trio

from certstore import (
    Authority,
    Bundle,
    Candidate,
    Cause,
    Examiner,
    Finding,
    Generation,
    Reason,
    Receipt,
    Refusal,
    Slot,
    Source,
    State,
    Store,
    StoreError,
    found,
)
from certstore.issuers import selfsigned
from tlsproxy import device
from tlsproxy.asked import asked, with_modes
from tlsproxy.authoritykeeping import authority_facts, renewed_now
from tlsproxy.config import Config
from tlsproxy.control.peers import Peer
from tlsproxy.errors import ReloadError, ThreadError
from tlsproxy.forecast import Forecasting, Seen, seen_by
from tlsproxy.metering import Meter
from tlsproxy.observe.audit import ITSELF, SIGNAL, SOCKET, WIRE, Actor, AuditLog
from tlsproxy.observe.clientreport import ClientReport, report_of
from tlsproxy.observe.health import Health, health_of
from tlsproxy.observe.keylog import key_log_finding
from tlsproxy.observe.log import logger
from tlsproxy.observe.status import (
    ConfinementStatus,
    ListenerStatus,
    Place,
    Process,
    StoreFacts,
    TroubleStatus,
    WorkerStatus,
    describe,
    rung_of,
)
from tlsproxy.observe.upstreams import UpstreamStatus, findings_of
from tlsproxy.rehearsal import Rehearsal, rehearse
from tlsproxy.reload import Reloader
from tlsproxy.software import loaded
from tlsproxy.telling import Teller
from tlsproxy.threads import in_thread

_log = logger("changes")
T = TypeVar("T")
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
        **({"beside": receipt.beside} if receipt.beside else {}),
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
    meter: Meter
    audit: AuditLog
    confinement: Callable[[], Iterable[ConfinementStatus]] = tuple
    expiring: Callable[[], Iterable[Finding]] = tuple
    upstreams: Callable[[], Sequence[UpstreamStatus]] = tuple
    lost: tuple[Finding, ...] = ()
    """Listeners that the last reload could not open."""

    def tell(self, receipt: Receipt, actor: Actor | None = None, what: str | None = None) -> None:
        """Log a receipt, also for the audit, count it, pass it on; without an actor, its `via` names him.

        With it those of unconfirmed changes whose place it took.
        """
        actor = actor or Actor.of(receipt)
        self._tell_one(receipt, actor, what)
        open_ones = self.teller.open_ones()
        for one in self.store.receipts() if open_ones else ():
            if one.id in open_ones and one.is_settled:
                self._tell_one(one, actor, what)

    def _tell_one(self, receipt: Receipt, actor: Actor, what: str | None) -> None:
        self.audit.note_receipt(actor, receipt, what)
        log_receipt(receipt, actor)
        self.meter.count_receipt(receipt)
        self.teller.receipt(receipt)
        self.on_receipt(receipt)

    def tell_gone_back(self, receipt: Receipt) -> None:
        """Tell of a change that nobody confirmed in time."""
        self.tell(receipt, ITSELF, "end_probation")

    async def propose(  # noqa: PLR0913  as Store.propose
        self,
        candidate: Candidate,
        via: str,
        *,
        by: Peer | None = None,
        confirm_within_s: float | None = None,
        reason: Reason = Reason.SUPERSEDED,
        word: str = "",
        beside: bool = False,
    ) -> Receipt:
        """Bring a customer's candidate to its end: live or refused. Raises StoreError.

        by: who asked on the control socket. confirm_within_s, reason, word, beside: as
        `Store.propose` takes them.
        """
        examiner = await self._forecasting(Source.CUSTOMER)

        def propose(store: Store) -> Receipt:
            return store.propose(
                candidate,
                source=Source.CUSTOMER,
                via=via,
                examiner=examiner,
                confirm_within_s=confirm_within_s,
                reason=reason,
                word=word,
                beside=beside,
            )

        return await self.change("propose", propose, by)

    async def change(self, what: str, act: Callable[[Store], Receipt], by: Peer | None) -> Receipt:
        """Carry out a change of the store; gives its receipt.

        Raises StoreError, ThreadError, or Refusal without a receipt.
        """
        return await self._change(what, act, SOCKET if by is None else _actor(by))

    async def _change(self, what: str, act: Callable[[Store], Receipt], actor: Actor) -> Receipt:
        try:
            receipt = await in_thread(partial(act, self.store))
        except (StoreError, Refusal, ThreadError) as error:
            self.audit.note(actor, what, "failed", codes=_codes(error))
            raise
        self.tell(receipt, actor, what)
        return receipt

    async def confirm_by_wire(self, receipt_id: str) -> Receipt:
        """Keep a change that a client has confirmed over the network. Raises StoreError or Refusal."""
        act = partial(Store.confirm, receipt_id=receipt_id, via="wire")
        return await self._change("confirm", act, WIRE)

    async def put_trust(self, name: str, candidate: Candidate, via: str, *, by: Peer) -> Receipt:
        """Have a trust set hold what a customer has brought. Raises StoreError."""
        read = self.examiner.read_material

        def put(store: Store) -> Receipt:
            return store.trust.put(name, candidate.files, via=via, read=read)

        return await self._change("put_trust", put, _actor(by))

    async def carry_out(
        self, what: str, act: Callable[[Store], T], by: Peer, facts: Callable[[T], Mapping[str, object]]
    ) -> T:
        """Carry out what changes nothing that is served, and so has no receipt. Raises as `act`.

        facts: of what came of it, for the audit log and the log.
        """
        actor = _actor(by)
        try:
            done = await in_thread(partial(act, self.store))
        except (StoreError, Refusal, ThreadError) as error:
            self.audit.note(actor, what, "failed", codes=_codes(error))
            raise
        told = facts(done)
        self.audit.note(actor, what, "done", **told)
        _log.info(what, **actor.facts(), **told)
        return done

    async def renew_authority(self, by: Peer) -> Authority:
        """Make the device's own authority anew for what it is called now. Raises NotFound or StoreError."""
        wanted = device.identity(self.config.identity)
        act = partial(renewed_now, wanted=wanted, now=self.clock())
        return await self.carry_out("renew_device_ca", act, by, authority_facts)

    async def propose_acme(self, candidate: Candidate, *, beside: bool) -> Receipt:
        """Bring in what an ACME authority has issued, as any other candidate. Raises StoreError."""
        examiner = self.forecasting_for(Source.ACME)

        def propose(store: Store) -> Receipt:
            return store.propose(candidate, source=Source.ACME, via="acme", examiner=examiner, beside=beside)

        return await self._change("propose", propose, ITSELF)

    async def retire_acme(self, slot: Slot) -> Receipt:
        """Take away what nobody wants of an ACME authority any more. Raises StoreError or Refusal."""
        return await self._change("remove", partial(Store.remove, key=slot.key, via="acme"), ITSELF)

    def propose_own(self, bundle: Bundle) -> Receipt:
        """Bring in the device's own bundle; from a worker thread. Raises StoreError."""
        receipt = self.store.propose(bundle, source=Source.GENERATED, via="identity", examiner=self.examiner)
        trio.from_thread.run_sync(self.tell, receipt)
        return receipt

    def fresh_identity(self) -> Bundle:
        """Make the device another identity, with a key that never was before; in a worker thread."""
        return selfsigned.issue(device.identity(self.config.identity), selfsigned.new_key(), self.clock())

    async def rehearse(self, candidate: Candidate, *, beside: bool = False) -> Rehearsal:
        """Examine a customer's candidate, and keep nothing of it. Raises Refusal."""
        examiner = await self._forecasting(Source.CUSTOMER)
        return await in_thread(
            partial(rehearse, self.store, examiner, candidate, Source.CUSTOMER, beside=beside)
        )

    async def _forecasting(self, source: Source) -> Forecasting:
        """Give an examiner who knows what clients there were up to now."""
        sums, _ = await self.meter.count()
        return Forecasting(self.examiner, partial(seen_by, self.store, sums, source))

    def forecasting_for(self, source: Source) -> Forecasting:
        """Give one for whoever proposes in a thread, again and again: as of some seconds before each."""

        def seen() -> Seen:
            sums, _ = trio.from_thread.run_sync(self.meter.counted)
            return seen_by(self.store, sums, source)

        return Forecasting(self.examiner, seen)

    def worker_statuses(self) -> tuple[WorkerStatus, ...]:
        """Say which workers there are."""
        return tuple(self.workers())

    def health(self) -> Health:
        """Say how the proxy is, as cheaply as a probe each second deserves."""
        now = self.clock()
        facts = self.facts(now)
        active = facts.generation
        return health_of(
            rung_of(facts, self._served_until(active), now),
            generation=(active.number or None) if active is not None else None,
            serves=self.in_memory() or (active is not None and active.default is not None),
            accepting=sum(worker.stage == "accepting" for worker in self.workers()),
            clock_plausible=facts.clock_plausible,
            besides=(*self._troubles(), *findings_of(self.upstreams())),
        )

    def _troubles(self) -> Iterator[Finding]:
        if not self.store.is_here:
            yield found("store_gone", path=self.store.path)
        yield from self.lost
        if self.config.tls.key_log is not None:
            yield key_log_finding(self.config.tls.key_log)
        yield from self.expiring()

    def _served_until(self, active: Generation | None) -> datetime | None:
        """Tell until when the default row's certificate is valid; None where there is none to be had."""
        if active is None or active.default is None:
            return None
        try:
            return self.store.meta(active.default).facts.not_after
        except StoreError:
            return None

    def status(self) -> dict[str, object]:
        """Give the status document (observe/status.py); memory only, so quick enough for the event loop."""
        now = self.clock()
        config = self.config
        place = Place(str(config.store), str(config.inbox), str(config.control_socket))
        found = describe(
            self.facts(now),
            place=place,
            now=now,
            process=self.process,
            listeners=self.listeners,
            workers=self.workers(),
        )
        tls_ports = [one.port for one in self.listeners if one.kind == "tls"]
        return replace(
            found,
            confinement=tuple(self.confinement()),
            software=loaded(config.tls),
            strict_names=config.tls.policy.strict_names,
            upstreams=tuple(self.upstreams()),
            asked=asked(config.client_auth, {one.name for one in self.store.trust.held}),
            rows=with_modes(found.rows, config.client_auth, tls_ports),
            troubles=tuple(map(TroubleStatus.of, self._troubles())),
        ).to_json()

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Give all metrics and their content type, as the Accept field's value asks."""
        now = self.clock()
        return await self.meter.page(self.facts(now), now, accept)

    async def client_report(self) -> ClientReport:
        """Say what clients were here since the process began to serve."""
        sums, _ = await self.meter.count()
        return report_of(sums, self.process.since)

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

    async def check_reload(self, by: Peer | None = None) -> int:
        """Make a reload's pre-flight; gives the epoch that it will lead to. Raises ReloadError.

        by: who asked on the control socket; None: a signal.
        """
        if self.reloader is None:
            raise ReloadError("this proxy is part of another program", "restart that program")
        try:
            await self.reloader.check()
        except ReloadError as error:
            self.audit.note(_actor(by), "reload", "refused", why=error.why)
            raise
        return self.process.epoch + 1

    async def reload(self, by: Peer | None = None) -> None:
        """Reload after its pre-flight; returns only where that failed after all, which is logged."""
        actor = _actor(by)
        assert self.reloader is not None, "check_reload comes first"
        self.audit.note(actor, "reload", "begun", epoch=self.process.epoch + 1)
        try:
            await self.reloader.execute()
        except ReloadError as error:
            self.audit.note(actor, "reload", "failed", why=error.why)
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


def _codes(error: StoreError | Refusal | ThreadError) -> list[str]:
    return [finding.code for finding in error.findings] if isinstance(error, Refusal) else [error.code]


def _actor(by: Peer | None) -> Actor:
    return SIGNAL if by is None else Actor("socket", uid=by.uid, pid=by.pid)
