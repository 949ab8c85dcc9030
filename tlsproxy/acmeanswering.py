"""Who gives the answers that an ACME authority looks for: workers, name servers, a command, or a person.

Decides, and holds the command's end: called as lego's exec provider calls one (`present NAME VALUE`, `cleanup
NAME VALUE`), by the hook helper, outside of our fence. Promises: what the command says is told in one bounded
line without what steers a terminal. Refuses to know orders.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import trio

from certstore import Answer, Answering, AnswersUngiven, Challenge
from tlsproxy.observe.log import logger

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment

__all__ = ["HookRecords", "RunHook", "answering_for"]

_log = logger("acme")
_LONGEST_LINE = 200


class Outcome(Protocol):
    """What came of a call; `why` is "" where all went well."""

    @property
    def why(self) -> str:
        """Why it failed."""
        ...

    @property
    def last_line(self) -> str:
        """The last line that the command wrote."""
        ...


RunHook: TypeAlias = Callable[[Sequence[str]], Awaitable[Outcome]]
"""Calls the command with these words behind its own."""


def answering_for(enrolment: Enrolment, workers: Answering, run_hook: RunHook | None) -> Answering:
    """Give who answers for what is wanted."""
    if enrolment.challenge is Challenge.DNS_PERSIST_01:
        from tlsproxy.acmestanding import StandingRecords

        return StandingRecords()
    if enrolment.name_server is not None:
        from tlsproxy.acmedns import DnsUpdates

        return DnsUpdates(enrolment.name_server)
    if enrolment.acme_dns is not None and enrolment.records_server is not None:
        from tlsproxy.acmednsrecords import AcmeDnsRecords

        return AcmeDnsRecords(enrolment.acme_dns, enrolment.records_server)
    return HookRecords(run_hook) if enrolment.is_by_hook else workers


@dataclass(frozen=True, slots=True)
class HookRecords:
    """Gives answers by TXT records that a command sets; an `Answering` for dns-01."""

    run_hook: RunHook | None

    async def publish(self, answers: Sequence[Answer]) -> None:
        """Have a record set for each, one after the other. Raises AnswersUngiven."""
        for answer in answers:
            if why := await self._call("present", answer):
                raise AnswersUngiven(why)

    async def withdraw(self, answers: Sequence[Answer]) -> None:
        """Have the records removed, as far as that goes; who can't wait for it lets it go on."""

        async def one(answer: Answer) -> None:
            if why := await self._call("cleanup", answer):
                _log.warning("acme_record_left", name=answer.name, why=why)

        async with trio.open_nursery() as nursery:
            for answer in answers:
                nursery.start_soon(one, answer)

    async def _call(self, what: str, answer: Answer) -> str:
        """Call it; gives why it failed, "" where it didn't."""
        if self.run_hook is None:
            return "the configuration names no command that sets records: dns_hook below [acme]"
        outcome = await self.run_hook((what, f"_acme-challenge.{answer.name}.", answer.txt))
        if not outcome.why:
            return ""
        said = f": {outcome.last_line[:_LONGEST_LINE]}" if outcome.last_line else ""
        return f"the command dns_hook: {outcome.why}{said}"
