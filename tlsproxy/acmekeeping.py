"""The ACME certificate as time goes by: asked for, renewed ahead of its end, tried again where that fails.

Promises: what comes goes the way of every candidate, into the slot of ACME alone: a customer's certificate
keeps its place, and ACME's stands ready below it. Whatever fails is told, with what to do, and tried again by
schedule.py; what is served stays. After a reboot, or a reload in the midst of an order, it goes on as it was.
Refuses to know how an authority is talked to (certstore's issuers), and how workers answer it.

The client and its HTTP library are imported when somebody has enrolled: nobody else carries them.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import trio

from certstore import (
    Answering,
    Bundle,
    Candidate,
    Finding,
    NotFound,
    Receipt,
    Refusal,
    Source,
    State,
    Store,
    StoreError,
    found,
)
from certstore.atomic import Disk
from tlsproxy import policy_acme as policy
from tlsproxy.acmetimes import Times, failed_at
from tlsproxy.control.peers import Peer
from tlsproxy.errors import ProxyError, ThreadError
from tlsproxy.observe.audit import Actor, AuditLog
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment, Enrolments, Renewal
    from certstore.issuers.acme.errors import AcmeError
    from certstore.issuers.acme.issuing import Issuer
    from certstore.issuers.acme.wishes import Binding, Issued, Progress, Wish

__all__ = ["AcmeKeeper", "AcmeRefusedError", "Terms"]

_log = logger("acme")
_chance = random.SystemRandom().random


class AcmeRefusedError(ProxyError):
    """An authority didn't do what a person has asked for; nothing has changed here."""

    def __init__(self, code: str, words: str, hint: str) -> None:
        super().__init__(code, words, hint)
        self.code, self.words, self._hint = code, words, hint

    def __str__(self) -> str:
        return self.words

    @property
    def hint(self) -> str:
        """Say what the finding says."""
        return self._hint


@dataclass(frozen=True, slots=True)
class Terms:
    """What is said to an authority once, when an account is made there; binding: where it asks for one."""

    contacts: Sequence[str] = ()
    is_agreed: bool = False
    binding: Binding | None = None


