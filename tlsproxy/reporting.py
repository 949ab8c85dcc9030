"""What the house tells: followers of events, the log, and the service manager, of all that goes on in it.

Promises: nothing that is told here changes anything; followers are told of each receipt and finding once,
also of those that a start has settled or that a reload has left untold. Refuses to know who acts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import trio

from certstore import Finding, Meta, Store, StoreError
from tlsproxy import policy_notices
from tlsproxy.config import Config
from tlsproxy.controller import Controller
from tlsproxy.handover import HandedOver
from tlsproxy.ladder import Telling
from tlsproxy.listening import Doors
from tlsproxy.metering import Meter
from tlsproxy.observe.log import logger
from tlsproxy.observe.status import ListenerStatus
from tlsproxy.telling import Teller, untold
from tlsproxy.tls.engines import resolve
from tlsproxy.upstreams import Upstreams
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.publishing import Publishing

__all__ = ["Reporter"]

_log = logger("app")


@dataclass(frozen=True, slots=True)
class Reporter:
    """Knows whom to tell, and in which words."""

    config: Config
    doors: Doors
    crew: Crew
    publishing: Publishing
    store: Store
    upstreams: Upstreams
    teller: Teller

    def attach(self, controller: Controller, before: HandedOver | None) -> None:
        """Have followers told of everything, also of what was settled at this start or left untold."""
        self.publishing.on_served = self.teller.served
        self.crew.on_worker = self.teller.worker
        self.upstreams.on_change, self.upstreams.count = self.teller.upstream, self.crew.sums.add
        self.teller.expect(self.store.receipts())
        ended = {receipt.id: receipt for receipt in self.store.settled}
        if before is not None and before.events is not None:
            ended |= {receipt.id: receipt for receipt in untold(self.store.receipts(), before.events)}
        for receipt in ended.values():
            controller.tell(receipt)
        self.findings((*self.store.recovered, *self.doors.lost))

    def trouble(self, meter: Meter, finding: Finding) -> None:
        """Tell a finding that belongs to no candidate, and count it."""
        meter.count_finding(finding)
        self.findings((finding,))

    def findings(self, findings: Iterable[Finding]) -> None:
        """Tell findings that belong to no candidate: what a start put right, trouble with a directory."""
        for finding in findings:
            _log.warning("finding", code=finding.code, words=finding.words, hint=finding.hint)
            self.teller.finding(finding)

    async def look_at_rung(self, controller: Controller) -> None:
        """Tell of another rung, whatever has led there: a change, time that goes by, damage."""
        while True:
            self.teller.rung(controller.health().rung)
            await trio.sleep(policy_notices.RUNG_LOOK_S)

    def step(self, meter: Meter, telling: Telling) -> None:
        """Tell, from a worker thread, that a certificate's life ends."""
        tell = _log.error if telling.finding.is_error else _log.warning
        tell("expiry", **telling.facts())
        self.teller.expiry(telling)
        trio.from_thread.run_sync(meter.count_expiry, telling)

    def serving(self, *, first: bool) -> None:
        """Tell, once, that everything stands and what is served."""
        if not first:
            self.teller.reloaded(self.crew.epoch)
        served = self.publishing.served
        _log.info(
            "serving" if first else "reloaded",
            listeners=[_shown(status) for status in self.doors.statuses],
            generation=served and served.number,
            workers=self.crew.birth.seats,
            epoch=self.crew.epoch,
            fingerprint=default.fingerprint if (default := self._default()) is not None else None,
            engine=resolve(self.config.tls.engine, self.config.tls.policy),
            inbox=str(self.config.inbox),
        )

    def words(self) -> str:
        """Say in a line what is served, for the service manager's status."""
        served, default = self.publishing.served, self._default()
        if served is None or default is None:
            what = "a certificate in memory only" if self.publishing.in_memory else "nothing yet"
            return f"serving {what}"
        workers = sum(worker.stage == "accepting" for worker in self.crew.statuses())
        until = f"{default.facts.not_after:%Y-%m-%d %H:%M} UTC"
        return f"generation {served.number}, certificate valid until {until}, {workers} workers"

    def _default(self) -> Meta | None:
        """Tell of the bundle that whoever names nothing is served."""
        default = served.default if (served := self.publishing.served) is not None else None
        try:
            return self.store.meta(default) if default is not None else None
        except StoreError:
            return None


def _shown(status: ListenerStatus) -> dict[str, object]:
    return {"address": status.address, "kind": status.kind, "port": status.port}
