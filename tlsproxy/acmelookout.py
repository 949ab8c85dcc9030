"""The lookout of ACME: sees the device, the DNS and the authority as they are, and changes nothing.

Promises: bounded in time; what doesn't answer is told, and hinders nothing else. The DNS is asked itself, and
not what stands in /etc/hosts: no authority reads that. Refuses to know what follows (acmeoutlook.py).

dnspython and the ACME client are imported when somebody asks: nobody else carries them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from certstore import AnswersUngiven, Challenge, NotFound, Store, found, is_address
from tlsproxy import policy_acme as policy
from tlsproxy.acmebooks import Books
from tlsproxy.acmeoutlook import Authority, Door, Outlook, Permission, Place, Plan, View, judge
from tlsproxy.acmewishes import why_held
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.rdtypes.ANY.CAA import CAA

    from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount
    from certstore.issuers.acme.enrolment import Enrolment
    from certstore.issuers.acme.nameserver import NameServer
    from certstore.issuers.acme.wishes import Server

__all__ = ["Lookout", "Question"]

# Where no challenge is named: those of which it can be told beforehand whether they work.
_USUAL = (Challenge.HTTP_01, Challenge.TLS_ALPN_01, Challenge.DNS_01)


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody thinks of enrolling for; what is left out is as it is wanted. Names normalised."""

    names: tuple[str, ...] = ()
    challenge: Challenge | None = None
    server: Server | None = None
    profile: str | None = None
    name_server: NameServer | None = None
    acme_dns: AcmeDnsAccount | None = None

    @property
    def has_records(self) -> bool:
        """Whether it says who sets records."""
        return self.name_server is not None or self.acme_dns is not None


class Lookout:
    """Looks for one store. `doors` gives the listeners, `addresses` (in a thread) those of this device."""

    def __init__(
        self,
        store: Store,
        books: Books,
        doors: Callable[[], Sequence[Door]],
        addresses: Callable[[], Sequence[str]],
        resolver: Callable[[], Resolver] | None = None,
    ) -> None:
        """Take what is looked at; resolver: makes what asks name servers, the system's without it."""
        self._store, self._books, self._doors, self._addresses = store, books, doors, addresses
        self._resolver = resolver
        self.has_hook = False
        """Whether a command of the device's maker sets records."""

    async def look(self, question: Question) -> tuple[Plan, Outlook]:
        """Look, and say what is to be expected. NotFound where nobody has named a name."""
        enrolment = (await self._books.open()).enrolments.enrolment if self._store.is_enrolled else None
        question = _filled(question, enrolment)
        if not question.names:
            raise NotFound("ACME enrolment", "")
        kinds = (question.challenge,) if question.challenge is not None else _USUAL
        plan = Plan(question.names, kinds, question.profile, question.has_records or self.has_hook)
        addresses = await in_thread(self._addresses)
        held = await in_thread(lambda: why_held(self._store))
        place = Place(tuple(self._doors()), frozenset(addresses), held)
        return plan, judge(plan, place, await self._view(question, kinds))

    async def _view(self, question: Question, kinds: Sequence[Challenge]) -> View:
        view = await self._authority(question.server)
        look = _Look(self._resolver)
        names = [one for one in question.names if not is_address(one)]
        tasks: list[Callable[[], Awaitable[None]]] = []
        if any(kind in {Challenge.HTTP_01, Challenge.TLS_ALPN_01} for kind in kinds):
            tasks += [partial(look.addresses_of, one) for one in names if not one.startswith("*.")]
        if view.authority is not None and view.authority.directory.caa_identities:
            tasks += [partial(look.permissions_of, one) for one in names]
        if Challenge.DNS_01 in kinds and question.name_server is not None:
            tasks += [partial(look.records_of, one, question.name_server) for one in names]
        if Challenge.DNS_01 in kinds and question.acme_dns is not None:
            tasks += [partial(look.alias_of, one, question.acme_dns.fulldomain) for one in names]
        if Challenge.DNS_01 in kinds and self.has_hook and not question.has_records:
            tasks += [partial(look.aliases_of, one) for one in names]
        await _all(tasks)
        seen = replace(view, addresses=look.addresses, permissions=look.permissions)
        return replace(seen, unset=look.unset, aliases=look.aliases)

    async def _authority(self, server: Server | None) -> View:
        from certstore.issuers.acme.errors import AcmeError

        if server is None:
            return View()
        issuer = (await self._books.open()).issuer
        try:
            with trio.fail_after(policy.LOOKS_S):
                directory = await issuer.directory(server)
        except AcmeError as error:
            return View(trouble=error.finding)
        except trio.TooSlowError:
            host = urlsplit(server.directory).netloc
            return View(trouble=found("acme_unreachable", host=host, why="it takes too long to answer"))
        parts = urlsplit(server.directory)
        is_public = await _is_public(parts.hostname or "", parts.port or 443)
        return View(authority=Authority(server.directory, parts.netloc, directory, is_public))


