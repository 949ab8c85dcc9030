"""The ACME certificate as time goes by: asked for, renewed ahead of its end, tried again where that fails.

Promises: what comes goes the way of every candidate, into the slot of ACME alone: a customer's certificate
keeps its place, and ACME's stands ready below it. Whatever fails is told, with what to do, and tried again by
schedule.py; what is served stays. After a reboot, or a reload in the midst of an order, it goes on as it was.
Refuses to know how an authority is talked to (certstore's issuers), and how workers answer it.

The client and its HTTP library are imported when somebody has enrolled: nobody else carries them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from certstore import (
    Answering,
    Candidate,
    Finding,
    NotFound,
    Reason,
    Receipt,
    Slot,
    Store,
    StoreError,
    found,
)
from tlsproxy import policy_acme as policy
from tlsproxy.acmeaccounts import AcmeRefusedError, find_accounts, refused, refusing
from tlsproxy.acmeanswering import RunHook
from tlsproxy.acmebooks import Books, Known
from tlsproxy.acmeconfigured import Configured
from tlsproxy.acmeobtaining import Attempt
from tlsproxy.acmetelling import Herald
from tlsproxy.acmetidying import Tidying
from tlsproxy.acmetimes import Come, Times, is_shadowed
from tlsproxy.acmewishes import Terms, shown, why_held, wishes_of
from tlsproxy.control.peers import Peer
from tlsproxy.errors import ThreadError
from tlsproxy.observe.audit import ITSELF, Actor, AuditLog
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment, Renewal
    from certstore.issuers.acme.errors import AcmeError
    from certstore.issuers.acme.wishes import Issued, Server

__all__ = ["AcmeKeeper", "AcmeRefusedError", "Changes", "Terms"]

_log = logger("acme")
# The codes of RFC 5280 section 5.3.1.
_CODES: Final = {Reason.SUPERSEDED: 4, Reason.CESSATION: 5, Reason.KEY_COMPROMISE: 1}


class Changes(Protocol):
    """What changes the store, and tells of it (controller.py)."""

    async def propose_acme(self, candidate: Candidate, *, beside: bool) -> Receipt:
        """Bring in what an authority has issued, perhaps beside the other kind of key. Raises StoreError."""
        ...

    async def retire_acme(self, slot: Slot) -> Receipt:
        """Take away what nobody wants any more. Raises StoreError or Refusal."""
        ...

    async def change(self, what: str, act: Callable[[Store], Receipt], by: Peer | None) -> Receipt:
        """Carry out a change. Raises StoreError or Refusal."""
        ...


class AcmeKeeper:
    """Looks after one store's enrolment. Make it on the event loop; `run` until cancelled."""

    def __init__(
        self,
        store: Store,
        answering: Answering,
        clock: Callable[[], datetime],
        changes: Changes,
        tell: Callable[[Finding], None],
        audit: AuditLog,
    ) -> None:
        """Take the store, who answers, the wall clock, what changes the store, and who is told."""
        self._store, self._answering, self._clock = store, answering, clock
        self._changes, self._tell, self._audit = changes, tell, audit
        self._wake, self._doing, self._turning = trio.Event(), trio.CancelScope(), trio.Lock()
        self.herald = Herald()
        self.books = Books(store, clock)
        self.books.hear = self.herald.again
        self._told = self._failed = ""
        self._tidying = Tidying(changes.retire_acme, tell)
        self.run_hook: RunHook | None = None
        """Calls the command that sets records for dns-01, where the device's maker has named one."""
        self.configured = Configured(None)
        self.on_try: Callable[[str], None] = lambda _: None
        """Told what came of each try: `issued`, or `failed`."""

    # --- what is asked

    async def enable(self, make: Callable[..., Enrolment], terms: Terms, by: Peer) -> None:
        """Find or make the accounts, and want a certificate from now on.

        An authority that can't be reached now is asked again, as after any failure. make: gives what is
        wanted; ValueError where that can't be had. Raises AcmeRefusedError or StoreError.
        """
        enrolment = make(since=self._clock())
        if enrolment.is_by_hook and self.run_hook is None:
            raise ValueError(
                "nobody sets records for dns-01: give a name server (or configure acme.dns_hook)"
            )
        async with self.at_rest():
            known = await self.books.open()
            missed = await find_accounts(known.issuer, enrolment, terms, self.herald)
            await self.books.keep_terms(terms, missed)
            await self.books.enrol(enrolment)
            self._note_act(by, "enable_acme", directory=enrolment.directory, names=list(enrolment.names))
            await known.issuer.forget(enrolment.servers, wishes_of(enrolment))
            self.herald.asked(enrolment)
            await self._tidying.tidy(self.books, is_new=False)
            if (error := missed.get(enrolment.servers[0])) is not None:
                await self._begin_badly(known, enrolment, error)

    async def _begin_badly(self, known: Known, enrolment: Enrolment, error: AcmeError) -> None:
        """Count it as the first try; where none is asked for, nothing has failed but to look."""
        if not known.enrolments.renewal.is_asked:
            raise refused(error)
        bundles = await in_thread(self.books.current)
        times = Times(known.enrolments, known.issuer, enrolment, bundles)
        await self._fail(times, enrolment.servers[0], error)
        self.herald.rest()

    async def disable(self, by: Peer) -> None:
        """Want nothing any more: the certificate that is there stays until its end. Raises StoreError."""
        async with self.at_rest():
            await self._withdraw(by)

    async def _withdraw(self, by: Peer) -> None:
        known = await self.books.open()
        await self.books.withdraw(is_declined=True)
        self._note_act(by, "disable_acme")
        self.herald.disabled()
        await known.issuer.forget()

    async def renew(self, by: Peer) -> None:
        """Ask for the next one now, whatever is due, and whatever has failed. Raises StoreError."""
        async with self.at_rest():
            known = await self.books.open()
            self._note_act(by, "renew_acme")
            await in_thread(known.enrolments.ask)
            if known.enrolments.enrolment is not None:
                self.herald.asked(known.enrolments.enrolment)

    async def revoke(self, reason: Reason, by: Peer) -> None:
        """Have what is there revoked, both of a pair, and ask for another; at the end of all use for none.

        One whose key is known to others goes at once, with what was begun with it. Raises AcmeRefusedError,
        NotFound or StoreError.
        """
        async with self.at_rest():
            known = await self.books.open()
            slot, bundles = await in_thread(self.books.newest)
            enrolment = known.enrolments.enrolment
            if enrolment is None or slot is None:
                raise NotFound("certificate of an ACME authority", "")
            renewal = known.enrolments.renewal
            for bundle in bundles:
                server = enrolment.server_at(renewal.authority_of(bundle.id))
                with refusing():
                    await known.issuer.revoke(server, bundle.leaf, reason=_CODES[reason])
                self._note_act(by, "revoke_acme", sha256=bundle.fingerprint, reason=str(reason))
            if reason is Reason.CESSATION:
                await self._withdraw(by)
            else:
                await in_thread(known.enrolments.ask)
                self.herald.asked(enrolment)
            if reason.bans:
                await known.issuer.forget()  # an order may be for the very key
            if reason.ends:
                remove = partial(Store.remove, key=slot.key, via="acme", reason=reason)
                await self._changes.change("remove", remove, by)

    async def roll_over(self, by: Peer) -> None:
        """Give the accounts new keys. Raises AcmeRefusedError, NotFound or StoreError."""
        async with self.at_rest():
            known = await self.books.open()
            if known.enrolments.enrolment is None:
                raise NotFound("ACME enrolment", "")
            for server in known.enrolments.enrolment.servers:
                with refusing():
                    await known.issuer.roll_over(server)
                self._note_act(by, "roll_over_acme", directory=server.directory)

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Let go of what is under way, which goes on, or begins anew, when the block has ended."""
        self._doing.cancel()
        try:
            async with self._turning:
                yield
        finally:
            self._wake.set()

    def _note_act(self, by: Peer, what: str, **facts: object) -> None:
        self._audit.note(Actor("socket", uid=by.uid, pid=by.pid), what, "done", **facts)

    async def standing(self) -> dict[str, object] | None:
        """Say what is wanted, and how it goes; None where nothing is."""
        enrolments = (await self.books.open()).enrolments
        if enrolments.enrolment is None:
            return None
        bundles = await in_thread(self.books.current)
        held = await in_thread(lambda: why_held(self._store))
        left = await in_thread(self.books.left)
        return shown(enrolments.enrolment, enrolments.renewal, bundles, self.herald.progress, held, left)

    def troubles(self) -> Iterator[Finding]:
        """Give what isn't as it should be, for health."""
        known = self.books.known
        yield from self.books.damaged
        if self.configured.trouble is not None:
            yield self.configured.trouble
        if known is not None and known.enrolments.renewal.failures and self._store.is_enrolled:
            renewal = known.enrolments.renewal
            facts = {"failures": renewal.failures, "why": renewal.words}
            if renewal.lacking is not None:
                yield found("acme_half_lacking", kind="RSA" if renewal.lacking.is_rsa else "EC", **facts)
            else:
                yield found("acme_renewal_failing", **facts)
        if self._store.is_enrolled:
            yield from self._tidying.findings()

    def measured(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Give series for metrics; none where nothing is wanted."""
        if (known := self.books.known) is None or not self._store.is_enrolled:
            return
        renewal = known.enrolments.renewal
        yield ("tlsproxy_acme_failures",), float(renewal.failures)
        at = max(filter(None, (renewal.next_at, renewal.renew_at)), default=None)
        if at is not None:
            yield ("tlsproxy_acme_next_timestamp_seconds",), at.timestamp()

    # --- what is done

    async def run(self) -> None:
        """Do what is due when it is due, until cancelled."""
        while True:
            self._wake, left = trio.Event(), 0.0
            try:
                with trio.CancelScope() as self._doing:
                    async with self._turning:
                        left = await self._turn()
                self._failed = ""
            except (StoreError, ThreadError) as error:
                if self._failed != str(error):  # told once, tried each turn
                    self._failed = str(error)
                    _log.error("acme_turn_failed", code=error.code, why=self._failed)
                left = policy.TURN_S
            with trio.move_on_after(min(left, policy.TURN_S)):
                await self._wake.wait()

    async def _turn(self) -> float:
        """Do what is due; gives the seconds until something may be."""
        if not (is_held := why_held(self._store) is not None):
            await self._follow_configuration()
        if is_held or not self._store.is_enrolled:
            return policy.TURN_S
        known = await self.books.open()
        if known.enrolments.enrolment is None:
            return policy.TURN_S
        bundles = await in_thread(self.books.current)
        times = Times(known.enrolments, known.issuer, known.enrolments.enrolment, bundles)
        await self._take_up(times)
        await self._tidying.tidy(self.books, is_new=False)
        renewal, now = known.enrolments.renewal, self._clock()
        if renewal.next_at is not None and now < renewal.next_at <= now + policy.LONGEST_PAUSE:
            return (renewal.next_at - now).total_seconds()
        if not renewal.is_asked:
            pauses = times.enrolment.pauses
            if pauses and await in_thread(lambda: is_shadowed(self._store, times.enrolment, now)):
                return policy.TURN_S
            due = await times.after_absence(now) or await times.next_due(now)
            if now < due:
                return (due - now).total_seconds()
        try:
            await self._obtain(times)
        finally:
            self.herald.rest()  # last of all: whoever waits for it then reads what came of it
        return 0.0

    async def _follow_configuration(self) -> None:
        """Want what the configuration does, unless a person has said what is wanted."""
        change = await self.configured.follow(self.books, self._clock())
        if self.configured.news is not None:
            self._tell(self.configured.news)
        if change is not None:
            facts = {"directory": change.directory, "names": list(change.names)}
            self._audit.note(ITSELF, "enable_acme", "done", **facts)
            self.herald.asked(change)

    async def _take_up(self, times: Times) -> None:
        """Write down what has come, where somebody ended us between that and its word."""
        left = [one for each in times.bundles if (one := times.issuer.left_of(each.leaf)) is not None]
        if not left:
            return
        renewal, now = times.enrolments.renewal, self._clock()
        come = Come(tuple(left), times.ids)
        if renewal.ids == times.ids:  # all but that it was taken
            await self._taken(times, left)
            if renewal.lacking is None:
                self.herald.issued(left, renewal.authority)
        elif len(left) < len(times.kinds(now)):
            await self._note(times, times.after_part(now, come))
            await self._taken(times, left)
        else:
            await self._note_taken(times, come)
        self.herald.rest()

    async def _obtain(self, times: Times) -> None:
        """Ask for what is wanted, and bring it in; whatever comes of it is written down."""
        now = self._clock()
        server, kinds = times.whose_turn(now), times.kinds(now)
        try:
            outcome = await self._attempt(times, server).run(kinds)
        except (StoreError, ThreadError) as error:
            await self._put_off(times, server, error)
            raise
        if outcome.error is not None:
            await self._fail(times, server, outcome.error, outcome.come)
            await self._taken(times, outcome.refused)
        elif outcome.come is not None:
            await self._note_taken(times, outcome.come)

    def _attempt(self, times: Times, server: Server) -> Attempt:
        async def propose(candidate: Candidate, is_beside: bool) -> Receipt:  # noqa: FBT001
            return await self._changes.propose_acme(candidate, beside=is_beside)

        return Attempt(
            times, server, self.books, self.configured, self.herald, propose, self._answering, self.run_hook
        )

    async def _note_taken(self, times: Times, come: Come) -> None:
        """Write down that all has come; first that none is wanted now: no kill asks twice."""
        self._told = ""
        self.on_try("issued")
        with suppress(StoreError, ThreadError):  # what is left has time
            await self._tidying.tidy(self.books, is_new=True)
        renewal = times.after_success(self._clock(), come)
        await self._note(times, renewal)
        await self._taken(times, come.issued)
        self.herald.issued(come.issued, renewal.authority)

    @staticmethod
    async def _note(times: Times, renewal: Renewal) -> None:
        await in_thread(lambda: times.enrolments.note(renewal))

    @staticmethod
    async def _taken(times: Times, issued: Sequence[Issued]) -> None:
        for one in issued:
            await times.issuer.taken(one)

    async def _fail(self, times: Times, server: Server, error: AcmeError, come: Come | None = None) -> None:
        """Write down that not all has come; come: of two the one that has."""
        self.on_try("failed")
        renewal = times.after_failure(self._clock(), server, error, come)
        if come is not None:
            self.herald.issued_one(come.issued[0], server.directory)
        self.herald.failed(error, renewal)
        if self._told != error.code:  # once for each thing that is wrong, until it goes well
            self._told = error.code
            self._tell(error.finding)
        await self._note(times, renewal)
        if come is not None:
            await self._taken(times, come.issued)

    async def _put_off(self, times: Times, server: Server, error: StoreError | ThreadError) -> None:
        """Wait as after any failure, at least in memory: a full disk must not place an order each minute."""
        renewal = times.after_failure(self._clock(), server, error)
        self.herald.put_off(error, error.code, renewal)
        with suppress(StoreError, ThreadError):
            await self._note(times, renewal)
