"""What the supervisor knows for metrics, beside what workers count: joined into one page.

Promises: a page is made when somebody asks for it, in a worker thread; certificates are described from what
the store has in memory, a bounded number of them. Refuses to know how a page is written
(observe/exposition.py), and who asks.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from heapq import nsmallest

from certstore import Finding, Meta, Receipt, Slot, Source, State, StoreError
from tlsproxy import policy
from tlsproxy.ladder import Telling
from tlsproxy.notify.letters import RESULTS, WAYS, Report
from tlsproxy.observe.expiry import Role, Step, step_of
from tlsproxy.observe.log import left_out
from tlsproxy.observe.metrics import Counted, Key, Sums
from tlsproxy.observe.status import Process, Rung, StoreFacts, WorkerStatus, rung_of
from tlsproxy.threads import in_thread
from tlsproxy.workers.remote import Stage

__all__ = ["Meter", "first_sums"]

_DATES = (
    "tlsproxy_certificate_not_before_timestamp_seconds",
    "tlsproxy_certificate_not_after_timestamp_seconds",
)


@dataclass(frozen=True, slots=True)
class Meter:
    """Counts what the supervisor does, and makes pages. `meta` tells of a bundle without reading it."""

    sums: Sums
    count: Callable[[], Awaitable[tuple[Sums, Counted]]]
    workers: Callable[[], Sequence[WorkerStatus]]
    meta: Callable[[str], Meta]
    process: Process
    engine: str
    measured: Callable[[], Iterable[tuple[Key, float]]] = tuple
    """What others in the supervisor measure, as it is now."""
    counted: Callable[[], tuple[Sums, Counted]] = lambda: (Sums(), [])
    """As `count`, without asking the workers."""

    def count_receipt(self, receipt: Receipt) -> None:
        """Count what became of a candidate, with its findings; on the event loop."""
        self.sums.add("tlsproxy_receipts_total", str(receipt.source), str(receipt.state))
        for finding in receipt.findings:
            self.count_finding(finding)

    def count_finding(self, finding: Finding) -> None:
        """Count a finding, whose code is certstore's own (`certstore.genuine`); on the event loop."""
        self.sums.add("tlsproxy_findings_total", finding.code, str(finding.severity))

    def count_expiry(self, telling: Telling) -> None:
        """Count that a step of the expiry ladder was told; on the event loop."""
        self.sums.add("tlsproxy_expiry_told_total", str(telling.step), str(telling.role))
        self.count_finding(telling.finding)

    def count_notice(self, report: Report) -> None:
        """Count a try of a hook command or webhook; on the event loop."""
        self.sums.add("tlsproxy_notifications_total", report.way, report.result)

    def count_acme(self, result: str) -> None:
        """Count a try to get a certificate of an ACME authority: issued, or failed; on the event loop."""
        self.sums.add("tlsproxy_acme_tries_total", result)

    def count_revocation(self, result: str) -> None:
        """Count a question whether a certificate is revoked, by its answer; on the event loop."""
        self.sums.add("tlsproxy_revocation_asked_total", result)

    async def page(self, facts: StoreFacts, now: datetime, accept: str) -> tuple[bytes, str]:
        """Give everything, and its content type, as an Accept field's value asks."""
        sums, standing = await self.count()
        counted = [*sums.counted(), *standing, *self._of_workers(), *self.measured()]
        return await in_thread(partial(self._page, counted, facts, now, accept))

    def _page(self, counted: Counted, facts: StoreFacts, now: datetime, accept: str) -> tuple[bytes, str]:
        from tlsproxy.observe.exposition import page  # 0.7 MB, which nobody pays who isn't asked

        return page([*counted, *self._of_store(facts, now)], accept)

    def _of_workers(self) -> Iterator[tuple[Key, float]]:
        stages = Counter(worker.stage for worker in self.workers())
        for stage in Stage:
            name = stage.name.lower()
            yield ("tlsproxy_workers", name), float(stages[name])

    def _of_store(self, facts: StoreFacts, now: datetime) -> Iterator[tuple[Key, float]]:
        yield ("tlsproxy_reloads_total",), float(self.process.epoch - 1)
        yield ("tlsproxy_log_lines_left_out_total", "events"), float(left_out())
        yield ("tlsproxy_start_time_seconds",), self.process.since.timestamp()
        version = (self.process.version, platform.python_version(), self.engine)
        yield ("tlsproxy_build_info", *version), 1.0
        generation = facts.generation
        yield ("tlsproxy_active_generation",), float(generation.number if generation is not None else 0)
        yield ("tlsproxy_clock_plausible",), float(facts.clock_plausible)
        served = self._known(generation.default) if generation is not None else None
        stands = rung_of(facts, served.facts.not_after if served is not None else None, now)
        for rung in Rung:
            yield ("tlsproxy_rung", str(rung)), float(rung is stands)
        yield from self._certificates(facts, now)

    def _certificates(self, facts: StoreFacts, now: datetime) -> Iterator[tuple[Key, float]]:
        """Tell the dates of what each source has for each name: those that end first."""
        rows = facts.generation.rows if facts.generation is not None else ()
        served = {(row.pattern, row.source, id_) for row in rows for id_ in (row.bundle, row.beside)}
        strangers = facts.generation
        defaults = {strangers.default, strangers.default_beside} if strangers is not None else set()
        known, lost = self._by_name(
            facts.slots, facts.generation.bundles() if facts.generation is not None else ()
        )
        told = nsmallest(policy.METRIC_NAMES, known, key=lambda one: (one[1].facts.not_after, one[0]))
        for (name, source), meta in told:
            is_served = (name, source, meta.id) in served or meta.id in defaults
            labels = (name, str(source), str(Role.SERVED if is_served else Role.FALLBACK))
            judged_at = now if facts.clock_plausible else None
            step = step_of(meta.facts.not_before, meta.facts.not_after, judged_at)
            yield ("tlsproxy_certificate_expiry_step", *labels), float(step.number)
            for family, at in zip(_DATES, (meta.facts.not_before, meta.facts.not_after), strict=True):
                yield (family, *labels), at.timestamp()
        yield ("tlsproxy_certificate_names_left_out",), float(len(known) - len(told) + lost)

    def _by_name(
        self, slots: Iterable[Slot], served: Collection[str]
    ) -> tuple[list[tuple[tuple[str, Source], Meta]], int]:
        """Give the newest bundle of each name and source, and how many names have none that is known.

        Of a pair the one that ends first, of those that are served: both are renewed, or one of them is
        forgotten.
        """
        newest: dict[tuple[str, Source], Meta] = {}
        lost: set[tuple[str, Source]] = set()
        for slot in sorted(slots, key=lambda slot: slot.newness):
            known = [meta for id_ in slot.bundles if (meta := self._known(id_)) is not None]
            meta = min(known, key=lambda meta: (meta.id not in served, meta.facts.not_after), default=None)
            for name in slot.names:
                if meta is not None:
                    newest[name, slot.source] = meta
                else:
                    lost.add((name, slot.source))
        return list(newest.items()), len(lost - newest.keys())

    def _known(self, bundle: str | None) -> Meta | None:
        try:
            return self.meta(bundle) if bundle is not None else None
        except StoreError:
            return None


def first_sums(before: Iterable[tuple[Key, float]]) -> Sums:
    """Begin with what was counted before a reload, and zeros for what alerts watch: a rise needs a start."""
    sums = Sums(before)
    zeros: list[Key] = [
        ("tlsproxy_receipts_total", str(source), str(state)) for source in Source for state in State
    ]
    zeros += [
        ("tlsproxy_expiry_told_total", str(step), str(role)) for step in list(Step)[1:] for role in Role
    ]
    zeros += [("tlsproxy_acme_tries_total", result) for result in ("issued", "failed")]
    answers = ("good", "revoked", "unknown", "failed")
    zeros += [("tlsproxy_revocation_asked_total", result) for result in answers]
    zeros += [("tlsproxy_notifications_total", way, result) for way in WAYS for result in RESULTS]
    sums.add_all((key, 0.0) for key in (("tlsproxy_worker_deaths_total",), *zeros))
    return sums
