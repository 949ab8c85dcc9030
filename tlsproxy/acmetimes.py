"""When the next word goes to an ACME authority: the pure schedule, joined to what the disk remembers.

Promises: each point in time is chosen once and written down, so that a reboot chooses nothing anew. Refuses
to know what is done then (acmekeeping.py), and by which rules points are chosen (certstore's schedule.py).

The client is imported when somebody has enrolled: nobody else carries it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from certstore import Bundle
from tlsproxy import policy_acme as policy
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment, Enrolments, Renewal
    from certstore.issuers.acme.errors import AcmeError
    from certstore.issuers.acme.issuing import Issuer

__all__ = ["Times", "failed_at"]

_log = logger("acme")
_chance = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Times:
    """The times of one enrolment, whose newest certificate is `bundle`; None before the first."""

    enrolments: Enrolments
    issuer: Issuer
    enrolment: Enrolment
    bundle: Bundle | None

    async def after_absence(self, now: datetime) -> datetime | None:
        """Give until when to wait, where something has been due while this device was off; else None."""
        from certstore.issuers.acme.schedule import after_absence

        renewal = self.enrolments.renewal
        dues = [self.enrolment.since]
        if self.bundle is not None:
            if renewal.bundle != self.bundle.id:  # it has just come
                return None
            dues = [due for due in (renewal.renew_at, renewal.ask_at) if due is not None]
        due = max(min(dues), renewal.next_at or self.enrolment.since)
        wait = after_absence(due, now, _left(self.bundle, now), _chance())
        if not wait:
            return None
        _log.info("acme_was_absent", since=due.isoformat(), waits_s=round(wait.total_seconds()))
        await self._note(replace(renewal, next_at=now + wait))
        return now + wait

    async def next_due(self, now: datetime) -> datetime:
        """Give when something is due: a certificate, chosen once, or the authority's word on it, by then."""
        if self.bundle is None:
            return now
        renewal = await self._scheduled(self.bundle, now)
        assert renewal.renew_at is not None, "a certificate has its point"
        if renewal.renew_at <= now or renewal.ask_at is None:
            return renewal.renew_at
        return min(renewal.renew_at, renewal.ask_at)

    async def _scheduled(self, bundle: Bundle, now: datetime) -> Renewal:
        """Give when a certificate is to be renewed: chosen once, and anew where its authority wishes."""
        from certstore.issuers.acme.enrolment import Renewal
        from certstore.issuers.acme.errors import AcmeError
        from certstore.issuers.acme.schedule import due_at, within

        renewal = self.enrolments.renewal
        if renewal.bundle != bundle.id:
            leaf = bundle.leaf
            point = due_at(leaf.not_valid_before_utc, leaf.not_valid_after_utc, _chance())
            renewal = Renewal(bundle.id, renew_at=point, ask_at=now)
        if renewal.ask_at is None or now >= renewal.ask_at:
            again = now + policy.ASK_AGAIN
            try:
                info = await self.issuer.renewal_info(self.enrolment.server, bundle.leaf)
            except AcmeError as error:
                _log.info("acme_suggestion_missing", code=error.code, why=str(error))
                info = None
            if info is not None:
                again = info.again_at
                if not (renewal.renew_at is not None and info.start <= renewal.renew_at < info.end):
                    renewal = replace(renewal, renew_at=within(info, _chance()))
            renewal = replace(renewal, ask_at=again)
        await self._note(renewal)
        return renewal

    async def _note(self, renewal: Renewal) -> None:
        await in_thread(lambda: self.enrolments.note(renewal))


def failed_at(now: datetime, renewal: Renewal, bundle: Bundle | None, error: AcmeError | None) -> Renewal:
    """Give how it stands after one more failure: when to try again, what counts against the limits."""
    from certstore.issuers.acme.schedule import HOUR_KEPT, next_try, pause

    failures, recent = renewal.failures + 1, (*renewal.recent, now)[-HOUR_KEPT:]
    is_lasting = error is not None and error.is_lasting
    wait = pause(failures, _chance(), is_lasting=is_lasting, left=_left(bundle, now))
    next_at = next_try(now, wait, recent)
    if error is not None and error.retry_at is not None:
        next_at = max(next_at, error.retry_at)
    return replace(renewal, failures=failures, recent=recent, next_at=next_at)


def _left(bundle: Bundle | None, now: datetime) -> timedelta | None:
    """Say what is left of a certificate's life; None without one."""
    return bundle.leaf.not_valid_after_utc - now if bundle is not None else None
