"""The keeper of one directory: looks, and does what the plan says. Blocking: an inbox calls it in threads.

It holds all that has to be remembered between two looks, and joins `rescan`, `gathering`, the store and the
quarantine. It promises that a step is remembered before its files are moved: when the disk or the process
fails in between, a problem isn't told twice. It knows no events and no waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from certstore.contents import Contents
from certstore.examination import Examiner
from certstore.findings import Finding
from certstore.gathering import Knowledge, Leftover, Memory, Plan, Problem, Ready, Timing, plan
from certstore.quarantine import KEPT, Quarantine
from certstore.receipts import Receipt, State
from certstore.rescan import read_snapshot
from certstore.slots import Source
from certstore.snapshot import Entry, Kind, Snapshot
from certstore.store import Store
from certstore.writers import has_writer

__all__ = ["PRUNE_EVERY_S", "Keeper", "Origin", "Step"]

PRUNE_EVERY_S = 3600.0

Step = Ready | Problem | Leftover


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the files lie, and in whose name they are proposed."""

    path: Path
    kind: Kind
    source: Source
    via: str


class Keeper:
    """One directory, its memory, and the store that its files go to. Not for two threads at once."""

    def __init__(
        self,
        store: Store,
        origin: Origin,
        examiner: Examiner,
        timing: Timing,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the store and what it is to be told; `clock` gives the aware wall clock."""
        self._store, self._origin, self._examiner = store, origin, examiner
        self._timing, self._clock = timing, clock
        self._quarantine = Quarantine(origin.path)
        self._contents = Contents(examiner.read)
        self._memory = Memory()
        self._snapshot: Snapshot | None = None
        # what the store could not be told, because its disk failed
        self._handled: dict[tuple[str, str], str] = {}
        self._immovable: Finding | None = None
        self._pruned_at = float("-inf")
        self._moved = 0  # since then

    @property
    def troubles(self) -> frozenset[Finding]:
        """What ails the directory as a whole, by the last look and the last step."""
        seen = self._snapshot.trouble if self._snapshot else ()
        return frozenset(seen) | ({self._immovable} if self._immovable else set())

    def make(self) -> None:
        """Make the directory (0700) if it is an inbox and its parent is there."""
        if self._origin.kind is Kind.INBOX and not self._origin.path.exists():
            with suppress(OSError):  # what is wrong shows in `troubles` at the first look
                self._origin.path.mkdir(mode=0o700)

    def survey(self) -> Plan:
        """Look once and decide; without the steps that should wait for somebody who is still writing."""
        self._prune()
        self._snapshot = read_snapshot(self._origin.path, self._origin.kind, self._snapshot)
        knowledge = Knowledge(self._is_known, self._receipt_of, self._contents.of)
        decided = plan(self._snapshot, self._memory, knowledge, self._timing)
        self._memory = decided.memory
        self._contents.forget_all_but(entry for _, entry in self._snapshot.marks())
        return self._without_those_being_written(decided)

    def handle(self, step: Step) -> Receipt | None:
        """Do one step of the plan; gives the receipt that came of it, if any. Raises StoreError."""
        if isinstance(step, Leftover):
            self._move(step.receipt, step.entries)
            return None
        source, via = self._origin.source, self._origin.via
        if isinstance(step, Ready):
            receipt = self._store.propose(step.candidate, source=source, via=via, examiner=self._examiner)
        else:
            receipt = self._store.refused(source, via, step.findings)
        self._handled[step.group, step.digest] = receipt.id
        self._store.remember(step.group, step.digest, receipt.id)
        del self._handled[step.group, step.digest]
        if receipt.state is State.REFUSED and self._origin.kind is Kind.INBOX:
            self._move(receipt.id, step.own)
        return receipt

    def _is_known(self, spki: str) -> bool:
        return self._store.known_key(spki) is not None

    def _receipt_of(self, group: str, digest: str) -> str | None:
        return self._handled.get((group, digest)) or self._store.handled(group, digest)

    def _without_those_being_written(self, decided: Plan) -> Plan:
        now = time.monotonic()
        ready = tuple(step for step in decided.ready if not self._waits(step, now))
        problems = tuple(step for step in decided.problems if not self._waits(step, now))
        again_at = decided.look_again_at
        for kept, planned, after_s in (
            (ready, decided.ready, self._timing.settle_s),
            (problems, decided.problems, self._timing.patience_s),
        ):
            if len(kept) < len(planned):
                again_at = min(again_at or now + after_s, now + after_s)
        return replace(decided, ready=ready, problems=problems, look_again_at=again_at)

    def _waits(self, step: Ready | Problem, now: float) -> bool:
        return now < step.patient_until and any(
            entry.content is not None and has_writer(Path(step.group, entry.name)) for entry in step.entries
        )

    def _move(self, receipt: str, entries: Iterable[Entry]) -> None:
        """Put refused files away; what can't be read stays, because who put it there has to mend it."""
        movable = (e for e in entries if e.trouble is None or e.trouble.code != "file_unreadable")
        self._immovable = self._quarantine.take(receipt, movable)
        self._moved += 1

    def _prune(self) -> None:
        if self._origin.kind is not Kind.INBOX:
            return
        # by number, too: whoever drops thousands of files must not fill the flash with folders for an hour
        if self._moved > KEPT or time.monotonic() - self._pruned_at >= PRUNE_EVERY_S:
            self._pruned_at, self._moved = time.monotonic(), 0
            if self._store.clock_plausible():
                self._quarantine.prune(self._clock())
