"""What the disk knows of ACME: what is wanted, how it goes, accounts, orders; and which certificate is there.

Promises: it is read once, and anew where a reset has erased it; for two who ask at a time it is the same, so
that no account is made twice. What is damaged is told, and hinders nobody from enrolling again. Refuses to
know what is done with it (acmekeeping.py).

The client and its HTTP library are imported when somebody has enrolled: nobody else carries them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import trio

from certstore import Bundle, Finding, Slot, Source, Store, StoreError, found
from certstore.atomic import Disk
from tlsproxy.acmeleft import Left, left_in
from tlsproxy.acmewishes import Terms
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment, Enrolments
    from certstore.issuers.acme.errors import AcmeError
    from certstore.issuers.acme.introductions import Introductions
    from certstore.issuers.acme.issuing import Issuer
    from certstore.issuers.acme.wishes import Server

__all__ = ["Books", "Known"]

_log = logger("acme")
_chance = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Known:
    """What was read. `damaged`: what couldn't be."""

    enrolments: Enrolments
    issuer: Issuer
    introductions: Introductions
    damaged: tuple[Finding, ...] = ()


class Books:
    """The records of one store. On the event loop; what blocks is done in threads. Raises StoreError."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Take the store, whose lock the caller holds, and the wall clock."""
        self._store, self._clock = store, clock
        self._lock = trio.Lock()  # for what decides whether there is an enrolment, on the disk and in memory
        self._was_enrolled = False
        self.known: Known | None = None
        self.hear: Callable[[AcmeError], None] = lambda _: None
        """Told why an authority is asked once more."""

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

    async def keep_terms(self, terms: Terms, missed: Iterable[Server]) -> None:
        """Keep what authorities without an account are still to be told, if any of these is one."""
        known = await self.open()
        if all(_has_account(known.issuer, server) for server in missed):
            await in_thread(known.introductions.drop)
        else:
            introduction = terms.introduction()
            await in_thread(lambda: known.introductions.keep(introduction))

    async def introduce(self, enrolment: Enrolment, server: Server) -> None:
        """Make the account at an authority that couldn't be reached when somebody enabled it, if it is so.

        Raises AcmeError or StoreError.
        """
        known = await self.open()
        if _has_account(known.issuer, server):
            return
        kept = await in_thread(known.introductions.load)
        if kept is None:
            return
        await Terms(kept.contacts, kept.is_agreed, kept.bindings).register(known.issuer, server)
        if all(_has_account(known.issuer, one) for one in enrolment.servers):
            await in_thread(known.introductions.drop)

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

    def left(self) -> tuple[Left, ...]:
        """Give what ACME brought for names that aren't wanted any more; in a thread."""
        wanted = self.known.enrolments.enrolment if self.known is not None else None
        brought = [slot for slot in self._store.slots() if slot.source is Source.ACME]
        if wanted is None or all(set(slot.names) == set(wanted.names) for slot in brought):
            return ()  # as it mostly is: nothing is read
        return tuple(left_in(self._store, wanted.names, self.newest()[0], self._clock()))

    def _read(self) -> Known:
        from certstore.issuers.acme.enrolment import Enrolments
        from certstore.issuers.acme.introductions import Introductions

        enrolments, issuer = Enrolments(self._store.path, self._disk()), self._issuer()
        damaged = tuple(found("acme_account_damaged", why=error) for error in enrolments.load())
        damaged += issuer.load()
        for finding in damaged:
            _log.warning("finding", code=finding.code, words=finding.words, hint=finding.hint)
        return Known(enrolments, issuer, Introductions(self._store.path, self._disk()), damaged)

    def _issuer(self) -> Issuer:
        from certstore.issuers.acme.issuing import Issuer, Surroundings

        surroundings = Surroundings(self._clock, _chance, offload=in_thread, hear=self._heard)
        return Issuer(self._store.path, self._disk(), surroundings)

    def _heard(self, error: AcmeError) -> None:
        self.hear(error)

    def _disk(self) -> Disk:
        return Disk()


def _has_account(issuer: Issuer, server: Server) -> bool:
    account = issuer.account(server.directory)
    return account is not None and account.url is not None
