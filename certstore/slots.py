"""Slots and sources: which bundle each source has for which names.

A slot belongs to one source for ever: no source can touch another's, so an automatic renewal never overwrites
what a customer uploaded. Precedence is decided between slots (in `generation`), never by overwriting.
This room holds values only; `store` writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from certstore import records
from certstore.findings import Finding, found

__all__ = [
    "Key",
    "Slot",
    "Source",
    "bundles_named",
    "in_order",
    "slot_id",
    "told_of",
    "without_former_selves",
]


class Source(StrEnum):
    """Who a bundle came from. The order of definition is the precedence, the highest first."""

    CUSTOMER = "customer"
    ACME = "acme"
    FACTORY = "factory"
    GENERATED = "generated"

    @property
    def rank(self) -> int:
        """The place in the precedence; 0 is the highest."""
        return _RANKS[self]


_RANKS: Final = {source: rank for rank, source in enumerate(Source)}


def slot_id(names: Iterable[str]) -> str:
    """Name the slot for this set of names: 32 hex digits, the same for any order and for repeated names."""
    listing = "\n".join(sorted(set(names)))
    return hashlib.sha256(listing.encode()).hexdigest()[:32]


Key = tuple[Source, str]  # a slot's source and id


@dataclass(frozen=True, slots=True)
class Slot:
    """What one source has for one set of names: a bundle, or a pair of them, one with an EC key and one RSA.

    `bundle` is what the source wants served, `last_confirmed` the way back from it. Where `beside` is given,
    it is the RSA one of a pair, and `bundle` the EC one; `confirmed_beside` is what stood beside
    `last_confirmed`. So a pair is brought, confirmed and put back as one thing. `since` is the number of the
    generation that brought them: it says which of two slots is newer, because a clock may be set back. `id`
    is the name of this slot among those of its source, made once: a change sorts all slots by it.
    """

    source: Source
    names: tuple[str, ...]
    bundle: str
    last_confirmed: str | None
    via: str
    sealed: bool
    receipt: str
    stored_at: datetime
    since: int = 0
    beside: str | None = None
    confirmed_beside: str | None = None
    id: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Name it."""
        object.__setattr__(self, "id", slot_id(self.names))

    @property
    def key(self) -> Key:
        """The name of this slot among all."""
        return (self.source, self.id)

    @property
    def newness(self) -> tuple[int, datetime]:
        """A key that sorts newer slots behind older ones."""
        return (self.since, self.stored_at)

    @property
    def tenure(self) -> tuple[str, str | None, int, str]:
        """What tells this state of the slot from its others, confirmed or not."""
        return (self.bundle, self.beside, self.since, self.receipt)

    @property
    def bundles(self) -> tuple[str, ...]:
        """What the source wants served: one, or the EC and the RSA one of a pair."""
        return (self.bundle,) if self.beside is None else (self.bundle, self.beside)

    @property
    def ways(self) -> tuple[str, ...]:
        """All bundles that this names: those it wants served, then those that were confirmed last."""
        every = (self.bundle, self.beside, self.last_confirmed, self.confirmed_beside)
        return tuple(dict.fromkeys(id_ for id_ in every if id_ is not None))

    @property
    def is_confirmed(self) -> bool:
        """Whether the way back leads nowhere else."""
        return (self.last_confirmed, self.confirmed_beside) == (self.bundle, self.beside)

    def confirmed(self) -> Slot:
        """Give this slot, confirmed as it is."""
        if self.is_confirmed:
            return self
        return replace(self, last_confirmed=self.bundle, confirmed_beside=self.beside)

    def without(self, lost: Collection[str]) -> Slot | None:
        """Give this slot without these bundles; None where nothing is left of it."""
        left = [id_ for id_ in self.bundles if id_ not in lost]
        if len(left) == len(self.bundles):
            return self
        return replace(self, bundle=left[0], beside=None).confirmed() if left else None

    def put_back(self) -> Slot | None:
        """Give this slot with what was confirmed last, confirmed; None where nothing was."""
        if self.last_confirmed is None:
            return None
        return replace(self, bundle=self.last_confirmed, beside=self.confirmed_beside)

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads; of a pair older software reads the EC bundle alone."""
        pair = {"beside": self.beside, "confirmed_beside": self.confirmed_beside}
        return {
            "source": str(self.source),
            "names": list(self.names),
            "bundle": self.bundle,
            "last_confirmed": self.last_confirmed,
            "via": self.via,
            "sealed": self.sealed,
            "receipt": self.receipt,
            "stored_at": records.moment_text(self.stored_at),
            "since": self.since,
            **{name: id_ for name, id_ in pair.items() if id_ is not None},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Slot:
        """Read what `to_json` made; ValueError for anything else."""
        return cls(
            source=Source(records.text(data, "source")),
            names=records.texts(data, "names"),
            bundle=records.bundle_id(data, "bundle"),
            last_confirmed=records.optional(records.bundle_id, data, "last_confirmed"),
            via=records.text(data, "via"),
            sealed=records.flag(data, "sealed"),
            receipt=records.text(data, "receipt"),
            stored_at=records.moment(data, "stored_at"),
            since=records.number(data, "since"),
            beside=records.later(records.bundle_id, data, "beside"),
            confirmed_beside=records.later(records.bundle_id, data, "confirmed_beside"),
        )


def in_order(slots: Iterable[Slot]) -> tuple[Slot, ...]:
    """Give the slots in an order that depends on nothing but their names."""
    return tuple(sorted(slots, key=lambda slot: (slot.source.rank, slot.id)))


def bundles_named(slots: Iterable[Slot]) -> frozenset[str]:
    """Give the ids of all bundles that these slots serve or could go back to."""
    return frozenset(id_ for slot in slots for id_ in slot.ways)


def told_of(code: str, slot: Slot, **facts: object) -> Finding:
    """Tell of a slot by its source and names."""
    return found(code, source=slot.source, names=", ".join(slot.names) or "no names", **facts)


def without_former_selves(slots: Mapping[Key, Slot], proposed: Slot) -> dict[Key, Slot]:
    """Leave out what we once called ourselves: of our identities the proposed and the newest before it stay.

    Every new address gives our own certificate another set of names, so another slot; without this a device
    that moves between networks would collect them for ever.
    """
    if proposed.source is not Source.GENERATED:
        return dict(slots)
    own = [slot for slot in slots.values() if slot.source is Source.GENERATED and slot.key != proposed.key]
    former = {slot.key for slot in sorted(own, key=lambda slot: slot.newness)[:-1]}
    return {key: slot for key, slot in slots.items() if key not in former}