class AcmeKeeper:
    """Looks after one store's enrolment. Make it on the event loop; `run` until cancelled."""

    def __init__(
        self,
        store: Store,
        answering: Answering,
        clock: Callable[[], datetime],
        propose: Callable[[Candidate], Awaitable[Receipt]],
        tell: Callable[[Finding], None],
        audit: AuditLog,
    ) -> None:
        """Take the store, who answers, the wall clock, what brings in a candidate, and who is told."""
        self._store, self._answering, self._clock = store, answering, clock
        self._propose, self._tell, self._audit = propose, tell, audit
        self._wake, self._doing = trio.Event(), trio.CancelScope()
        self._is_forced = False
        self._progress: Progress | None = None
        self._known: tuple[Enrolments, Issuer] | None = None
        self._told = self._failed = ""

    # --- what is asked

    async def enable(self, make: Callable[..., Enrolment], terms: Terms, by: Peer) -> None:
        """Find or make the account, and want a certificate from now on.

        make: gives what is wanted; ValueError where that can't be had. Raises AcmeRefusedError or StoreError.
        """
        enrolment = make(since=self._clock())
        enrolments, issuer = await self._open()
        with _refusing():
            await issuer.register(
                enrolment.server,
                contacts=terms.contacts,
                terms_agreed=terms.is_agreed,
                binding=terms.binding,
            )
        await in_thread(lambda: enrolments.enrol(enrolment))
        self._note_act(by, "enable_acme", directory=enrolment.directory, names=list(enrolment.names))
        self._begin_anew()
        await issuer.forget(keep=[_wish(enrolment)])

    async def disable(self, by: Peer) -> None:
        """Want nothing any more: the certificate that is there stays until its end. Raises StoreError."""
        enrolments, issuer = await self._open()
        await in_thread(enrolments.withdraw)
        self._note_act(by, "disable_acme")
        self._begin_anew()
        await issuer.forget()

    async def renew(self, by: Peer) -> None:
        """Ask for the next one now, whatever is due, and whatever has failed. Raises StoreError."""
        enrolments, _ = await self._open()
        self._note_act(by, "renew_acme")
        self._is_forced = True
        await in_thread(lambda: enrolments.note(replace(enrolments.renewal, next_at=None)))
        self._wake.set()

    def _note_act(self, by: Peer, what: str, **facts: object) -> None:
        self._audit.note(Actor("socket", uid=by.uid, pid=by.pid), what, "done", **facts)

    async def standing(self) -> dict[str, object] | None:
        """Say what is wanted, and how it goes; None where nothing is."""
        enrolments, _ = await self._open()
        if enrolments.enrolment is None:
            return None
        bundle = await in_thread(self._current)
        return _shown(enrolments.enrolment, enrolments.renewal, bundle, self._progress)

    def troubles(self) -> Iterator[Finding]:
        """Give what isn't as it should be, for health."""
        if self._known is not None and self._known[0].renewal.failures and self._store.is_enrolled:
            renewal = self._known[0].renewal
            yield found("acme_renewal_failing", failures=renewal.failures, why=renewal.words)

    # --- what is done

    async def run(self) -> None:
        """Do what is due when it is due, until cancelled."""
        while True:
            self._wake, left = trio.Event(), 0.0
            try:
                with trio.CancelScope() as self._doing:
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
        if not self._store.is_enrolled or self._store.is_read_only or not self._store.clock_plausible():
            return policy.TURN_S
        enrolments, issuer = await self._open()
        enrolment, renewal, now = enrolments.enrolment, enrolments.renewal, self._clock()
        if enrolment is None:
            return policy.TURN_S
        if renewal.next_at is not None and now < renewal.next_at <= now + policy.LONGEST_PAUSE:
            return (renewal.next_at - now).total_seconds()
        bundle = await in_thread(self._current)
        if not self._is_forced:
            times = Times(enrolments, issuer, enrolment, bundle)
            due = await times.after_absence(now) or await times.next_due(now)
            if now < due:
                return (due - now).total_seconds()
        await self._obtain(enrolments, issuer, enrolment, bundle)
        return 0.0

    async def _obtain(
        self, enrolments: Enrolments, issuer: Issuer, enrolment: Enrolment, bundle: Bundle | None
    ) -> None:
        """Ask for a certificate, and bring it in; whatever comes of it is written down."""
        from certstore.issuers.acme.enrolment import Renewal
        from certstore.issuers.acme.errors import AcmeError

        wish = _wish(enrolment, bundle)
        try:
            issued = await issuer.issue(
                enrolment.server, wish, {enrolment.challenge: self._answering}, self._note
            )
            receipt = await self._bring_in(issuer, issued)
        except AcmeError as error:
            await self._fail(enrolments, bundle, error.finding, error)
            return
        except Refusal as refusal:
            await self._fail(enrolments, bundle, refusal.findings[0])
            return
        finally:
            self._progress = None
        self._is_forced = False
        if receipt.state is State.REFUSED:
            why = next(finding for finding in receipt.findings if finding.is_error)
            await self._fail(enrolments, bundle, found("acme_certificate_refused", why=why.words))
            return
        self._told = ""
        life = issued.leaf.not_valid_after_utc - issued.leaf.not_valid_before_utc
        again = self._clock() + min(policy.SOONEST_AGAIN, life * policy.SOONEST_SHARE)
        await in_thread(lambda: enrolments.note(Renewal(next_at=again)))
        _log.info(
            "acme_issued", names=list(issued.names), not_after=issued.leaf.not_valid_after_utc.isoformat()
        )

    async def _bring_in(self, issuer: Issuer, issued: Issued) -> Receipt:
        if not self._store.is_enrolled:  # a reset came in between: nobody wants it any more
            raise NotFound("ACME enrolment", "")
        receipt = await self._propose(issued.candidate())
        await issuer.taken(issued)
        return receipt

    async def _fail(
        self, enrolments: Enrolments, bundle: Bundle | None, finding: Finding, error: AcmeError | None = None
    ) -> None:
        self._is_forced = False
        now = self._clock()
        renewal = failed_at(now, enrolments.renewal, bundle, error)
        words = {"code": finding.code, "words": finding.words, "hint": finding.hint}
        renewal = replace(renewal, **words)  # type: ignore[arg-type]
        next_at = renewal.next_at and renewal.next_at.isoformat()
        _log.warning("acme_failed", failures=renewal.failures, next_at=next_at, **words)
        if self._told != finding.code:  # once for each thing that is wrong, until it goes well
            self._told = finding.code
            self._tell(finding)
        await in_thread(lambda: enrolments.note(renewal))

    def _note(self, progress: Progress) -> None:
        self._progress = progress
        _log.info("acme_progress", step=str(progress.step), names=list(progress.names))

    def _begin_anew(self) -> None:
        """Let go of what is under way for what was wanted before; what is wanted still goes on."""
        self._doing.cancel()
        self._wake.set()

    # --- what is there

    async def _open(self) -> tuple[Enrolments, Issuer]:
        """Read what there is, once; and anew where a reset has erased what we knew. Raises StoreError."""
        known = self._known is not None and self._known[0].enrolment is not None
        if self._known is None or known != self._store.is_enrolled:
            self._known = await in_thread(self._read)
        return self._known

    def _read(self) -> tuple[Enrolments, Issuer]:
        from certstore.issuers.acme.enrolment import Enrolments
        from certstore.issuers.acme.issuing import Issuer, Surroundings

        root, disk = self._store.path, Disk()
        enrolments = Enrolments(root, disk)
        issuer = Issuer(root, disk, Surroundings(self._clock, _chance, offload=in_thread))
        damaged = enrolments.load()
        if damaged is not None:
            raise damaged
        for finding in issuer.load():
            _log.warning("finding", code=finding.code, words=finding.words, hint=finding.hint)
        return enrolments, issuer

    def _current(self) -> Bundle | None:
        """Give ACME's newest certificate that has all names that are wanted; None where there is none."""
        wanted = self._known[0].enrolment if self._known is not None else None
        if wanted is None:
            return None
        fit = [
            s for s in self._store.slots() if s.source is Source.ACME and set(wanted.names) <= set(s.names)
        ]
        for slot in sorted(fit, key=lambda slot: slot.newness, reverse=True):
            try:
                return self._store.bundle(slot.bundle)
            except StoreError as error:
                _log.error("acme_bundle_lost", bundle=slot.bundle, why=str(error))
        return None


