"""A change by the running proxy, or by ourselves on the store where none runs.

Theory: between "no proxy answers" and "I have the lock" a proxy may start, and it holds the lock for its
whole life from a moment before it answers. So both are tried in turn until one succeeds: asking first,
since a proxy that runs must learn of the change; then the lock for a moment; and at last the lock's own
error, which names its holder.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from certstore import Receipt, Store, StoreLocked
from tlsproxy.boottime import boot_clock
from tlsproxy.cli.ownership import become_owner
from tlsproxy.cli.places import Whereabouts, somewhere_else
from tlsproxy.control.client import Client
from tlsproxy.errors import NotRunningError
from tlsproxy.observe.audit import Actor, AuditLog

__all__ = ["VIA", "Done", "audit", "by_proxy_or_here", "open_store", "whichever", "who_we_are"]

T = TypeVar("T")

VIA = "cli"
_LOCK_WAIT_S = 5.0
_LOCK_TURN_S = 0.25


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What came of it, and whether a running proxy did it."""

    value: T
    is_running: bool


def by_proxy_or_here(
    place: Whereabouts, what: str, ask: Callable[[Client], Receipt], act: Callable[[Store], Receipt]
) -> Done[Receipt]:
    """Have the proxy make a change, or make it on the store, whichever can be had first.

    what: the change's name in the audit log, which a proxy writes itself. Raises as `whichever`.
    """

    def note(log: AuditLog, actor: Actor, receipt: Receipt) -> None:
        log.note_receipt(actor, receipt, what)

    return whichever(place, ask, act, note)


def whichever(
    place: Whereabouts,
    ask: Callable[[Client], T],
    act: Callable[[Store], T],
    note: Callable[[AuditLog, Actor, T], None],
) -> Done[T]:
    """Have the proxy do it, or do it on the store and note it in its audit log, whichever can be had first.

    Raises:
        StoreError: the store can't be opened or written; StoreLocked after 5 s.
        ControlError: the running proxy can't be asked.

    """
    deadline, actor = time.monotonic() + _LOCK_WAIT_S, who_we_are()
    while True:
        try:
            with Client(place.control) as client:
                return Done(ask(client), is_running=True)
        except NotRunningError as error:
            if place.known is None:
                raise somewhere_else(error) from None
        try:
            become_owner(place)
            with open_store(place.store, _LOCK_TURN_S) as store:
                done = act(store)
                note(_audit_log(place.store), actor, done)
                return Done(done, is_running=False)
        except StoreLocked:
            if time.monotonic() > deadline:
                raise


def who_we_are() -> Actor:
    """Say who gives this command; to be asked before we become somebody else."""
    return Actor("command", uid=os.getuid(), pid=os.getpid())


def audit(store: Path, actor: Actor, what: str, receipt: Receipt) -> None:
    """Write a change of ours down in the store's audit log, or say that it can't be."""
    _audit_log(store).note_receipt(actor, receipt, what)


def _audit_log(store: Path) -> AuditLog:
    def untold(error: OSError) -> None:
        print(f"tlsproxy: warning: the audit log can't be written: {error.strerror}", file=sys.stderr)

    return AuditLog(store, lambda: datetime.now(UTC), told=untold)


def open_store(path: Path, lock_wait_s: float) -> Store:
    """Hold a store that no proxy holds. Raises StoreError."""
    return Store.open(path, clock=lambda: datetime.now(UTC), boot_clock=boot_clock(), lock_wait_s=lock_wait_s)
