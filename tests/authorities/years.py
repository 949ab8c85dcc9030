"""A device that lives through years in a moment: the real keeper, client and store, on trio's clock.

What is not real: the authority's network (tests/authorities/scripted.py), and the waiting. Power and the
authority come and go by `Weather`, from a seed, so that each run is the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest
import trio

from certstore import Candidate, Finding, Receipt, Slot, Source, State, Store
from certstore.atomic import Disk
from certstore.examination import InProcess
from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.enrolment import Enrolment
from certstore.issuers.acme.issuing import Issuer, Surroundings
from certstore.issuers.acme.renewalinfo import certificate_id
from certstore.issuers.csr import KeyType
from tests.authorities.answering import Recorder
from tests.authorities.scripted import EPOCH, Scripted, answer, says
from tests.authorities.store import at_once
from tests.pki import Pki
from tests.storing import OpenGate
from tlsproxy import acmebooks, acmekeeping, acmeobtaining, acmetidying, acmetimes, policy_acme
from tlsproxy.acmebooks import Books
from tlsproxy.acmekeeping import AcmeKeeper, Terms
from tlsproxy.control.peers import Peer
from tlsproxy.observe.audit import AuditLog

NAME = "device.test"
DAY_S = 86_400.0
ROOT = Peer(1, 0, 0)


def in_virtual_time(monkeypatch: pytest.MonkeyPatch, seed: int = 1) -> None:
    """Let no thread work while the clock runs on, and chance be a seed's."""
    for room in (acmebooks, acmekeeping, acmeobtaining, acmetidying, acmetimes):
        monkeypatch.setattr(room, "in_thread", at_once)
    for room in (acmebooks, acmetimes):
        monkeypatch.setattr(room, "_chance", random.Random(seed).random)
    monkeypatch.setattr(policy_acme, "TURN_S", DAY_S)  # what is due is known beforehand: no clock is set


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when, in seconds of the clock; and what it is."""

    begin: float
    end: float
    kind: str = ""

    def overlap(self, other: Span) -> float:
        return min(self.end, other.end) - max(self.begin, other.begin)


KINDS = ("dead", "failing", "busy", "limited", "blind")


def spans(
    chance: random.Random, until_s: float, gap_s: float, shortest_s: float, longest_s: float
) -> list[Span]:
    """Make troubles that come at random, each of another length and kind."""
    made, at = list[Span](), chance.expovariate(1 / gap_s)
    while at < until_s:
        lasts = chance.uniform(shortest_s, longest_s)
        made.append(Span(at, at + lasts, chance.choice(KINDS)))
        at += lasts + chance.expovariate(1 / gap_s)
    return made


@dataclass
class Life:
    """One device with its authority. `live` it, then look at what it noted."""

    root: Path
    authority: Scripted
    outages: Sequence[Span]
    cuts: Sequence[Span]
    until_s: float
    answering: Recorder = field(default_factory=Recorder)
    taken: list[tuple[float, datetime, datetime]] = field(default_factory=list)  # at, not before, not after
    orders: list[float] = field(default_factory=list)
    unproved: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    disk: Disk = field(default_factory=Disk)
    beside: KeyType | None = None

    @classmethod
    def of(cls, root: Path, pki: Pki, *, days: float, years: float, seed: int, suggests: bool) -> Life:
        chance, until_s = random.Random(seed), years * 365 * DAY_S
        outages = spans(chance, until_s, 8 * DAY_S, 60.0, 3 * DAY_S)
        cuts = spans(chance, until_s, 20 * DAY_S, 20.0, DAY_S)
        life = cls(root, Scripted(pki, lambda *_: False), outages, cuts, until_s)
        life.authority.days, life.authority.has_renewal_info = days, suggests
        life.authority.sees, life.authority.script = life._sees, life._script
        return life

    def clock(self) -> datetime:
        return EPOCH + timedelta(seconds=trio.current_time())

    # --- the authority

    def _outage(self) -> Span | None:
        now = trio.current_time()
        return next((one for one in self.outages if one.begin <= now < one.end), None)

    def _script(self, method: str, path: str) -> httpx2.Response | None:
        outage = self._outage()
        if path == "/neworder" and method == "POST" and (outage is None or outage.kind == "blind"):
            self.orders.append(trio.current_time())
        match outage.kind if outage is not None else "":
            case "dead":
                raise httpx2.ConnectError("nobody there")
            case "failing":
                return says(500, "serverInternal")
            case "busy" if outage is not None:
                wait = min(outage.end - trio.current_time(), 3_600.0)
                return says(503, "serverInternal", **{"Retry-After": str(int(wait) + 1)})
            case "limited" if outage is not None and path == "/neworder":
                over = min(outage.end, trio.current_time() + 6 * 3_600.0)
                at = format_datetime(EPOCH + timedelta(seconds=over), usegmt=True)
                return says(429, "rateLimited", **{"Retry-After": at})
        return self._suggestion(path) if path.startswith("/ari/") else None

    def _suggestion(self, path: str) -> httpx2.Response:
        """Suggest a tenth of the life, as public authorities do (RFC 9773 section 4.2)."""
        leaf = next(one for one in self.authority.issued if path.endswith(str(certificate_id(one))))
        begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        share = 0.5 if end - begin < timedelta(days=10) else 0.6
        window = {"start": begin + (end - begin) * share, "end": begin + (end - begin) * (share + 0.1)}
        said = {name: at.isoformat() for name, at in window.items()}
        return answer(200, {"suggestedWindow": said}, **{"Retry-After": "21600"})

    def _sees(self, name: str, whole: str) -> bool:
        outage = self._outage()
        is_blind = outage is not None and outage.kind == "blind"  # somebody has closed port 80
        if is_blind:
            self.unproved.append(trio.current_time())
        answers = {(one.name, one.key_authorization) for one in self.answering.given}
        return not is_blind and (name, whole) in answers

    # --- the device

    async def live(self) -> None:
        """Enrol, and stand through all of it; each cut of the power finds whatever is being done."""
        if not self.taken:
            with self.store() as store:
                await self.enable(self.keeper(store))
        for cut in (*self.cuts, Span(self.until_s, self.until_s)):
            with self.store() as store:
                with trio.CancelScope(deadline=cut.begin):
                    await self.keeper(store).run()
                self.answering.given.clear()
            await trio.sleep_until(cut.end)

    def store(self) -> Store:
        """Open the store, as a start does."""
        return Store.open(self.root, clock=self.clock, disk=self.disk)

    def enrolment(self, since: datetime) -> Enrolment:
        """Say what is wanted."""
        server = self.authority.server.directory
        wanted = Enrolment(server, (NAME,), Challenge.HTTP_01, KeyType.EC, None, None, "", since)
        return replace(wanted, beside=self.beside)

    def keeper(self, store: Store) -> AcmeKeeper:
        """Give who looks after a store that is open."""

        def tell(finding: Finding) -> None:
            self.told.append(finding.code)

        audit = AuditLog(store.path, self.clock)
        told = (_Changes(self, store), tell, audit)
        return Virtual(store, self.answering, self.clock, *told, authority=self.authority, disk=self.disk)

    async def enable(self, keeper: AcmeKeeper) -> None:
        """Ask for it, as a person does."""
        await keeper.enable(self.enrolment, Terms(is_agreed=True), ROOT)

    # --- what is to be seen

    def lapses(self) -> Iterator[tuple[Span, Span]]:
        """Give each time without a valid certificate, and the time in which that was to be prevented."""
        ends = [*(at for at, _, _ in self.taken[1:]), self.until_s]
        for (_, begin, end), successor in zip(self.taken, ends, strict=True):
            expired = (end - EPOCH).total_seconds()
            if successor > expired:
                life = (end - begin).total_seconds()
                yield Span(expired, successor), Span(expired - life / 3, expired)

    def longest_chance(self, span: Span) -> float:
        """Give the longest time within it, in seconds, in which device and authority were there."""
        bad = sorted((*self.outages, *self.cuts), key=lambda one: one.begin)
        longest, at = 0.0, span.begin
        for one in bad:
            if one.overlap(span) > 0:
                longest = max(longest, one.begin - at)
                at = max(at, one.end)
        return max(longest, span.end - at)


@dataclass(frozen=True)
class _Changes:
    """Brings in what comes, and notes when."""

    life: Life
    store: Store

    async def propose_acme(self, candidate: Candidate, *, beside: bool) -> Receipt:
        await trio.lowlevel.checkpoint()
        examiner = InProcess(OpenGate())
        receipt = self.store.propose(
            candidate, source=Source.ACME, via="acme", examiner=examiner, beside=beside
        )
        if receipt.state is State.REFUSED:
            return receipt
        slot = next(slot for slot in self.store.slots() if slot.source is Source.ACME)
        leaf = self.store.bundle(slot.bundle).leaf
        self.life.taken.append((trio.current_time(), leaf.not_valid_before_utc, leaf.not_valid_after_utc))
        return receipt

    async def retire_acme(self, slot: Slot) -> Receipt:
        await trio.lowlevel.checkpoint()
        return self.store.remove(slot.key, via="acme")

    async def change(self, what: str, *_: object) -> Receipt:
        raise AssertionError(f"nobody asks for {what} here")


class Virtual(AcmeKeeper):
    """The keeper, with an authority in memory and no thread: a virtual clock runs on while one works.

    Who has `in_thread` of the rooms replaced by `at_once` has it so (`in_virtual_time`).
    """

    def __init__(self, *rest: object, authority: Scripted, disk: Disk) -> None:
        super().__init__(*rest)  # type: ignore[arg-type]
        self.books = _VirtualBooks(self._store, self._clock, authority, disk)
        self.books.hear = self.herald.again


class _VirtualBooks(Books):
    def __init__(self, store: Store, clock: Callable[[], datetime], authority: Scripted, disk: Disk) -> None:
        super().__init__(store, clock)
        self._authority, self._its_disk = authority, disk

    def _disk(self) -> Disk:
        return self._its_disk

    def _issuer(self) -> Issuer:
        surroundings = Surroundings(
            clock=self._clock,
            random=random.Random(7).random,
            transport=lambda _: self._authority,
            offload=at_once,
            hear=self._heard,
        )
        return Issuer(self._store.path, self._disk(), surroundings)


def most_within(moments: Sequence[float], seconds: float) -> int:
    """Count the most of them that fall into a window of this length."""
    most, first = 0, 0
    for number, at in enumerate(moments):
        while at - moments[first] >= seconds:
            first += 1
        most = max(most, number - first + 1)
    return most
