"""Proofs of dns-01: TXT records, put into the zone's primary server by signed updates (RFC 2136, RFC 8945).

Promises: each conversation has an end and goes by TCP; an update is signed both ways: what nobody has signed
counts as no answer to it. A record is added beside those of others, and only it is taken away. Comes back
when the server itself gives the record, and the others have had their time. A CNAME at `_acme-challenge` is
followed (RFC 8555 section 8.4), so that a device may change a zone that holds nothing else. Refuses to know
orders.

dnspython is imported when an authority asks for such a proof: nobody else carries it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from certstore import Answer, AnswersUngiven
from tlsproxy import policy_acme as policy
from tlsproxy.observe.log import logger

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.message import Message
    from dns.name import Name
    from dns.rdatatype import RdataType
    from dns.rdtypes.ANY.TXT import TXT
    from dns.update import UpdateMessage

    from certstore.issuers.acme.nameserver import NameServer

__all__ = ["DnsUpdates", "text_of"]

_log = logger("acme")


@dataclass(frozen=True, slots=True)
class DnsUpdates:
    """Gives answers by the records of one name server; an `Answering` for dns-01."""

    server: NameServer
    resolver: Callable[[], Resolver] | None = None
    """Makes what asks other name servers; the system's without it."""
    _places: dict[str, tuple[Name, Name]] = field(default_factory=dict)
    """Where the record for a name goes, and in which zone that is: looked up once."""

    async def rehearse(self, name: str) -> None:
        """See that a record for a name could be set; changes nothing. Raises AnswersUngiven."""
        from dns.update import UpdateMessage

        _, zone = await self._place(name)
        self._check(await self._tell(UpdateMessage(zone)))  # empty, and signed

    async def publish(self, answers: Sequence[Answer]) -> None:
        """Add a record for each, and wait until they are there. Raises AnswersUngiven."""
        for answer in answers:
            await self._change(answer, is_there=True)
        await trio.sleep(self.server.wait_s)

    async def withdraw(self, answers: Sequence[Answer]) -> None:
        """Take the records away, as far as that goes: one that is left proves nothing a second time."""
        for answer in answers:
            try:
                await self._change(answer, is_there=False)
            except AnswersUngiven as error:
                _log.warning("acme_record_left", name=answer.name, why=str(error))

    async def _change(self, answer: Answer, *, is_there: bool) -> None:
        from dns.update import UpdateMessage

        name, zone = await self._place(answer.name)
        update = UpdateMessage(zone)
        if is_there:
            update.add(name, policy.DNS_TTL_S, "TXT", f'"{answer.txt}"')
        else:
            update.delete(name, "TXT", f'"{answer.txt}"')
        self._check(await self._tell(update))
        if is_there and answer.txt not in await self._values(name):
            raise AnswersUngiven("the name server has taken the record, but doesn't give it")

    @staticmethod
    def _check(reply: Message) -> None:
        import dns.rcode

        if reply.rcode() != dns.rcode.NOERROR:
            raise AnswersUngiven(f"the name server refuses the update: {dns.rcode.to_text(reply.rcode())}")

    async def _place(self, host: str) -> tuple[Name, Name]:
        """Find where the record for a host goes, and the zone."""
        import dns.name

        if host not in self._places:
            name = await self._target(dns.name.from_text(f"_acme-challenge.{host}"))
            zone = dns.name.from_text(self.server.zone) if self.server.zone else await self._zone(name)
            if not name.is_subdomain(zone):
                raise AnswersUngiven(f"{name} isn't in the zone {zone}")
            self._places[host] = name, zone
        return self._places[host]

    async def _target(self, name: Name) -> Name:
        """Follow the aliases that lead away from a name."""
        for _ in range(policy.DNS_ALIASES):
            alias = await self._alias(name)
            if alias is None:
                return name
            name = alias
        raise AnswersUngiven(f"the aliases at {name} have no end")

    async def _alias(self, name: Name) -> Name | None:
        """Ask the name server, or, for a name that isn't of its zones, as anybody on this device would."""
        import dns.asyncresolver
        import dns.exception
        import dns.flags
        import dns.rdatatype

        reply = await self._query(name, dns.rdatatype.CNAME)
        if not reply.flags & dns.flags.AA:
            try:
                resolver = (self.resolver or dns.asyncresolver.Resolver)()
                reply = (await resolver.resolve(name, dns.rdatatype.CNAME, lifetime=policy.DNS_S)).response
            except (OSError, dns.exception.DNSException):
                return None  # nobody knows of one
        found = next((one for one in reply.answer if one.rdtype == dns.rdatatype.CNAME), None)
        return found[0].target if found is not None else None

    async def _zone(self, name: Name) -> Name:
        """Ask in which zone a name is: the owner of the SOA record that comes with its absence."""
        import dns.rdatatype

        reply = await self._query(name, dns.rdatatype.SOA)
        for found in (*reply.answer, *reply.authority):
            if found.rdtype == dns.rdatatype.SOA and name.is_subdomain(found.name):
                return found.name
        raise AnswersUngiven(f"the name server has no zone for {name}")

    async def _values(self, name: Name) -> set[str]:
        import dns.rdatatype

        reply = await self._query(name, dns.rdatatype.TXT)
        return {text_of(one) for found in reply.answer if found.rdtype == dns.rdatatype.TXT for one in found}

    async def _query(self, name: Name, kind: RdataType) -> Message:
        """Ask a question, unsigned: a zone of which the key knows nothing wouldn't answer otherwise."""
        from dns.message import make_query

        return await self._ask(make_query(name, kind))

    async def _tell(self, update: UpdateMessage) -> Message:
        """Sign and send an update; gives the signed answer. Raises AnswersUngiven."""
        import dns.name
        import dns.tsig

        key = self.server.key
        name = dns.name.from_text(key.name)
        update.use_tsig({name: dns.tsig.Key(name, key.secret, key.algorithm)}, name)
        reply = await self._ask(update)
        if not reply.had_tsig:
            raise AnswersUngiven(f"the answer of the name server {self.server.address} isn't signed")
        return reply

    async def _ask(self, message: Message) -> Message:
        """Send a message; gives the answer. Raises AnswersUngiven."""
        import dns.asyncquery
        import dns.exception

        try:
            address = await self._address()
            return await dns.asyncquery.tcp(message, address, timeout=policy.DNS_S, port=self.server.port)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            why = str(error) or type(error).__name__
            raise AnswersUngiven(f"the name server {self.server.address}: {why}") from error

    async def _address(self) -> str:
        found = await trio.socket.getaddrinfo(
            self.server.address, self.server.port, type=trio.socket.SOCK_STREAM
        )
        return str(found[0][4][0])


def text_of(record: TXT) -> str:
    """Give the whole value of a TXT record, which the wire has in pieces."""
    return b"".join(record.strings).decode("ascii", "replace")