def _filled(question: Question, enrolment: Enrolment | None) -> Question:
    """Take from what is wanted already what nobody has said."""
    if enrolment is None:
        return question
    server = question.server or enrolment.servers[0]
    is_same = server.directory == enrolment.directory
    return Question(
        names=question.names or enrolment.names,
        challenge=question.challenge,
        server=server,
        profile=question.profile or (enrolment.profile if is_same else None),
        name_server=question.name_server or (None if question.acme_dns else enrolment.name_server),
        acme_dns=question.acme_dns or (None if question.name_server else enrolment.acme_dns),
    )


class _Look:
    """Asks the DNS, and puts down what was answered."""

    def __init__(self, resolver: Callable[[], Resolver] | None) -> None:
        self._resolver = resolver
        self.addresses: dict[str, tuple[str, ...] | str] = {}
        self.permissions: dict[str, tuple[Permission, ...]] = {}
        self.unset: dict[str, str] = {}
        self.aliases: dict[str, str] = {}

    async def addresses_of(self, name: str) -> None:
        """See where a name leads, by both families."""
        self.addresses[name] = "nobody answered in time"
        seen: list[str] = []
        for kind in ("AAAA", "A"):
            answered = await self._asked(name, kind)
            if isinstance(answered, str):
                self.addresses[name] = answered
                return
            seen += [str(one) for one in answered]
        self.addresses[name] = tuple(seen)

    async def permissions_of(self, name: str) -> None:
        """Find the CAA records that count: those of the name, or else of what it is under (RFC 8659, 3)."""
        place = name.removeprefix("*.")
        while place:
            answered = await self._asked(place, "CAA")
            if isinstance(answered, str):
                return
            if answered:
                self.permissions[name] = tuple(map(_permission, answered))
                return
            place = place.partition(".")[2]

    async def records_of(self, name: str, server: NameServer) -> None:
        """See whether a record could be set for a name."""
        from tlsproxy.acmedns import DnsUpdates

        self.unset[name] = "nobody answered in time"
        try:
            await DnsUpdates(server, self._resolver).rehearse(name.removeprefix("*."))
        except AnswersUngiven as error:
            self.unset[name] = str(error)
        else:
            del self.unset[name]

    async def alias_of(self, name: str, wanted: str) -> None:
        """See whether the place of a name's proofs is an alias of where acme-dns sets them."""
        place = f"_acme-challenge.{name.removeprefix('*.')}"
        self.unset[name] = "nobody answered in time"
        answered = await self._asked(place, "CNAME")
        if isinstance(answered, str):
            self.unset[name] = answered
        elif wanted in {str(one.target).rstrip(".").lower() for one in answered} | {place.lower()}:
            del self.unset[name]
        else:
            self.unset[name] = f"set this record, once: {place}. CNAME {wanted}."

    async def aliases_of(self, name: str) -> None:
        """Follow the place of a name's proofs to where an authority looks for them."""
        first = place = f"_acme-challenge.{name.removeprefix('*.')}"
        for _ in range(policy.DNS_ALIASES):
            answered = await self._asked(place, "CNAME")
            if isinstance(answered, str):
                return
            if not answered:
                if place != first:
                    self.aliases[name] = place
                return
            place = str(answered[0].target).rstrip(".").lower()
        self.unset[name] = f"the aliases at {first} have no end"

    async def _asked(self, name: str, kind: str) -> list[Any] | str:
        """Give the records, none where there are none; or why nobody could tell."""
        import dns.asyncresolver
        import dns.exception
        import dns.name
        from dns.resolver import NXDOMAIN, NoAnswer

        try:
            resolver = (self._resolver or dns.asyncresolver.Resolver)()
            whole = dns.name.from_text(name)
            return list(await resolver.resolve(whole, kind, lifetime=policy.LOOK_S))
        except (NXDOMAIN, NoAnswer):
            return []
        except (OSError, dns.exception.DNSException) as error:
            return str(error) or type(error).__name__


def _permission(record: CAA) -> Permission:
    return Permission(record.tag.decode("ascii", "replace").lower(), record.value.decode("ascii", "replace"))


async def _is_public(host: str, port: int) -> bool:
    """Say whether an authority is one of the Internet's, as far as its addresses tell."""
    import ipaddress

    with trio.move_on_after(policy.LOOK_S):
        try:
            places = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except OSError:
            return False
        return all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_global for one in places)
    return False


async def _all(tasks: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Do all, some at a time, until they have had their time."""
    limit = trio.CapacityLimiter(policy.LOOKS_AT_ONCE)

    async def one(task: Callable[[], Awaitable[None]]) -> None:
        async with limit:
            await task()

    with trio.move_on_after(policy.LOOKS_S):
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(one, task)
