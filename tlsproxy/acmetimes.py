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

from certstore import Bundle, KeyType, Source, Store, covers
from tlsproxy import policy_acme as policy
from tlsproxy.acmewishes import is_rsa
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment, Enrolments, Renewal
    from certstore.issuers.acme.issuing import Issuer
    from certstore.issuers.acme.renewalinfo import RenewalInfo
    from certstore.issuers.acme.wishes import Issued, Server

__all__ = ["Come", "Failure", "Times", "is_shadowed"]

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
class Come:
    """What has come. ids: of all that stands in the store then, of two the EC one first."""

    issued: tuple[Issued, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """The times of one enrolment, whose newest certificate is in `bundles`; none before the first.

    An EC and an RSA one are renewed together: when the first of them is due. Where only one of them comes,
    the other is wanted on, as after any failure, and the times are those of the one that has come.
    """

    enrolments: Enrolments
    issuer: Issuer
    enrolment: Enrolment
    bundles: tuple[Bundle, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The bundles, by their ids."""
        return tuple(one.id for one in self.bundles)

    def kinds(self, now: datetime) -> tuple[KeyType, ...]:
        """Give the key of each certificate that is to be ordered now: of two perhaps one."""
        renewal, every = self.enrolments.renewal, self.enrolment.key_types
        is_due = renewal.is_asked or (renewal.renew_at is not None and renewal.renew_at <= now)
        if renewal.lacking is None or is_due:
            return every
        return tuple(kind for kind in every if kind.is_rsa is renewal.lacking.is_rsa)

    async def after_absence(self, now: datetime) -> datetime | None:
        """Give until when to wait, where something has been due while this device was off; else None."""
        from certstore.issuers.acme.schedule import after_absence

        renewal = self.enrolments.renewal
        dues = [self.enrolment.since]
        if self.bundles:
            if renewal.ids != self.ids:  # it has just come
                return None
            dues = [due for due in (renewal.renew_at, renewal.ask_at) if due is not None]
        due = max(min(dues), renewal.next_at or self.enrolment.since)
        wait = after_absence(due, now, self._left(self.kinds(now), now), _chance())
        if not wait:
            return None
        _log.info("acme_was_absent", since=due.isoformat(), waits_s=round(wait.total_seconds()))
        await self._note(replace(renewal, next_at=now + wait))
        return now + wait

    async def next_due(self, now: datetime) -> datetime:
        """Give when something is due: a certificate, chosen once, or the authority's word on it, by then."""
        if not self.bundles:
            return now
        renewal = await self._scheduled(now)
        if renewal.lacking is not None:
            if renewal.renew_at is not None and renewal.renew_at <= now:
                await self._note(renewal.whole())
            return now
        assert renewal.renew_at is not None, "a certificate has its point"
        if renewal.renew_at <= now or renewal.ask_at is None:
            return renewal.renew_at
        return min(renewal.renew_at, renewal.ask_at)

    async def _scheduled(self, now: datetime) -> Renewal:
        """Give when a certificate is to be renewed: chosen once, and anew where its authority wishes."""
        from certstore.issuers.acme.schedule import latest, within

        renewal = self.enrolments.renewal
        if renewal.ids != self.ids:
            renewal = self._begun(renewal, now)
        timed = _timed(self.bundles, renewal.lacking)
        lives = [(one.leaf.not_valid_before_utc, one.leaf.not_valid_after_utc) for one in timed]
        # RFC 9773 section 4.3: nobody asks for one that has ended
        living = [one for one in timed if now < one.leaf.not_valid_after_utc]
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

    def _begun(self, renewal: Renewal, now: datetime) -> Renewal:
        """Begin anew for what stands here since: another came, or one of two was lost, and is lacking."""
        from certstore.issuers.acme.enrolment import Renewal
        from certstore.issuers.acme.schedule import due_at

        first, other = (*self.ids, None)[:2]
        lives = [(one.leaf.not_valid_before_utc, one.leaf.not_valid_after_utc) for one in self.bundles]
        here = {is_rsa(one) for one in self.bundles}
        lacking = next((kind for kind in self.enrolment.key_types if kind.is_rsa not in here), None)
        is_part = lacking is not None and self.enrolment.beside is not None
        return replace(
            renewal if is_part else Renewal(),
            bundle=first,
            beside=other,
            lacking=lacking if is_part else None,
            renew_at=min(due_at(begin, end, _chance()) for begin, end in lives),
            ask_at=now,
            authority=renewal.authority_of(first or ""),
            beside_authority=renewal.authority_of(other) if other is not None else "",
        )

    async def _suggested(
        self, renewal: Renewal, bundles: Sequence[Bundle], now: datetime
    ) -> tuple[RenewalInfo | None, datetime]:
        """Ask when to renew these, and when to ask again. None unless the authority says so of each."""
        from certstore.issuers.acme.errors import AcmeError
        from certstore.issuers.acme.renewalinfo import RenewalInfo, earliest

        infos = list[RenewalInfo]()
        for bundle in bundles:
            server = self.enrolment.server_at(renewal.authority_of(bundle.id))
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

    def after_success(self, now: datetime, come: Come) -> Renewal:
        """Give how it stands when all has come that is wanted: whatever it is like, no other is at once.

        Its point is chosen here: whoever asks hears of it now, and not only after `next_at`.
        """
        from certstore.issuers.acme.enrolment import Renewal

        before = self.enrolments.renewal
        begun = Renewal(authority=before.authority, beside_authority=before.beside_authority)
        renewal = self._with(begun, now, come)
        if before.lacking is not None and len(come.issued) < len(come.ids):  # what came before is due first
            points = (one for one in (before.renew_at, renewal.renew_at) if one is not None)
            renewal = replace(renewal, renew_at=min(points))
        shortest = min(one.leaf.not_valid_after_utc - one.leaf.not_valid_before_utc for one in come.issued)
        return replace(renewal, next_at=now + min(policy.SOONEST_AGAIN, shortest * policy.SOONEST_SHARE))

    def after_part(self, now: datetime, come: Come) -> Renewal:
        """Give how it stands when one of two has come, and the other hasn't: that one is wanted on."""
        is_rsa_there = come.issued[0].key_type.is_rsa
        lacking = next(kind for kind in self.enrolment.key_types if kind.is_rsa is not is_rsa_there)
        return replace(self._with(self.enrolments.renewal, now, come), lacking=lacking)

    def _with(self, renewal: Renewal, now: datetime, come: Come) -> Renewal:
        """Note what has come: from whom, and when it is due."""
        from certstore.issuers.acme.schedule import due_at

        first, other = (*come.ids, None)[:2]
        authority, beside_authority = renewal.authority, renewal.beside_authority or renewal.authority
        for one in come.issued:
            account = self.issuer.accounts.get(one.account)
            directory = account.directory if account is not None else ""
            if other is not None and one.key_type.is_rsa:
                beside_authority = directory
            else:
                authority = directory
        leaves = [one.leaf for one in come.issued]
        return replace(
            renewal,
            bundle=first,
            beside=other,
            renew_at=min(
                due_at(one.not_valid_before_utc, one.not_valid_after_utc, _chance()) for one in leaves
            ),
            ask_at=now,
            is_asked=False,
            authority=authority,
            beside_authority=beside_authority if other is not None else "",
        )

    def after_failure(
        self, now: datetime, server: Server, error: Failure, come: Come | None = None
    ) -> Renewal:
        """Give how it stands after one more failure: when to try again, what counts against the limits.

        come: of two the one that has come all the same.
        """
        from certstore.issuers.acme.errors import AcmeError
        from certstore.issuers.acme.schedule import HOUR_KEPT, TRIES_AT_FIRST, next_try, pause, turn_of

        renewal, servers = self.enrolments.renewal, self.enrolment.servers
        left = self._left(self.kinds(now), now)
        if come is not None:
            renewal = self.after_part(now, come)
            left = self._left((renewal.lacking,) if renewal.lacking is not None else (), now)
        failures, recent = renewal.failures + 1, (*renewal.recent, now)[-HOUR_KEPT:]
        barred = {one: at for one, at in renewal.barred.items() if now < at}
        said = error if isinstance(error, AcmeError) else None
        if said is not None and said.retry_at is not None:
            barred[server.directory] = said.retry_at
        # what nobody but a person can mend with one authority may go well with another
        tried_all = len(servers) == 1 or failures > 2 * TRIES_AT_FIRST
        is_lasting = said is not None and said.is_lasting and tried_all
        wait = pause(failures, _chance(), is_lasting=is_lasting, left=left)
        if renewal.renew_at is not None and now < renewal.renew_at:  # then all are wanted again
            wait = min(wait, renewal.renew_at - now)
        next_at = next_try(now, wait, recent)
        until = [barred.get(one.directory, now) for one in servers]
        following = turn_of(failures, [next_at + policy.PATIENCE < at for at in until])
        next_at = max(next_at, min(until) if following is None else until[following])
        failed = replace(renewal, failures=failures, recent=recent, barred=barred, next_at=next_at)
        return replace(failed, code=error.code, words=str(error), hint=error.hint)

    def _left(self, kinds: Sequence[KeyType], now: datetime) -> timedelta | None:
        """Say what is left until the first of those ends that these follow; None where none is good."""
        are_rsa = {kind.is_rsa for kind in kinds}
        is_alone = len(self.enrolment.key_types) == 1  # what comes alone follows whatever is there
        ends = [one.leaf.not_valid_after_utc for one in self.bundles if is_alone or is_rsa(one) in are_rsa]
        return min((end - now for end in ends if now < end), default=None)

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


def _timed(bundles: Sequence[Bundle], lacking: KeyType | None) -> list[Bundle]:
    """Leave out the one that is lacking, and perhaps there still: the times aren't its."""
    return [one for one in bundles if lacking is None or is_rsa(one) is not lacking.is_rsa]
