"""Generations: the immutable, numbered tables that say which bundle is served for which name.

`compute` is the one place that decides precedence and expiry. It is pure: slots, facts about their bundles
and the time go in, rows come out. It knows no disk, no clock and no TLS.

Theory. Four promises pull at each other here:

- *The highest source wins.* Every known name goes to the highest source one of whose bundles covers it; a
  customer's wildcard beats our own exact certificate. Within a source the exact name beats the wildcard, then
  the newer slot beats the older.
- *Expiry is no reason to look like a stranger.* An expired certificate that clients may have pinned, or
  that a person at least recognises, is better than a self-signed one that nobody has ever seen. So expiry
  moves a row only to a bundle that is valid now, is not self-signed and is not our own; if there is none,
  the expired one stays. A clock that can't be right moves nothing at all. A certificate that its authority
  has revoked moves as an expired one does, whatever the clock says: clients that look it up refuse it, others
  still know it, so a stranger's face would be no better.
- *A pair stands together.* Where a slot has an EC and an RSA bundle, its row has both, and the client's hello
  decides. Of an EC bundle that is over (expired, revoked) and an RSA one that isn't, only the second is
  served, because every client can use it. An RSA bundle that has expired stays beside an EC one that hasn't,
  for clients that could use nothing else; one that was revoked doesn't stay beside an EC one that is good:
  somebody may have its key, and shows it to exactly these clients.
- *Never dark.* While any slot has a bundle that could be loaded there is a default row. A slot whose bundle
  could not be loaded counts with its last confirmed one, or not at all; the others go on.

Cost: with n names about n log n, since every change computes all rows anew; with 10,000 names 60 ms
(measured). So who covers a name is looked up by it and by the one wildcard that could stand for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from heapq import merge
from typing import NamedTuple

from certstore import records
from certstore.bundle import Bundle
from certstore.names import covers
from certstore.slots import Slot, Source

__all__ = ["BundleFacts", "Cause", "Generation", "Row", "Served", "Trusted", "bundles_served", "compute"]


class Cause(StrEnum):
    """Why a generation was computed."""

    PROPOSAL = "proposal"
    ROLLBACK = "rollback"  # one slot went back
    ACTIVATION = "activation"  # all slots are as they were in an older generation
    REMOVAL = "removal"  # one slot was taken away
    RESTORE = "restore"  # a backup was brought back
    RESET = "reset"  # the factory's state, as far as that was asked for
    BAN = "ban"  # a key is served no more
    TRUST = "trust"  # whose clients are let in has changed
    PROBATION = "probation"  # what nobody confirmed in time went back
    EXPIRY = "expiry"
    REVOCATION = "revocation"  # an authority took a certificate back, or gave it back
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class Row:
    """One name pattern (a host, `*.x` or an address, normalised) and the id of the bundle served for it.

    `beside`: the RSA bundle for clients that can't use `bundle`, which is EC then.
    """

    pattern: str
    bundle: str
    source: Source
    beside: str | None = None

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        pair = {} if self.beside is None else {"beside": self.beside}
        return {"pattern": self.pattern, "bundle": self.bundle, "source": str(self.source), **pair}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Row:
        """Read what `to_json` made; ValueError for anything else."""
        return cls(
            pattern=records.text(data, "pattern"),
            bundle=records.bundle_id(data, "bundle"),
            source=Source(records.text(data, "source")),
            beside=records.later(records.bundle_id, data, "beside"),
        )


class Served(NamedTuple):
    """What `compute` decided: the rows, the default's bundle, and the RSA one beside that; ids."""

    rows: tuple[Row, ...]
    default: str | None
    beside: str | None


@dataclass(frozen=True, slots=True)
class Trusted:
    """A trust set by its name, and the id of what it holds (trust.py): by it clients are let in."""

    name: str
    id: str


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What `compute` must know of a bundle: normalised names, validity (aware), and who signed it."""

    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    self_signed: bool
    revoked: bool = False

    @classmethod
    def of(cls, bundle: Bundle) -> BundleFacts:
        """Take the facts from a bundle."""
        return cls(bundle.names, bundle.not_before, bundle.not_after, bundle.self_signed)

    def is_valid(self, now: datetime) -> bool:
        """Whether `now` lies between the two dates, both included (RFC 5280 4.1.2.5)."""
        return self.not_before <= now <= self.not_after

    def is_over(self, now: datetime | None) -> bool:
        """Whether it should be replaced: revoked, or expired at `now` (None: nobody knows)."""
        return self.revoked or (now is not None and now > self.not_after)

    def may_rescue(self, now: datetime | None) -> bool:
        """Whether it may take the place of one that is over: good now, and nobody's own word alone."""
        return not (self.self_signed or self.revoked) and (now is None or self.is_valid(now))


