"""One try to have what is wanted of an ACME authority: orders placed, and what comes brought in.

Promises: of an EC and an RSA certificate each is served when a try is over, whatever has become of the other:
where both come, in one change; where one doesn't, or can't be used, the other beside what stands there with
that kind of key, or alone. What came, and what didn't, is told to the caller, who writes it down. Refuses to
know when something is due (acmetimes.py), and what a failure leads to (acmekeeping.py).

Theory. One that comes takes the place of its own kind, and the other kind stays, even where that has ended:
what a client is then served is the generation's business. Only what has other names than the one that has
come isn't served beside it: it would be another certificate, and neither would ever count as the pair.

The client is imported when somebody has enrolled: nobody else carries it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from certstore import Answering, Candidate, KeyType, Receipt, Refusal, State
from tlsproxy.acmeanswering import RunHook, answering_for
from tlsproxy.acmebooks import Books
from tlsproxy.acmeconfigured import Configured
from tlsproxy.acmetelling import Herald
from tlsproxy.acmetimes import Come, Times
from tlsproxy.acmewishes import is_rsa, wishes_of
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.errors import AcmeError
    from certstore.issuers.acme.wishes import Issued, Server, Wish

__all__ = ["Attempt", "Outcome", "Propose"]

# Failures that the other kind of key may be spared. Any other isn't (the way, the account, a limit, a proof,
# as which an order that failed counts too): authorities bear only so many of them in an hour.
_OF_ONE: Final = frozenset(
    {
        "acme_answer_strange",
        "acme_certificate_foreign",
        "acme_key_refused",
        "acme_order_stuck",
        "acme_refused",
        "acme_server_failed",
    }
)

Propose = Callable[[Candidate, bool], Awaitable[Receipt]]
"""Brings a candidate in, beside the other kind of key where the second says so. StoreError or Refusal."""


@dataclass(slots=True)
class Outcome:
    """What came of a try. come: what is in the store now. refused: what is not to lie about any longer.

    error: why not all that was wanted has come; None where it has.
    """

    come: Come | None = None
    refused: list[Issued] = field(default_factory=list)
    error: AcmeError | None = None

    def fail(self, error: AcmeError) -> None:
        """Note why something hasn't come; what failed first stands for all."""
        self.error = self.error or error

    def add(self, issued: Sequence[Issued], receipt: Receipt) -> None:
        """Note what the store has taken."""
        assert receipt.bundle is not None, "what wasn't refused is in the store"
        ids = (receipt.bundle,) if receipt.beside is None else (receipt.bundle, receipt.beside)
        before = self.come.issued if self.come is not None else ()
        self.come = Come((*before, *issued), ids)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try with one authority. `run` it once; StoreError and ThreadError come through."""

    times: Times
    server: Server
    books: Books
    configured: Configured
    herald: Herald
    propose: Propose
    answering: Answering
    run_hook: RunHook | None

    async def run(self, kinds: Sequence[KeyType]) -> Outcome:
        """Order one certificate for each of these kinds of keys, and bring in what comes."""
        from certstore.issuers.acme.errors import AcmeError

        outcome = Outcome()
        try:
            await self._prepare()
        except AcmeError as error:
            outcome.fail(error)
            return outcome
        issued = await self._ordered(kinds, outcome)
        if len(issued) > 1 and (receipt := await self._both(issued)) is not None:
            outcome.add(issued, receipt)
            return outcome
        has_other = len(kinds) < len(self.times.enrolment.key_types)  # which has come before
        for one in issued:
            is_beside = has_other or outcome.come is not None or await self._stands_beside(one)
            await self._bring(one, outcome, is_beside=is_beside)
        return outcome

    async def _prepare(self) -> None:
        """Forget orders that nobody wants, and see that there is an account. Raises AcmeError."""
        times, enrolment = self.times, self.times.enrolment
        await times.issuer.forget(enrolment.servers, wishes_of(enrolment, times.bundles))
        await self.configured.register(times.issuer, enrolment, self.server, times.enrolments.renewal.code)
        await self.books.introduce(enrolment, self.server)

    async def _ordered(self, kinds: Sequence[KeyType], outcome: Outcome) -> list[Issued]:
        """Order one after the other, as long as there is hope for the next.

        After each failure another is the first: so that none waits for ever for one that never comes.
        """
        from certstore.issuers.acme.errors import AcmeError

        issued: list[Issued] = []
        times = self.times
        wishes = [one for one in wishes_of(times.enrolment, times.bundles) if one.key_type in kinds]
        if times.enrolments.renewal.failures % 2:
            wishes.reverse()
        for wish in wishes:
            try:
                issued.append(await self._issued(wish))
            except AcmeError as error:
                outcome.fail(error)
                if error.code not in _OF_ONE or error.retry_at is not None:
                    break
        return issued

    async def _issued(self, wish: Wish) -> Issued:
        """Give one of the certificates; one that came before somebody ended us lies here still."""
        enrolment = self.times.enrolment
        kind = wish.key_type if enrolment.beside is not None else None
        tell = partial(self.herald.step, enrolment=enrolment, server=self.server, key_type=kind)
        answerers = {enrolment.challenge: answering_for(enrolment, self.answering, self.run_hook)}
        return await self.times.issuer.issue(self.server, wish, answerers, tell)

    async def _both(self, issued: Sequence[Issued]) -> Receipt | None:
        """Bring in both by one change; None where that is refused, perhaps for one of them alone."""
        try:
            receipt = await self._proposed(issued, is_beside=False)
        except Refusal:
            return None
        return None if receipt.state is State.REFUSED else receipt

    async def _bring(self, one: Issued, outcome: Outcome, *, is_beside: bool) -> None:
        """Bring in one, alone or beside what stands there."""
        from certstore.issuers.acme.errors import AcmeError

        try:
            receipt = await self._proposed([one], is_beside=is_beside)
        except Refusal as refusal:
            outcome.fail(AcmeError(refusal.findings[0]))
            return
        if receipt.state is State.REFUSED:  # the next would be like it
            why = next(finding.words for finding in receipt.findings if finding.is_error)
            outcome.fail(AcmeError.lasting("acme_certificate_refused", why=why))
            outcome.refused.append(one)
        else:
            outcome.add([one], receipt)

    async def _proposed(self, issued: Sequence[Issued], *, is_beside: bool) -> Receipt:
        from certstore.issuers.acme.wishes import Progress, Step, candidate

        self.herald.step(Progress(Step.TAKING, issued[0].names), self.times.enrolment, self.server)
        return await self.propose(candidate(issued), is_beside)

    async def _stands_beside(self, one: Issued) -> bool:
        """Say whether the other kind of key stands there for the same names, and is wanted."""
        if self.times.enrolment.beside is None:
            return False
        here = await in_thread(self.books.current)
        return any(
            is_rsa(each) is not one.key_type.is_rsa and set(each.names) == one.leaf_names for each in here
        )