@contextmanager
def _refusing() -> Iterator[None]:
    from certstore.issuers.acme.errors import AcmeError

    try:
        yield
    except AcmeError as error:
        raise AcmeRefusedError(error.code, str(error), error.hint) from error


def _wish(enrolment: Enrolment, bundle: Bundle | None = None) -> Wish:
    from certstore.issuers.acme.renewalinfo import certificate_id
    from certstore.issuers.acme.wishes import Wish

    return Wish(
        enrolment.names,
        enrolment.key_type,
        enrolment.profile,
        replaces=certificate_id(bundle.leaf) if bundle is not None else None,
        preferred_chain=enrolment.preferred_chain,
    )


def _shown(
    enrolment: Enrolment, renewal: Renewal, bundle: Bundle | None, progress: Progress | None
) -> dict[str, object]:
    """Give it as the API does."""
    failed = renewal.failures > 0
    last: Mapping[str, str] = {"code": renewal.code, "words": renewal.words, "hint": renewal.hint}
    until = bundle.leaf.not_valid_after_utc.isoformat() if bundle is not None else None
    return {
        "directory": enrolment.directory,
        "names": list(enrolment.names),
        "challenge": str(enrolment.challenge),
        "key_type": str(enrolment.key_type),
        "profile": enrolment.profile,
        "since": enrolment.since.isoformat(),
        "step": str(progress.step) if progress is not None else None,
        "failures": renewal.failures,
        "last_failure": dict(last) if failed else None,
        "next_at": renewal.next_at.isoformat() if renewal.next_at is not None else None,
        "renew_at": renewal.renew_at.isoformat() if renewal.renew_at is not None else None,
        "sha256": bundle.fingerprint if bundle is not None else None,
        "not_after": until,
    }
