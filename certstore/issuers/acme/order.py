"""An order's next step: from what the disk and the authority say, what is to be done now (RFC 8555, 7.1.6).

Pure: it waits for nothing and asks nobody. Promises: whatever an authority says, one step comes out, and each
either brings the order on, waits, or ends it with a reason; nothing is finalized twice. Refuses to know the
time: whether an order is over, its authority says, since the clocks of devices are wrong.

    no URL yet           Create          some proof is pending       Answer, then Tell
    nothing seen yet     Look            all are told                Wait
    ready                Finalize        valid                       Fetch, then Done
    processing           Wait            invalid                     GiveUp
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.messages import Authorization, Offer, Order, OrderStatus, ProofStatus
from certstore.issuers.acme.problems import Problem
from certstore.names import is_address

__all__ = [
    "Answer",
    "Create",
    "Done",
    "Fetch",
    "Finalize",
    "GiveUp",
    "Known",
    "Look",
    "Proof",
    "Reason",
    "Seen",
    "Step",
    "Tell",
    "Wait",
    "plan",
]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the authority said last; the authorizations of a pending order, none needed of others."""

    order: Order
    authorizations: tuple[Authorization, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What we know ourselves: the record on the disk, and what was done since this process took it up."""

    kinds: Sequence[Challenge]
    has_url: bool = False
    has_chain: bool = False
    seen: Seen | None = None
    answered: frozenset[str] = frozenset()
    """URLs of challenges whose answers are given now."""
    told: frozenset[str] = frozenset()
    """URLs of challenges that the authority was told are ready."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One name with the way that was chosen to prove it."""

    authorization: Authorization
    offer: Offer
    challenge: Challenge


class Reason(StrEnum):
    """Why an order can come to nothing."""

    NO_CHALLENGE = "no_challenge"  # it offers no way that we have
    UNPROVED = "unproved"  # it looked, and didn't see the proof
    INVALID = "invalid"  # the order is over
    STRANGE = "strange"  # it contradicts itself


@dataclass(frozen=True, slots=True)
class Create:
    """Ask for a new order."""


@dataclass(frozen=True, slots=True)
class Look:
    """Read the order, and its authorizations while it is pending."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Have these answers given, and wait until everybody gives them."""

    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the authority that these are ready."""

    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again later; for a proof to be seen, or for the certificate to be made."""

    is_issuing: bool


@dataclass(frozen=True, slots=True)
class Finalize:
    """Hand in the request."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Download the certificate."""

    url: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This order comes to nothing; another one may, unless the reason stays."""

    reason: Reason
    name: str = ""
    challenge: str = ""
    problem: Problem | None = None
    offered: tuple[str, ...] = ()


Step: TypeAlias = Create | Look | Answer | Tell | Wait | Finalize | Fetch | Done | GiveUp

_OVER: Final = frozenset(
    {ProofStatus.INVALID, ProofStatus.DEACTIVATED, ProofStatus.EXPIRED, ProofStatus.REVOKED}
)
_BY_DNS: Final = frozenset({Challenge.DNS_01, Challenge.DNS_PERSIST_01})


def plan(known: Known) -> Step:
    """Say what to do next."""
    if known.has_chain:
        return Done()
    if not known.has_url:
        return Create()
    return Look() if known.seen is None else _go_on(known, known.seen)


def _go_on(known: Known, seen: Seen) -> Step:
    match seen.order.status:
        case OrderStatus.PENDING:
            return _prove(known, seen)
        case OrderStatus.READY:
            return Finalize()
        case OrderStatus.PROCESSING:
            return Wait(is_issuing=True)
        case OrderStatus.VALID:
            url = seen.order.certificate
            return Fetch(url) if url else GiveUp(Reason.STRANGE)
        case OrderStatus.INVALID:
            return _failed(seen)


def _prove(known: Known, seen: Seen) -> Step:
    """Say what is to be done for a pending order."""
    if any(one.status in _OVER for one in seen.authorizations):
        return _failed(seen)
    pending = [one for one in seen.authorizations if one.status is not ProofStatus.VALID]
    proofs = list[Proof]()
    for authorization in pending:
        proof = choose(authorization, known.kinds)
        if proof is None:
            offered = tuple(offer.kind for offer in authorization.offers)
            return GiveUp(Reason.NO_CHALLENGE, authorization.identifier.value, offered=offered)
        proofs.append(proof)
    # what the authority looks at already must be answered as well, after a restart; but not told again
    if unanswered := tuple(one for one in proofs if one.offer.url not in known.answered):
        return Answer(unanswered)
    if untold := tuple(one for one in proofs if _is_untold(one.offer, known.told)):
        return Tell(untold)
    return Wait(is_issuing=False)


def choose(authorization: Authorization, kinds: Sequence[Challenge]) -> Proof | None:
    """Choose how a name is proved: what was begun already, else the first of our kinds that is offered."""
    usable = [
        Proof(authorization, offer, kind)
        for kind in kinds
        for offer in authorization.offers
        if offer.kind == kind and _can_prove(kind, authorization) and _is_whole(kind, offer)
    ]
    begun = (one for one in usable if one.offer.status is ProofStatus.PROCESSING)
    return next(begun, None) or next((one for one in usable if one.offer.status is ProofStatus.PENDING), None)


def _is_untold(offer: Offer, told: frozenset[str]) -> bool:
    return offer.status is ProofStatus.PENDING and offer.url not in told


def _can_prove(kind: Challenge, authorization: Authorization) -> bool:
    """Say whether a kind can prove this at all (RFC 8555 section 8; RFC 8738 section 7)."""
    if is_address(authorization.name):
        return kind not in _BY_DNS
    return kind in _BY_DNS or not authorization.is_wildcard


def _is_whole(kind: Challenge, offer: Offer) -> bool:
    return bool(offer.issuers if kind is Challenge.DNS_PERSIST_01 else offer.token)


def _failed(seen: Seen) -> GiveUp:
    """Say why an order failed, by the most telling fault: a proof that wasn't seen, else the order's own."""
    for authorization in seen.authorizations:
        if authorization.status in _OVER:
            tried = [offer for offer in authorization.offers if offer.status is ProofStatus.INVALID]
            offer = next((one for one in tried if one.error is not None), None)
            name = authorization.identifier.value
            if offer is not None:
                return GiveUp(Reason.UNPROVED, name, offer.kind, offer.error)
            return GiveUp(Reason.INVALID, name, problem=seen.order.error)
    return GiveUp(Reason.INVALID, problem=seen.order.error)
