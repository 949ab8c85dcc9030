"""What the disk knows of ACME: what is wanted, how it goes, accounts, orders; and which certificate is there.

Promises: it is read once, and anew where a reset has erased it; for two who ask at a time it is the same, so
that no account is made twice. What is damaged is told, and hinders nobody from enrolling again. Refuses to
know what is done with it (acmekeeping.py).

The client and its HTTP library are imported when somebody has enrolled: nobody else carries them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import trio

from certstore import Bundle, Finding, Slot, Source, Store, StoreError, found
from certstore.atomic import Disk
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment, Enrolments
    from certstore.issuers.acme.issuing import Issuer

__all__ = ["Books", "Known"]

_log = logger("acme")
_chance = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Known:
    """What was read. `damaged`: what couldn't be."""

    enrolments: Enrolments
    issuer: Issuer
    damaged: tuple[Finding, ...] = ()


class Books:
    """The records of one store. On the event loop; what blocks is done in threads. Raises StoreError."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Take the store, whose lock the caller holds, and the wall clock."""
        self._store, self._clock = store, clock
        self._lock = trio.Lock()  # for what decides whether there is an enrolment, on the disk and in memory
        self._was_enrolled = False
        self.known: Known | None = None

    async def open(self) -> Known:
        """Give what there is."""
        async with self._lock:
            is_erased = self._was_enrolled and not self._store.is_enrolled
            if self.known is None or is_erased or self.known.enrolments.is_erased:
                self.known = await in_thread(self._read)
                self._was_enrolled = self._store.is_enrolled
            return self.known

    async def enrol(self, enrolment: Enrolment) -> None:
        """Want this from now on."""
        enrolments = (await self.open()).enrolments
        async with self._lock:
            await in_thread(lambda: enrolments.enrol(enrolment))
            self._was_enrolled = True

    async def withdraw(self, *, is_declined: bool) -> None:
        """Want nothing any more; is_declined: since a person has said so."""
        enrolments = (await self.open()).enrolments
        async with self._lock:
            await in_thread(lambda: enrolments.withdraw(is_declined=is_declined))
            self._was_enrolled = False

    @property
    def is_enrolled(self) -> bool:
        """Whether something is wanted, as the disk says."""
        return self._store.is_enrolled

    @property
    def damaged(self) -> tuple[Finding, ...]:
        """Give why nobody knows what is wanted, though something is."""
        known = self.known
        is_lost = known is not None and known.enrolments.enrolment is None and self._store.is_enrolled
        return known.damaged if known is not None and is_lost else ()

    def current(self) -> tuple[Bundle, ...]:
        """Give what may be served of ACME's newest: none where its key is banned, of two perhaps one."""
        return tuple(bundle for bundle in self.newest()[1] if not self._store.is_banned(bundle.spki))

    def newest(self) -> tuple[Slot | None, tuple[Bundle, ...]]:
        """Give ACME's newest with all names that are wanted, and what stands beside it; and their slot."""
        wanted = self.known.enrolments.enrolment if self.known is not None else None
        if wanted is None:
            return None, ()
        fit = [
            s for s in self._store.slots() if s.source is Source.ACME and set(wanted.names) <= set(s.names)
        ]
        for slot in sorted(fit, key=lambda slot: slot.newness, reverse=True):
            if bundles := tuple(self._readable(slot)):
                return slot, bundles
        return None, ()

    def _readable(self, slot: Slot) -> Iterator[Bundle]:
        for id_ in slot.bundles:
            try:
                yield self._store.bundle(id_)
            except StoreError as error:
                _log.error("acme_bundle_lost", bundle=id_, why=str(error))

    def _read(self) -> Known:
        from certstore.issuers.acme.enrolment import Enrolments

        enrolments, issuer = Enrolments(self._store.path, self._disk()), self._issuer()
        damaged = tuple(found("acme_account_damaged", why=error) for error in enrolments.load())
        damaged += issuer.load()
        for finding in damaged:
            _log.warning("finding", code=finding.code, words=finding.words, hint=finding.hint)
        return Known(enrolments, issuer, damaged)

    def _issuer(self) -> Issuer:
        from certstore.issuers.acme.issuing import Issuer, Surroundings

        surroundings = Surroundings(self._clock, _chance, offload=in_thread)
        return Issuer(self._store.path, self._disk(), surroundings)

    def _disk(self) -> Disk:
        return Disk()
