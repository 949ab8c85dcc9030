"""What store tests share: a clock that they own, a gate and a publisher that note what they were asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path

from certstore.bundle import Bundle
from certstore.decode import Candidate
from certstore.examination import InProcess
from certstore.findings import Finding, found
from certstore.generation import Generation
from certstore.slots import Source
from certstore.store import Store
from tests.pki import Issued


class Clock:
    """Stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def go(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


class OpenGate:
    """Lets everything through, and counts."""

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        self.tried: list[Bundle] = []

    def try_out(self, bundle: Bundle) -> tuple[Finding, ...]:
        self.tried.append(bundle)
        return self.findings


class ShutGate(OpenGate):
    """Lets nothing through."""

    def __init__(self) -> None:
        super().__init__(found("gate_failed", why="the test says so"))


class NotingPublisher:
    """Notes every call; `during` is called with each generation while it is prepared."""

    def __init__(self, during: Callable[[Generation], object] = lambda _: None) -> None:
        self.during = during
        self.prepared: list[Generation] = []
        self.committed: list[Generation] = []
        self.ended: list[tuple[frozenset[str], str]] = []

    def prepare(self, generation: Generation) -> None:
        self.prepared.append(generation)
        self.during(generation)

    def commit(self, generation: Generation) -> None:
        self.committed.append(generation)

    def end(self, bundles: Collection[str], why: str) -> None:
        self.ended.append((frozenset(bundles), why))


def candidate_of(issued: Issued) -> Candidate:
    return Candidate((("tls.key", issued.key_pem), ("tls.crt", issued.chain_pem)))


def propose(store, issued, source=Source.CUSTOMER, gate=None):
    examiner = InProcess(gate or OpenGate())
    return store.propose(candidate_of(issued), source=source, via="test", examiner=examiner)


def files_under(root: Path) -> dict[str, bytes | None]:
    """Everything in a store but the lock's note; folders hold None."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if path.name != "lock"
    }


def served(store: Store) -> str | None:
    return store.active.default if store.active is not None else None


def active_of(store: Store) -> Generation:
    assert store.active is not None
    return store.active


def half_done(root: Path) -> list[str]:
    return [
        name for _, folders, files in os.walk(root) for name in folders + files if name.startswith(".new-")
    ]
