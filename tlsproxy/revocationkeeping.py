"""Whether our own certificates are revoked: asked of their authorities, again and again, and stapled.

    what is watched (revocationwatch) -> due? (revocationtimes) -> asked and judged (revocationasking)
        -> good: stapled by every worker, until its end (workers/stapling.py)
        -> revoked: the alarm; the store serves another source's certificate, where one is good
    and remembered (revocationbooks)

Promises: only where it is configured (`revocation`); nobody is asked about a certificate that names nobody.
It fails open: whatever goes wrong, what is served stays, and the last good answer is stapled to its end. A
new certificate is asked about at once. Refuses to know how anything is fetched, and what an answer is worth.

Theory. An answer that is older than the one that is held is no news: over plain http anybody can play an old
"good" to us, as long as that has not ended. So only an answer that began later takes the place of one that
still counts; and a revocation, though its answer has ended, is taken back by a later "good" only. While the
clock can't be right, no date of an answer means anything, and nobody is asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import trio
from msgspec.structs import replace

from certstore import Finding, Generation, Refusal, Status, Store, StoreError, Way, found
from tlsproxy import policy_revocation as policy
from tlsproxy.errors import ProxyError, ThreadError
from tlsproxy.fetching import FetchError
from tlsproxy.observe.log import logger
from tlsproxy.revocationasking import Asker
from tlsproxy.revocationbooks import Books, Record
from tlsproxy.revocationtimes import after_answer, after_failure
from tlsproxy.revocationwatch import Watch, Watched
from tlsproxy.threads import in_thread
from tlsproxy.workers.stapling import Stapling

__all__ = ["Manner", "RevocationKeeper"]

_log = logger("revocation")
_chance: Final = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Manner:
    """How often it is asked at least; and whether anything can be stapled by the TLS engine in use."""

    longest: timedelta
    can_staple: bool


class RevocationKeeper:
    """Looks after the certificates of one store. On the event loop; `run` until cancelled."""

    def __init__(
        self, store: Store, asker: Asker, stapling: Stapling, clock: Callable[[], datetime], manner: Manner
    ) -> None:
        """Take the store, who asks, who staples, and the wall clock."""
        self._store, self._asker, self._stapling = store, asker, stapling
        self._clock, self._manner = clock, manner
        self._books, self._watch = Books(store.path), Watch(store.bundle)
        self._records: dict[str, Record] = {}
        self._written: dict[str, Record] = {}
        self._watched: Mapping[str, Watched] = {}
        self._told: dict[str, str] = {}
        self._wake, self._failed = trio.Event(), ""
        self.tell: Callable[[Finding], None] = lambda _: None
        """Told of what is wrong, once, and when a revocation has ended."""
        self.on_moved: Callable[[Generation], None] = lambda _: None
        """Told of generations that a revocation has made."""
        self.on_asked: Callable[[str], None] = lambda _: None
        """Told what came of each question: `good`, `revoked`, `unknown`, or `failed`."""

    def wake(self) -> None:
        """Look now: certificates have come or gone."""
        self._wake.set()

    async def recall(self) -> None:
        """Staple what was answered before this start; comes before `run`, and before anybody is served."""
        with suppress(ThreadError):  # then everybody is asked anew
            self._written = await in_thread(self._books.read)
        self._records = dict(self._written)
        self._told = {id_: one.told for id_, one in self._records.items() if one.told}
        if self._store.clock_plausible():
            self._staple()

    async def run(self) -> None:
        """Ask what is due when it is due, until cancelled."""
        while True:
            self._wake, left = trio.Event(), policy.TURN_S
            try:
                left = await self._turn()
                self._failed = ""
            except (StoreError, ProxyError, Refusal) as error:
                if self._failed != str(error):  # told once, tried each turn
                    self._failed = str(error)
                    _log.error("revocation_turn_failed", why=self._failed)
            with trio.move_on_after(min(left, policy.TURN_S)):
                await self._wake.wait()

    async def _turn(self) -> float:
        """Do what is due; gives the seconds until something may be."""
        store = self._store
        self._watched = await in_thread(lambda: self._watch.look(store.active, store.slots(), store.revoked))
        if not store.clock_plausible():
            return policy.TURN_S
        self._forget()
        self._staple()
        at_once = trio.CapacityLimiter(policy.ASKED_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for one in self._due():
                nursery.start_soon(self._ask, one, at_once)
        self._tell_news()  # first: an alarm depends on nothing that may fail
        await self._move_rows()
        if self._records != self._written and not self._store.is_read_only:
            records = dict(self._records)
            await in_thread(partial(self._books.write, records))
            self._written = records
        now = self._clock()
        waiting = [at for one in self._watched.values() if (at := self._due_at(one, now)) is not None]
        return max((min(waiting) - now).total_seconds(), 0.0) if waiting else policy.TURN_S

    def _forget(self) -> None:
        """Forget what no slot names any more; of more than fit into the books, what isn't watched."""
        wanted = self._watch.wanted
        if len(self._records) > policy.WATCHED:
            wanted &= self._watched.keys() | {id_ for id_, one in self._records.items() if one.is_revoked}
        self._records = {id_: one for id_, one in self._records.items() if id_ in wanted}

    def _due(self) -> list[Watched]:
        """Give who is to be asked about now; of many those that have waited longest."""
        now = self._clock()
        times = [(at, one) for one in self._watched.values() if (at := self._due_at(one, now)) is not None]
        due = sorted((time for time in times if time[0] <= now), key=lambda time: time[0])
        return [one for _, one in due[: policy.ASKED_IN_A_TURN]]

    def _due_at(self, one: Watched, now: datetime) -> datetime | None:
        """Say when to ask; None where nobody can be, or no other answer can come."""
        record = self._records.get(one.id)
        if not one.places or (record is not None and record.is_final):
            return None
        if record is None or record.next_at > now + self._manner.longest * (1 + policy.JITTER):
            return now  # never asked; or the clock was set back
        return record.next_at

    async def _ask(self, one: Watched, at_once: trio.CapacityLimiter) -> None:
        held = self._records.get(one.id) or Record(self._clock())
        async with at_once:
            try:
                record = await self._answered(one, held)
            except (FetchError, ThreadError) as error:
                record = self._failure(one, held, str(error))
            except Exception as error:  # noqa: BLE001  the border: a stranger's answer ends this question, and nothing else
                _log.error("revocation_question_broke", names=one.names, exc_info=error)
                record = self._failure(one, held, f"a mistake of ours: {type(error).__name__}")
        self.on_asked("failed" if record.failures or record.judgement is None else record.judgement.status)
        self._records[one.id] = record
        self._staple()

    async def _answered(self, one: Watched, held: Record) -> Record:
        """Ask; gives what is known then. Raises FetchError."""
        answered, now = await self._asker.ask(one), self._clock()
        judgement, longest = answered.judgement, self._manner.longest
        next_at = after_answer(judgement, now, longest, _chance())
        if not held.gives_way_to(judgement, now):
            return replace(held, next_at=next_at, failures=0, why="")
        is_staple = answered.way is Way.OCSP and judgement.status is Status.GOOD
        facts = {"status": str(judgement.status), "until": judgement.ends.isoformat()}
        _log.info("revocation_answered", names=one.names, way=str(answered.way), **facts)
        return Record(next_at, judgement, answered.answer if is_staple else b"", told=held.told)

    def _failure(self, one: Watched, held: Record, why: str) -> Record:
        failures, now = held.failures + 1, self._clock()
        next_at = after_failure(failures, now, self._manner.longest, _chance())
        facts = {"failures": failures, "next_at": next_at.isoformat()}
        _log.info("revocation_unanswered", names=one.names, why=why, **facts)
        return replace(held, next_at=next_at, failures=failures, why=why)

    # --- what follows

    def _staple(self) -> None:
        """Have stapled what is good now."""
        now = self._clock()
        self._stapling.publish(
            {
                id_: (one.answer, one.judgement.ends)
                for id_, one in self._records.items()
                if one.answer and one.judgement is not None and one.is_good(now)
            }
        )

    async def _move_rows(self) -> None:
        """Have the store serve another source's certificate instead of a revoked one, where one is good.

        Of whom nothing was heard since the start, what was known before holds.
        """
        known = self._store.revoked
        judged = {id_: one.judgement for id_, one in self._records.items() if one.judgement is not None}
        revoked = {id_ for id_, judgement in judged.items() if judgement.is_revoked}
        revoked |= (known & self._watch.wanted) - judged.keys()
        is_owed = self._store.owes_revoked and not self._store.is_read_only
        if revoked != known or is_owed:
            generation = await in_thread(partial(self._store.note_revoked, revoked))
            if generation is not None:
                _log.warning("rows_moved", generation=generation.number, cause=str(generation.cause))
                self.on_moved(generation)

    @property
    def standing(self) -> Iterator[Finding]:
        """Give what isn't as it should be, for health; the served ones first, bounded."""
        states = (self._state(one) for one in self._watched.values())
        yield from (state for state, _ in zip(filter(None, states), range(policy.SHOWN), strict=False))

    def _state(self, one: Watched) -> Finding | None:
        record, facts = self._records.get(one.id), {"names": one.names, "source": str(one.source)}
        judgement = record.judgement if record is not None else None
        holds = record is not None and record.holds(self._clock())
        if judgement is not None and judgement.is_revoked:
            since = f"{judgement.revoked_at or judgement.begins:%Y-%m-%d %H:%M} UTC"
            return found("certificate_revoked", reason=judgement.reason or "not told", since=since, **facts)
        if judgement is not None and holds and judgement.status is Status.UNKNOWN:
            return found("certificate_unrecognised", **facts)
        if one.is_promised and (why := self._why_unstapled(one, record, holds=holds)):
            return found("staple_missing", why=why, **facts)
        if record is not None and not holds and record.failures >= policy.FAILURES_TOLD:
            return found("revocation_unasked", why=record.why, **facts)
        return None

    def _why_unstapled(self, one: Watched, record: Record | None, *, holds: bool) -> str:
        if not self._manner.can_staple:
            return "the TLS engine system can't staple"
        if not any(way is Way.OCSP for way, _ in one.places):
            return "it names no OCSP responder"
        if record is None or (holds and record.answer):
            return ""
        return record.why

    def _tell_news(self) -> None:
        """Tell each state when it comes, and of a revocation when it ends."""
        for one in self._watched.values():
            state, before = self._state(one), self._told.get(one.id, "")
            code = state.code if state is not None else ""
            if code == before:
                continue
            self._told[one.id] = code
            if state is not None:
                self.tell(state)
            elif before == "certificate_revoked":
                self.tell(found("certificate_reinstated", names=one.names, source=str(one.source)))
            if (record := self._records.get(one.id)) is not None:
                self._records[one.id] = replace(record, told=code)
        self._told = {id_: code for id_, code in self._told.items() if id_ in self._watched}

    def measured(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Give series for metrics."""
        judged = [one.judgement for one in self._records.values() if one.judgement is not None]
        yield ("tlsproxy_certificates_revoked",), float(sum(one.is_revoked for one in judged))
        yield ("tlsproxy_staples",), float(len(self._stapling.pending().staples))
