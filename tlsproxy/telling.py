"""What followers of events are told of: joins the rooms of the house to the event log.

Promises: each kind of event is made in one place, here, with the same facts every time; docs/control-api.md
lists them. Nothing secret is in any: a receipt, a finding and a process id are all that is told. Any thread
may tell.

    receipt      the receipt as the API shows it
    finding      of a start, a watched directory, the caretaker: no candidate's (those are in its receipt)
    expiry       a certificate has come to a step of the expiry ladder, or still stands on it
    rung         the proxy stands on another rung of the ladder of "never dark"
    generation   what every worker serves from now on
    acme         how a certificate of an ACME authority comes (acmetelling.py)
    upstream     a service behind the proxy is up, or down
    worker       a worker has started, accepts, retires, has ended
    reload       a reload has been made, or was refused
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from certstore import Finding, Generation, Receipt, State
from tlsproxy.ladder import Telling
from tlsproxy.observe.events import EventLog, EventsState
from tlsproxy.observe.status import Rung
from tlsproxy.observe.upstreams import UpstreamStatus
from tlsproxy.workers.remote import RemoteWorker, Stage

__all__ = ["Teller", "untold"]


class Teller:
    """Makes events of what happens."""

    def __init__(self, events: EventLog) -> None:
        self.events = events
        self._open: set[str] = set()
        self._rung: Rung | None = None

    def receipt(self, receipt: Receipt) -> None:
        """Tell what became of a candidate, or of another change."""
        self.events.add("receipt", receipt.to_json())
        if receipt.is_settled:
            self._open.discard(receipt.id)
        else:
            self._open.add(receipt.id)

    def expect(self, receipts: Iterable[Receipt]) -> None:
        """Take note of receipts that were told before us, and of which more can become."""
        self._open |= {receipt.id for receipt in receipts if not receipt.is_settled}

    def open_ones(self) -> tuple[str, ...]:
        """Give the ids of the receipts that were told, and of which more can become."""
        return tuple(self._open)

    def finding(self, finding: Finding) -> None:
        """Tell what was found without any candidate."""
        facts = {"severity": str(finding.severity), "words": finding.words, "hint": finding.hint}
        self.events.add("finding", {"code": finding.code, **facts})

    def expiry(self, telling: Telling) -> None:
        """Tell that a certificate's life ends, or has ended."""
        self.events.add("expiry", telling.facts())

    def rung(self, rung: Rung) -> None:
        """Tell where the proxy stands, if that is another rung than was told last, also before a reload.

        A start that finds everything as it should be tells nothing.
        """
        if rung is self._rung:
            return
        told = [event.facts["rung"] for event in self.events.after(0).events if event.kind == "rung"]
        before = told[-1] if told else None
        well = before is None and rung in {Rung.WANTED, Rung.GENERATED}
        if str(rung) != before and not well:
            self.events.add("rung", {"rung": str(rung), "before": before, "words": rung.words})
        self._rung = rung

    def served(self, generation: Generation | None) -> None:
        """Tell what all workers serve now; None: what lies in memory only."""
        if generation is None:
            self.events.add("generation", {"generation": None, "cause": "memory", "receipt": None})
            return
        facts = {"generation": generation.number, "cause": str(generation.cause)}
        self.events.add("generation", {**facts, "receipt": generation.receipt})

    def acme(self, facts: Mapping[str, object]) -> None:
        """Tell how a certificate of an ACME authority comes."""
        self.events.add("acme", facts)

    def upstream(self, status: UpstreamStatus) -> None:
        """Tell that a service behind us is up from now on, or down."""
        facts: dict[str, object] = {"upstream": status.upstream, "routes": list(status.routes)}
        state = "up" if status.up else "down"
        self.events.add("upstream", {**facts, "state": state, "why": "" if status.up else status.why})

    def worker(self, worker: RemoteWorker) -> None:
        """Tell how far a worker has come; one that is only given up is told of when it has ended."""
        facts: dict[str, object] = {"pid": worker.pid, "seat": worker.seat, "epoch": worker.epoch}
        if worker.exit_code is not None:
            self.events.add("worker", {**facts, "state": "ended", "exit_code": worker.exit_code})
        elif worker.stage is not Stage.GONE:
            self.events.add("worker", {**facts, "state": worker.stage.name.lower()})

    def reloaded(self, epoch: int) -> None:
        """Tell that the new image serves."""
        self.events.add("reload", {"state": "done", "epoch": epoch})

    def reload_refused(self, why: str, hint: str) -> None:
        """Tell that nothing has changed, and why."""
        self.events.add("reload", {"state": "refused", "why": why, "hint": hint})


def untold(receipts: Sequence[Receipt], state: EventsState) -> Iterable[Receipt]:
    """Give, oldest first, those receipts (newest first) that the image before us had no time to tell.

    A change may end in its thread in the very moment in which the event loop turns into an exec; its receipt
    is on disk then, and in no event.
    """
    told = {event.facts.get("id") for event in state.events if event.kind == "receipt"}
    newest = max((_in_order(str(id_)) for id_ in told), default=None)
    if newest is None:
        return ()
    since = [receipt for receipt in reversed(receipts) if _in_order(receipt.id) > newest]
    return [receipt for receipt in since if receipt.state is not State.RECEIVED]


def _in_order(receipt_id: str) -> tuple[int, str]:
    return len(receipt_id), receipt_id  # its number has six digits, or more