@dataclass(frozen=True, slots=True)
class Generation:
    """What is served: rows sorted by pattern, the default's bundle id, and the slots as they were.

    The slots are kept so that the store can put back, after a crash, what an unfinished change had written.
    `default` is None only when no slot had a bundle that could be loaded; `default_beside` is the RSA bundle
    of its pair. `trust` is sorted by name.
    """

    number: int
    rows: tuple[Row, ...]
    default: str | None
    slots: tuple[Slot, ...]
    cause: str
    receipt: str | None
    made_at: datetime
    trust: tuple[Trusted, ...] = ()
    default_beside: str | None = None

    @property
    def served(self) -> Served:
        """What it was computed to."""
        return Served(self.rows, self.default, self.default_beside)

    def bundles(self) -> frozenset[str]:
        """Give the ids of all bundles that are served in this generation."""
        return bundles_served(self.served)

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        return {
            "number": self.number,
            "rows": [row.to_json() for row in self.rows],
            "default": self.default,
            **({} if self.default_beside is None else {"default_beside": self.default_beside}),
            "slots": [slot.to_json() for slot in self.slots],
            "cause": self.cause,
            "receipt": self.receipt,
            "made_at": records.moment_text(self.made_at),
            "trust": [{"name": one.name, "id": one.id} for one in self.trust],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Generation:
        """Read what `to_json` made; ValueError for anything else."""
        return cls(
            number=records.number(data, "number"),
            rows=tuple(Row.from_json(row) for row in records.items(data, "rows")),
            default=records.optional(records.bundle_id, data, "default"),
            slots=tuple(Slot.from_json(slot) for slot in records.items(data, "slots")),
            cause=records.text(data, "cause"),
            receipt=records.optional(records.text, data, "receipt"),
            made_at=records.moment(data, "made_at"),
            trust=tuple(  # one of before there were trust sets has no such field
                Trusted(records.text(one, "name"), records.bundle_id(one, "id"))
                for one in (records.items(data, "trust") if "trust" in data else ())
            ),
            default_beside=records.later(records.bundle_id, data, "default_beside"),
        )


def bundles_served(served: Served) -> frozenset[str]:
    """Give the ids of all bundles in it."""
    ids = {row.bundle for row in served.rows} | {row.beside for row in served.rows}
    return frozenset(id_ for id_ in ids | {served.default, served.beside} if id_ is not None)


@dataclass(frozen=True, slots=True)
class _Contender:
    """A slot with the bundle, or the pair, that really stands for it; `facts`: the bundle's."""

    slot: Slot
    bundle: str
    facts: BundleFacts
    beside: str | None = None

    def is_rescuer(self, now: datetime | None) -> bool:
        """Whether this may take the row of one that is over: valid, of a real source, not self-signed.

        Without a clock that can be right, dates don't count.
        """
        return self.slot.source is not Source.GENERATED and self.facts.may_rescue(now)


def compute(
    slots: Iterable[Slot],
    facts: Mapping[str, BundleFacts],
    now: datetime,
    clock_plausible: bool,  # noqa: FBT001  the interface's shape; callers name it
) -> Served:
    """Decide which bundle is served for each known name, and which for everybody else.

    `facts` holds every bundle that could be loaded; one that isn't there can't be served. The rows are sorted
    by pattern; the default is None only when no slot has a loadable bundle.
    """
    judge_at = now if clock_plausible else None
    # best first: the highest source, then the newest; the id makes the order total, so equal input gives
    # equal output whatever order the slots come in
    contenders = sorted(
        (c for slot in slots if (c := _contender(slot, facts, judge_at)) is not None),
        key=lambda c: (*c.slot.newness, c.slot.id),
        reverse=True,
    )
    contenders.sort(key=lambda c: c.slot.source.rank)  # stable
    holders: dict[str, list[_Contender]] = {}
    for contender in contenders:
        for name in dict.fromkeys(contender.facts.names):
            holders.setdefault(name, []).append(contender)
    rows = []
    for pattern in sorted(holders):
        chosen = _choose(_covering(pattern, holders), judge_at)
        rows.append(Row(pattern, chosen.bundle, chosen.slot.source, chosen.beside))
    if not contenders:
        return Served(tuple(rows), None, None)
    default = _choose(contenders, judge_at)
    return Served(tuple(rows), default.bundle, default.beside)


def _contender(slot: Slot, facts: Mapping[str, BundleFacts], now: datetime | None) -> _Contender | None:
    """Give what stands for a slot: what it wants, else what was confirmed last; a half alone, too."""
    for pair in ((slot.bundle, slot.beside), (slot.last_confirmed, slot.confirmed_beside)):
        here = [id_ for id_ in pair if id_ is not None and id_ in facts]
        if len(here) > 1:
            here = _fit_to_serve(here, facts[here[0]], facts[here[1]], now)
        if here:
            return _Contender(slot, here[0], facts[here[0]], here[1] if len(here) > 1 else None)
    return None


def _fit_to_serve(
    pair: list[str], first: BundleFacts, second: BundleFacts, now: datetime | None
) -> list[str]:
    """Leave out the half of a pair that must not be served while the other one is good."""
    if first.is_over(now):
        return pair[1:] if second.may_rescue(now) else pair
    return pair[:1] if second.revoked and (now is None or first.is_valid(now)) else pair


def _covering(pattern: str, holders: Mapping[str, Sequence[_Contender]]) -> Iterable[_Contender]:
    """Give who covers `pattern`, the best first; who does so by two of its names may come twice."""
    wildcard = "*." + pattern.partition(".")[2]
    if wildcard == pattern or wildcard not in holders or not covers(wildcard, pattern):
        return holders[pattern]
    # stable: within a source the exact name before the wildcard, then the newest
    return merge(holders[pattern], holders[wildcard], key=lambda c: c.slot.source.rank)


def _choose(ranked: Iterable[_Contender], now: datetime | None) -> _Contender:
    """Take the first, or where that is over the first that may rescue its row; `now` None: no expiry."""
    others = iter(ranked)
    best = next(others)
    if not best.facts.is_over(now):
        return best
    return next((c for c in others if c.is_rescuer(now)), best)
