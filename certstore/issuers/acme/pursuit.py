"""One order, pursued to its end: does what `order.plan` says, and has each step on the disk before the next.

Promises: whoever kills or cancels it anywhere finds an order that goes on, or starts anew; answers are
withdrawn at the end, whatever it is. Waits no longer than the patience below: what takes longer at its
authority (somebody signs by hand) is left on the disk, and taken up by the next call. Refuses to know which
certificate is wanted when, and whether a record is still wanted (issuing.py).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certstore.bundle import PrivateKey
from certstore.errors import StoreError
from certstore.findings import found
from certstore.issuers import csr
from certstore.issuers.acme import chains, order
from certstore.issuers.acme.challenges import Answer, Challenge
from certstore.issuers.acme.client import Client, Reply
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.jws import Signer, thumbprint
from certstore.issuers.acme.messages import Authorization, Identifier, Order, OrderStatus, ProofStatus, https
from certstore.issuers.acme.ordering import OrderRecord, Orders
from certstore.issuers.acme.problems import Asked, error_of
from certstore.issuers.acme.surroundings import Surroundings
from certstore.issuers.acme.wishes import Answerers, Progress, Step, Tell, Wish
from certstore.issuers.csr import Wanted

__all__ = ["OrderGone", "Pursuit"]

# Public authorities look within seconds, from several places; DNS servers of a customer take minutes.
VALIDATION_S: Final = 900.0
ISSUANCE_S: Final = 900.0
# Between two looks where the authority says nothing: quick at first, since most are done within seconds.
FIRST_LOOK_S: Final = 0.5
LONGEST_LOOK_S: Final = 30.0
GROWTH: Final = 1.6
SOONEST_LOOK_S: Final = 1.0
WITHDRAW_S: Final = 10.0
MOST_ALTERNATES: Final = 5
# How long an answer is given at the longest, by our own clock; it is withdrawn when the order goes on.
ANSWERED: Final = timedelta(seconds=2 * VALIDATION_S)


class OrderGone(Exception):  # noqa: N818  it says what is the matter
    """An order that the disk remembered is over at its authority: another one may do better."""


@dataclass(frozen=True, slots=True)
class Wanting:
    """What is wanted, who answers, and who is told."""

    wish: Wish
    answerers: Answerers
    tell: Tell


class Pursuit:
    """An order under way."""

    def __init__(
        self, client: Client, signer: Signer, orders: Orders, surroundings: Surroundings, wanting: Wanting
    ) -> None:
        """Take the conversation, who signs, the disk's orders, and what is wanted."""
        self._client, self._signer, self._orders = client, signer, orders
        self._surroundings, self._wanting = surroundings, wanting
        self._known = order.Known(tuple(wanting.answerers))
        self._given = list[Answer]()
        self._retry_at: datetime | None = None
        self._pause = FIRST_LOOK_S
        self._patience: tuple[bool, float] | None = None  # for which wait, and until when

    async def run(self, record: OrderRecord) -> OrderRecord:
        """Bring it to its end. Raises AcmeError, StoreError, or OrderGone for one that was remembered."""
        is_resumed = record.url is not None
        self._record = record
        self._known = replace(self._known, has_url=is_resumed, has_chain=record.has_chain)
        try:
            while True:
                step = order.plan(self._known)
                if isinstance(step, order.Done):
                    return self._record
                await self._act(step, is_resumed=is_resumed)
                if not isinstance(step, order.Look):
                    is_resumed = False
        finally:
            await self._withdraw()

    async def _act(self, step: order.Step, *, is_resumed: bool) -> None:
        match step:
            case order.Create():
                await self._create()
            case order.Look():
                await self._first_look(is_resumed=is_resumed)
            case order.Answer(proofs):
                await self._answer(proofs)
            case order.Tell(proofs):
                await self._say_ready(proofs)
            case order.Wait(is_issuing):
                await self._wait(is_issuing=is_issuing)
            case order.Finalize():
                await self._finalize()
            case order.Fetch(url):
                await self._fetch(url)
            case order.GiveUp():
                await self._give_up(step, is_resumed=is_resumed)

    # --- the steps ---

    async def _give_up(self, end: order.GiveUp, *, is_resumed: bool) -> None:
        await self._remove()
        if is_resumed:
            raise OrderGone
        raise self._reason(end)

    async def _create(self) -> None:
        self._tell(Step.ORDER)
        wish, directory = self._wanting.wish, await self._client.directory()
        names = self._record.names
        payload: dict[str, object] = {"identifiers": [Identifier.of(name).to_json() for name in names]}
        if wish.profile is not None:
            payload["profile"] = wish.profile
        profiles = tuple(directory.profiles)
        asked = Asked(self._client.host, names, wish.profile or "", profiles, directory.terms or "")
        replaces = wish.replaces if directory.has_renewal_info else None
        reply = await self._new_order(directory.new_order, payload, replaces, asked)
        made = self._read(reply)
        if {one.value for one in made.identifiers} != set(names):
            raise self._client.strange("the order is for other names")
        try:
            url = https(reply.location or "")
        except ValueError as error:
            raise self._client.strange(error) from error
        await self._note(replace(self._record, url=url, replaced="replaces" in payload))
        self._known = replace(self._known, has_url=True)

    async def _new_order(
        self, url: str, payload: dict[str, object], replaces: str | None, asked: Asked
    ) -> Reply:
        """Ask for it, as the successor of the former one; an authority that won't have that is asked without.

        RFC 9773 section 5 has `alreadyReplaced` for it; but whatever it minds, a renewal must not fail by it.
        """
        if replaces is not None:
            payload["replaces"] = replaces
            try:
                return await self._client.post(url, payload, self._signer, asked)
            except AcmeError as error:
                if not error.is_lasting:
                    raise
                del payload["replaces"]
        return await self._client.post(url, payload, self._signer, asked)

    async def _first_look(self, *, is_resumed: bool) -> None:
        try:
            await self._look()
        except AcmeError as error:
            if is_resumed and error.code == "acme_refused":  # nobody there knows it any more
                await self._remove()
                raise OrderGone from error
            raise

    async def _look(self) -> None:
        """Read the order, and what of its authorizations can have changed."""
        reply = await self._client.read(str(self._record.url), self._signer)
        seen = self._read(reply)
        self._retry_at = reply.retry_at
        authorizations = list[Authorization]()
        if seen.status in {OrderStatus.PENDING, OrderStatus.INVALID}:
            before = {one.url: one for one in self._known.seen.authorizations} if self._known.seen else {}
            for url in seen.authorizations:
                former = before.get(url)
                is_proved = former is not None and former.status is ProofStatus.VALID
                authorizations.append(former if former and is_proved else await self._authorization(url))
        self._see(order.Seen(seen, tuple(authorizations)))

    async def _authorization(self, url: str) -> Authorization:
        reply = await self._client.read(url, self._signer)
        if reply.retry_at is not None:
            self._retry_at = max(reply.retry_at, self._retry_at or reply.retry_at)
        try:
            found_ = Authorization.read(reply.body, url)
        except ValueError as error:
            raise self._client.strange(error) from error
        if found_.name not in {name.removeprefix("*.") for name in self._record.names}:
            raise self._client.strange("it wants a name proved that nobody asked for")
        return found_

    async def _answer(self, proofs: tuple[order.Proof, ...]) -> None:
        expires = self._surroundings.clock() + ANSWERED
        answers = [(proof, self._answer_to(proof, expires)) for proof in proofs]
        self._tell(Step.ANSWERING, names=tuple(sorted({proof.authorization.name for proof in proofs})))
        for kind in dict.fromkeys(proof.challenge for proof in proofs):
            mine = [answer for proof, answer in answers if proof.challenge is kind]
            self._given += mine  # before: whoever fails half-way has some to take back
            try:
                await self._wanting.answerers[kind].publish(mine)
            except StoreError as error:
                names = ", ".join(one.name for one in mine)
                raise AcmeError.of(
                    "acme_challenge_unanswered", name=names, challenge=kind, why=error
                ) from error
        urls = frozenset(proof.offer.url for proof in proofs)
        self._known = replace(self._known, answered=self._known.answered | urls)

    def _answer_to(self, proof: order.Proof, expires: datetime) -> Answer:
        offer, name = proof.offer, proof.authorization.name
        if proof.challenge is Challenge.DNS_PERSIST_01:
            value = f"{offer.issuers[0]}; accounturi={self._signer.kid}"
            wildcard = "; policy=wildcard" if proof.authorization.is_wildcard else ""
            return Answer(proof.challenge, name, "", value + wildcard, expires)
        whole = f"{offer.token}.{thumbprint(self._signer.key.public_key())}"
        return Answer(proof.challenge, name, offer.token, whole, expires)

    async def _say_ready(self, proofs: tuple[order.Proof, ...]) -> None:
        for proof in proofs:
            await self._client.post(proof.offer.url, {}, self._signer)
            self._known = replace(self._known, told=self._known.told | {proof.offer.url})

    async def _wait(self, *, is_issuing: bool) -> None:
        """Wait until the authority may have got further, and look."""
        if self._patience is None or self._patience[0] is not is_issuing:
            self._pause = FIRST_LOOK_S
            self._patience = (is_issuing, trio.current_time() + (ISSUANCE_S if is_issuing else VALIDATION_S))
        left = self._patience[1] - trio.current_time()
        now = self._surroundings.clock()
        until = now + timedelta(seconds=max(left, 0.0))
        if is_issuing:
            self._tell(Step.ISSUANCE, until)
        else:
            self._tell(Step.VALIDATION, until, self._unproved())
        if self._retry_at is not None:
            pause = max((self._retry_at - now).total_seconds(), SOONEST_LOOK_S)
        else:
            pause = self._pause * (0.5 + self._surroundings.random())
            self._pause = min(self._pause * GROWTH, LONGEST_LOOK_S)
        if pause > left:
            raise self._stuck()
        await trio.sleep(pause)
        await self._look()

    async def _finalize(self) -> None:
        await self._withdraw()
        self._tell(Step.ISSUANCE)
        key = await self._surroundings.offload(lambda: self._orders.key(self._record))
        request = _request(self._record, key)
        asked = Asked(self._client.host, self._record.names)
        seen = self._known.seen
        assert seen is not None, "only an order that was seen is ready"
        try:
            reply = await self._client.post(seen.order.finalize, {"csr": request}, self._signer, asked)
        except AcmeError as error:
            if error.kind == "orderNotReady":  # it went on meanwhile, or it isn't over after all
                await self._wait(is_issuing=True)
                return
            if error.is_lasting:  # another key or other names would be another order
                await self._remove()
            raise
        self._retry_at = reply.retry_at
        self._see(order.Seen(self._read(reply)))

    async def _fetch(self, url: str) -> None:
        await self._withdraw()
        self._tell(Step.DOWNLOAD)
        reply = await self._client.read(url, self._signer)
        good, why = list[chains.Chain](), ""
        pending = [reply.body]
        wants_more = self._wanting.wish.preferred_chain is not None
        alternates = list(reply.alternates[:MOST_ALTERNATES])
        while pending:
            try:
                good.append(chains.Chain.read(pending.pop(), self._record.spki, self._record.names))
            except ValueError as error:
                why = why or str(error)
            if alternates and (wants_more or not good):
                pending.append((await self._client.read(alternates.pop(0), self._signer)).body)
        if not good:
            await self._remove()
            raise AcmeError.of("acme_certificate_foreign", host=self._client.host, why=why)
        pem = chains.prefer(good, self._wanting.wish.preferred_chain).pem()
        self._record = await self._surroundings.offload(lambda: self._orders.finish(self._record, pem))
        self._known = replace(self._known, has_chain=True)

    # --- what they have in common ---

    def _see(self, seen: order.Seen) -> None:
        self._known = replace(self._known, seen=seen)

    def _read(self, reply: Reply) -> Order:
        try:
            return Order.read(reply.body)
        except ValueError as error:
            raise self._client.strange(error) from error

    async def _note(self, record: OrderRecord) -> None:
        await self._surroundings.offload(lambda: self._orders.note(record))
        self._record = record

    async def _remove(self) -> None:
        await self._surroundings.offload(lambda: self._orders.remove(self._record.id))

    async def _withdraw(self) -> None:
        """Take all answers back, also where this is cancelled; nobody waits long for it."""
        given, self._given = self._given, []
        if not given:
            return
        with trio.move_on_after(WITHDRAW_S, shield=True):
            for kind in dict.fromkeys(one.challenge for one in given):
                await self._wanting.answerers[kind].withdraw(_of(given, kind))

    def _tell(self, step: Step, until: datetime | None = None, names: tuple[str, ...] = ()) -> None:
        self._wanting.tell(Progress(step, names or self._record.names, until))

    def _unproved(self) -> tuple[str, ...]:
        """Give the names that the authority still looks for, as far as it has told."""
        seen = self._known.seen.authorizations if self._known.seen is not None else ()
        return tuple(sorted({one.name for one in seen if one.status is not ProofStatus.VALID}))

    def _stuck(self) -> AcmeError:
        seen = self._known.seen
        facts = {"host": self._client.host, "names": ", ".join(self._record.names)}
        status = seen.order.status if seen is not None else "unknown"
        return AcmeError(found("acme_order_stuck", **facts, status=status), retry_at=self._retry_at)

    def _reason(self, end: order.GiveUp) -> AcmeError:
        host, names = self._client.host, end.name or ", ".join(self._record.names)
        match end.reason:
            case order.Reason.NO_CHALLENGE:
                offered = ", ".join(end.offered) or "nothing"
                return AcmeError.lasting("acme_challenge_missing", host=host, name=end.name, offered=offered)
            case order.Reason.UNPROVED if end.problem is not None:
                if end.problem.kind in {"caa", "rejectedIdentifier", "rateLimited"}:
                    return error_of(end.problem, Asked(host, [names]))
                facts = {"name": end.name, "challenge": end.challenge, "why": end.problem.words}
                return AcmeError(found("acme_challenge_failed", host=host, **facts), kind=end.problem.kind)
            case _ if end.problem is not None and end.problem.kind in {"caa", "rateLimited", "badCSR"}:
                return error_of(end.problem, Asked(host, [names]))
        why = end.problem.words if end.problem is not None else "it says no reason"
        return AcmeError.of("acme_order_failed", host=host, names=names, why=why)


def _of(answers: Iterable[Answer], kind: Challenge) -> list[Answer]:
    return [one for one in answers if one.challenge is kind]


def _request(record: OrderRecord, key: PrivateKey) -> str:
    """Give the request as finalize takes it (section 7.4), with an empty subject: authorities set one."""
    pem = csr.request(Wanted(record.names, record.key_type), key)
    der = x509.load_pem_x509_csr(pem.encode("ascii")).public_bytes(Encoding.DER)
    return base64.urlsafe_b64encode(der).rstrip(b"=").decode("ascii")
