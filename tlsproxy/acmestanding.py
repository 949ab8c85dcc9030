"""Proofs of dns-persist-01: a TXT record that a person has set once (draft-ietf-acme-dns-persist).

Promises: an authority is told to look only when the record can be seen from here, or nothing can be seen from
here at all: so no order is lost while somebody still sets it, and what is told then is the very record.
Nothing is written, and no password for anybody's DNS is needed. Refuses to know orders.

dnspython is imported when an authority asks for such a proof: nobody else carries it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certstore import Answer, AnswersUngiven
from tlsproxy import policy_acme as policy
from tlsproxy.acmedns import text_of
from tlsproxy.observe.log import logger

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

__all__ = ["StandingRecords"]

_log = logger("acme")


@dataclass(frozen=True, slots=True)
class StandingRecords:
    """Looks whether records stand; an `Answering`. `resolver` makes what asks, the system's without it."""

    resolver: Callable[[], Resolver] | None = None

    async def publish(self, answers: Sequence[Answer]) -> None:
        """Come back if each can be seen, or nobody can be asked. AnswersUngiven has what is to be set."""
        for answer in answers:
            name, wanted = f"_validation-persist.{answer.name}", answer.key_authorization
            values = await self._values(name)
            if values is not None and not any(_says(value, wanted) for value in values):
                raise AnswersUngiven(f'this record isn\'t there yet; set it, once: {name}. TXT "{wanted}"')

    async def withdraw(self, answers: Sequence[Answer]) -> None:
        """Nothing: the record stands for the next time."""

    async def _values(self, name: str) -> list[str] | None:
        """Give the values of the TXT records there; None where nobody could be asked."""
        import dns.asyncresolver
        import dns.exception
        from dns.resolver import NXDOMAIN, NoAnswer

        try:
            resolver = (self.resolver or dns.asyncresolver.Resolver)()
            found = await resolver.resolve(name, "TXT", lifetime=policy.DNS_S)
        except (NXDOMAIN, NoAnswer):
            return []
        except (OSError, dns.exception.DNSException) as error:
            _log.info("acme_record_unseen", name=name, why=str(error) or type(error).__name__)
            return None
        return [text_of(record) for record in found]


def _says(value: str, wanted: str) -> bool:
    """Say whether a record has all that is wanted: authority, account, policy; more does no harm."""
    (issuer, *told), (authority, *asked) = _parts(value), _parts(wanted)
    return issuer.lower() == authority.lower() and set(asked) <= set(told)


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(";")]
