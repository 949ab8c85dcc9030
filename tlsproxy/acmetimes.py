"""When the next word goes to an ACME authority: the pure schedule, joined to what the disk remembers.

Promises: each point in time is chosen once and written down, so that a reboot chooses nothing anew. Refuses
to know what is done then (acmekeeping.py), and by which rules points are chosen (certstore's schedule.py).

The client is imported when somebody has enrolled: nobody else carries it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from certstore import Bundle, Source, Store, covers
from tlsproxy import policy_acme as policy
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment, Enrolments, Renewal
    from certstore.issuers.acme.issuing import Issuer
    from certstore.issuers.acme.renewalinfo import RenewalInfo
    from certstore.issuers.acme.wishes import Issued, Server

__all__ = ["Failure", "Times", "is_shadowed"]

_log = logger("acme")
_chance = random.SystemRandom().random


class Failure(Protocol):
    """Why nothing came of a try: an AcmeError, or what the device itself hadn't (a StoreError, a thread)."""

    @property
    def code(self) -> str:
        """A stable one."""
        ...

    @property
    def hint(self) -> str:
        """What to do about it."""
        ...

    def __str__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Times:
    """The times of one enrolment, whose newest certificate is in `bundles`; none before the first.

    An EC and an RSA one, which come together, are renewed together: when the first of them is due.
    """

    enrolments: Enrolments
    issuer: Issuer
    enrolment: Enrolment
    bundles: tuple[Bundle, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all that is wanted is there: it isn't before the first, and where one of a pair is lost."""
        return len(self.bundles) >= len(self.enrolment.key_types)

    async def after_absence(self, now: datetime) -> datetime | None:
        """Give until when to wait, where something has been due while this device was off; else None."""
        from certstore.issuers.acme.schedule import after_absence

        renewal = self.enrolments.renewal
        dues = [self.enrolment.since]
        if self.bundles:
            if renewal.bundle != self.bundles[0].id:  # it has just come
                return None
            dues = [due for due in (renewal.renew_at, renewal.ask_at) if due is not None]
        due = max(min(dues), renewal.next_at or self.enrolment.since)
        wait = after_absence(due, now, _left(self.bundles, now), _chance())
        if not wait:
            return None
        _log.info("acme_was_absent", since=due.isoformat(), waits_s=round(wait.total_seconds()))
        await self._note(replace(renewal, next_at=now + wait))
        return now + wait

    async def next_due(self, now: datetime) -> datetime:
        """Give when something is due: a certificate, chosen once, or the authority's word on it, by then."""
        if not self.is_whole:
            return now
        renewal = await self._scheduled(now)
        assert renewal.renew_at is not None, "a certificate has its point"
        if renewal.renew_at <= now or renewal.ask_at is None:
            return renewal.renew_at
        return min(renewal.renew_at, renewal.ask_at)

    async def _scheduled(self, now: datetime) -> Renewal:
        """Give when a certificate is to be renewed: chosen once, and anew where its authority wishes."""
        from certstore.issuers.acme.enrolment import Renewal
        from certstore.issuers.acme.schedule import due_at, latest, within

        renewal, first = self.enrolments.renewal, self.bundles[0].id
        lives = [(one.leaf.not_valid_before_utc, one.leaf.not_valid_after_utc) for one in self.bundles]
        if renewal.bundle != first:
            point = min(due_at(begin, end, _chance()) for begin, end in lives)
            renewal = Renewal(first, renew_at=point, ask_at=now, authority=renewal.authority)
        # RFC 9773 section 4.3: nobody asks for one that has ended
        living = [one for one in self.bundles if now < one.leaf.not_valid_after_utc]
        if living and (renewal.ask_at is None or now >= renewal.ask_at):
            info, again = await self._suggested(renewal, living, now)
            if info is not None and not (
                renewal.renew_at is not None and info.start <= renewal.renew_at < info.end
            ):
                by = min(latest(begin, end) for begin, end in lives)
                renewal = replace(renewal, renew_at=min(within(info, _chance()), by))
            renewal = replace(renewal, ask_at=again)
        await self._note(renewal)
        return renewal

    async def _suggested(
        self, renewal: Renewal, bundles: Sequence[Bundle], now: datetime
    ) -> tuple[RenewalInfo | None, datetime]:
        """Ask when to renew these, and when to ask again. None unless the authority says so of each."""
        from certstore.issuers.acme.errors import AcmeError
        from certstore.issuers.acme.renewalinfo import RenewalInfo, earliest

        server, infos = self.enrolment.server_at(renewal.authority), list[RenewalInfo]()
        for bundle in bundles:
            try:
                info = await self.issuer.renewal_info(server, bundle.leaf)
            except AcmeError as error:
                _log.info("acme_suggestion_missing", code=error.code, why=str(error))
                info = None
            if info is None:
                return None, now + policy.ASK_AGAIN
            infos.append(info)
        joined = earliest(infos)
        return joined, joined.again_at

    def whose_turn(self, now: datetime) -> Server:
        """Give the authority to ask now; the first where none would listen, which was waited for."""
        from certstore.issuers.acme.schedule import turn_of

        renewal, servers = self.enrolments.renewal, self.enrolment.servers
        barred = [now < renewal.barred.get(one.directory, now) for one in servers]
        return servers[turn_of(renewal.failures, barred) or 0]

    def after_success(self, now: datetime, issued: Sequence[Issued], bundle: str) -> Renewal:
        """Give how it stands when a certificate has come: whatever it is like, no other is wanted at once.

        bundle: its id, of two the EC one's. Its point is chosen here: whoever asks hears of it now, and not
        only after `next_at`.
        """
        from certstore.issuers.acme.enrolment import Renewal
        from certstore.issuers.acme.schedule import due_at

        lives = [(one.leaf.not_valid_before_utc, one.leaf.not_valid_after_utc) for one in issued]
        shortest = min(end - begin for begin, end in lives)
        account = self.issuer.accounts.get(issued[0].account)
        return Renewal(
            bundle,
            renew_at=min(due_at(begin, end, _chance()) for begin, end in lives),
            ask_at=now,
            next_at=now + min(policy.SOONEST_AGAIN, shortest * policy.SOONEST_SHARE),
            authority=account.directory if account is not None else "",
        )

    def after_failure(self, now: datetime, server: Server, error: Failure) -> Renewal:
        """Give how it stands after one more failure: when to try again, what counts against the limits."""
        from certstore.issuers.acme.errors import AcmeError
        from certstore.issuers.acme.schedule import HOUR_KEPT, TRIES_AT_FIRST, next_try, pause, turn_of

        renewal, servers = self.enrolments.renewal, self.enrolment.servers
        failures, recent = renewal.failures + 1, (*renewal.recent, now)[-HOUR_KEPT:]
        barred = {one: at for one, at in renewal.barred.items() if now < at}
        said = error if isinstance(error, AcmeError) else None
        if said is not None and said.retry_at is not None:
            barred[server.directory] = said.retry_at
        # what nobody but a person can mend with one authority may go well with another
        tried_all = len(servers) == 1 or failures > 2 * TRIES_AT_FIRST
        is_lasting = said is not None and said.is_lasting and tried_all
        wait = pause(failures, _chance(), is_lasting=is_lasting, left=_left(self.bundles, now))
        next_at = next_try(now, wait, recent)
        until = [barred.get(one.directory, now) for one in servers]
        following = turn_of(failures, [next_at + policy.PATIENCE < at for at in until])
        next_at = max(next_at, min(until) if following is None else until[following])
        failed = replace(renewal, failures=failures, recent=recent, barred=barred, next_at=next_at)
        return replace(failed, code=error.code, words=str(error), hint=error.hint)

    async def _note(self, renewal: Renewal) -> None:
        await in_thread(lambda: self.enrolments.note(renewal))


def is_shadowed(store: Store, enrolment: Enrolment, now: datetime) -> bool:
    """Say whether a certificate that the customer brought has all the names that are wanted."""
    return any(
        slot.source is Source.CUSTOMER
        and all(any(covers(mine, name) for mine in slot.names) for name in enrolment.names)
        and now < store.meta(slot.bundle).facts.not_after
        for slot in store.slots()
    )


def _left(bundles: Sequence[Bundle], now: datetime) -> timedelta | None:
    """Say what is left until the first of them ends; None without one."""
    return min((bundle.leaf.not_valid_after_utc - now for bundle in bundles), default=None)
