"""What a worker says it has counted: its counters, and what stands open at this moment.

Made when the supervisor asks and when the worker ends in good order; never for a request. Costs half a
microsecond for each open connection.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsproxy import policy
from tlsproxy.observe.counters import Counters
from tlsproxy.observe.metrics import Counted
from tlsproxy.workers.messages import Counts
from tlsproxy.workers.observing import Failures
from tlsproxy.workers.testimony import OLDER
from tlsproxy.workers.worker import Worker

if TYPE_CHECKING:
    from tlsproxy.observe.access import AccessLog

__all__ = ["counts_of"]


@dataclass(frozen=True, slots=True)
class Logs:
    """Who leaves lines out."""

    failures: Failures
    access: AccessLog | None

    @property
    def left_out(self) -> Counted:
        """Say how many."""
        name = "tlsproxy_log_lines_left_out_total"
        found: Counted = [((name, "failures"), float(self.failures.left_out))]
        if self.access is not None:
            found.append(((name, "access"), float(self.access.left_out)))
        return found


def counts_of(counters: Counters, worker: Worker, logs: Logs) -> Counts:
    """Take a snapshot."""
    admission = worker.admission
    counted = counters.counted(connection.sock for connection in worker.connections)
    counted.append((("tlsproxy_connections_accepted_total",), float(admission.entered)))
    counted += (
        (("tlsproxy_connections_turned_away_total", verdict.value), float(count))
        for verdict, count in admission.turned_away.items()
    )
    counted += logs.left_out
    now: Counted = [(("tlsproxy_connections",), float(admission.open))]
    by_generation = Counter(connection.facts.generation for connection in worker.connections)
    newest = sorted(by_generation, reverse=True)
    for generation in newest[: policy.METRIC_GENERATIONS]:
        key = ("tlsproxy_connections_by_generation", str(generation))
        now.append((key, float(by_generation[generation])))
    if older := sum(by_generation[generation] for generation in newest[policy.METRIC_GENERATIONS :]):
        now.append((("tlsproxy_connections_by_generation", OLDER), float(older)))
    clients = counters.clientele
    return Counts(
        counted[: policy.METRIC_SERIES],
        now,
        list(clients.asked.items()),
        list(clients.strict.items()),
        list(clients.refused.items()),
    )
