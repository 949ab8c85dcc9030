"""The expiry ladder of one store: finds what is to be told of its certificates, and remembers what was.

Promises: each certificate that is served, and each that would be served next (the newest that a slot has and
that can be read), is told of once on each step of observe/expiry.py and then in its rhythm, over restarts and
reloads, too; nothing is told or forgotten while the clock can't be right. What is renewed, replaced or
removed is forgotten. Refuses to know who is told.

Theory. What was told is remembered in `expiry.json` in the store, written only when something was told, or
forgotten: a dozen writes in the life of a certificate, none on any other day (flash wears). It is written
*before* anything is told: a power cut in between costs one telling, and the rhythm brings the next; the other
way round, a device that is reset each minute would tell of it each minute. Where the disk takes no write the
memory of this process has to do, and a reload tells once more; so it is with a store of a newer version,
whose file may mean something else. The file is the proxy's own and no part of the store's format; one that
can't be read is as if nothing had been told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest
from pathlib import Path
from typing import Final, Protocol

import msgspec

from certstore import Finding, Generation, Meta, Slot, Source, StoreError, found
from certstore.atomic import Disk
from tlsproxy import policy_notices as policy
from tlsproxy.observe.expiry import Role, Step, Told, is_due, rhythm, step_of

__all__ = ["Ladder", "Telling"]

NAME: Final = "expiry.json"
_VERSION: Final = 1
# A hundred bytes for each that is remembered, twice over.
_MOST_BYTES: Final = policy.REMEMBERED * 200

_OF_SERVED: Final = {
    Step.NOTICE: "expiry_notice",
    Step.WARNING: "expiry_warning",
    Step.URGENT: "expiry_urgent",
    Step.EXPIRED: "expiry_passed",
}


class _Holdings(Protocol):
    """What must be known of a store."""

    @property
    def path(self) -> Path:
        """Its folder."""
        ...

    @property
    def active(self) -> Generation | None:
        """What is served."""
        ...

    def slots(self) -> tuple[Slot, ...]:
        """Give all slots, the highest source first."""
        ...

    def meta(self, id: str) -> Meta:  # noqa: A002  it is the bundle's id
        """Tell of a bundle. Raises StoreError."""
        ...

    def clock_plausible(self) -> bool:
        """Say whether the clock can be right."""
        ...

    @property
    def is_read_only(self) -> bool:
        """Whether nothing may be written there: a newer version's, or damaged."""
        ...


class _Kept(msgspec.Struct, frozen=True):
    """The file: what was told last of each bundle, by its id."""

    version: int
    told: dict[str, Told]


@dataclass(frozen=True, slots=True)
class Telling:
    """One certificate on one step of the ladder; `left_s` is negative after its end."""

    meta: Meta
    source: Source
    names: tuple[str, ...]
    role: Role
    step: Step
    left_s: float

    @property
    def finding(self) -> Finding:
        """Say it to a person."""
        if self.role is Role.SERVED:
            code = _OF_SERVED[self.step]
        else:
            code = "fallback_expired" if self.step is Step.EXPIRED else "fallback_ends"
        names = ", ".join(self.names) or "no names"
        until = f"{self.meta.facts.not_after:%Y-%m-%d %H:%M} UTC"
        return found(code, names=names, source=self.source, not_after=until)

    def facts(self) -> dict[str, object]:
        """Give what programs are told; nothing secret."""
        finding = self.finding
        return {
            "step": str(self.step),
            "role": str(self.role),
            "names": list(self.names[: policy.NAMES_TOLD]),
            "source": str(self.source),
            "bundle": self.meta.id,
            "fingerprint": self.meta.fingerprint,
            "not_after": self.meta.facts.not_after.isoformat(),
            "left_s": int(self.left_s),
            "code": finding.code,
            "severity": str(finding.severity),
            "words": finding.words,
            "hint": finding.hint,
        }


class Ladder:
    """Looks at one store, a turn at a time; in one thread at once. `standing` may be read by any thread."""

    def __init__(
        self,
        store: _Holdings,
        clock: Callable[[], datetime],
        on_step: Callable[[Telling], None],
        disk: Disk | None = None,
    ) -> None:
        """Take a store, the time, who hears of steps, and the disk."""
        self._store, self._clock, self._on_step = store, clock, on_step
        self._disk = disk or Disk()
        self._told: dict[str, Told] | None = None
        self.standing: tuple[Finding, ...] = ()
        """Where served certificates stand that are on any step, the nearest to their end first; bounded."""

    def turn(self) -> None:
        """Look, remember and tell. Raises StoreNotWritable, at last, where what was told can't be written."""
        if not self._store.clock_plausible():
            self.standing = ()
            return
        now = self._clock()
        on_steps = [one for one in self._all(now) if one.step is not Step.FINE]
        nearest = nsmallest(policy.REMEMBERED, on_steps, key=lambda one: (one.left_s, one.meta.id))
        served = (one for one in nearest if one.role is Role.SERVED)
        self.standing = tuple(one.finding for one, _ in zip(served, range(policy.SHOWN), strict=False))
        before = self._told if self._told is not None else self._read()
        due = [one for one in nearest if _is_due(one, before, now)][: policy.TOLD_AT_ONCE]
        known = {one.meta.id for one in nearest}
        told = {id_: one for id_, one in before.items() if id_ in known}
        told |= {one.meta.id: Told(one.step, one.role, now) for one in due}
        try:
            if told != before and not self._store.is_read_only:
                self._write(told)
        finally:
            self._told = told
            for one in due:
                self._on_step(one)

    def _all(self, now: datetime) -> Iterator[Telling]:
        """Give each certificate that is served, or that a slot would serve next, once."""
        active = self._store.active
        served = active.bundles() if active is not None else frozenset()
        seen: set[str] = set()
        for slot in self._store.slots():
            for meta in self._standing_for(slot, served):
                if meta.id in seen:
                    continue
                seen.add(meta.id)
                facts = meta.facts
                yield Telling(
                    meta,
                    slot.source,
                    slot.names,
                    Role.SERVED if meta.id in served else Role.FALLBACK,
                    step_of(facts.not_before, facts.not_after, now),
                    (facts.not_after - now).total_seconds(),
                )

    def _standing_for(self, slot: Slot, served: Collection[str]) -> Iterator[Meta]:
        """Give what a slot serves, both of a pair; else the first of its bundles that can be read."""
        own = sorted(slot.ways, key=lambda id_: id_ not in served)  # stable: its newest before its way back
        known = [meta for id_ in own if (meta := self._meta(id_)) is not None]
        pair = [meta for meta in known if meta.id in served or meta.id in slot.bundles]
        yield from pair if slot.beside is not None else known[:1]

    def _meta(self, id_: str) -> Meta | None:
        try:
            return self._store.meta(id_)
        except StoreError:  # the caretaker tells of it
            return None

    def _read(self) -> Mapping[str, Told]:
        try:
            with (self._store.path / NAME).open("rb") as file:
                kept = msgspec.json.decode(file.read(_MOST_BYTES), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return {}
        sound = kept.version == _VERSION and all(one.at.tzinfo is not None for one in kept.told.values())
        return kept.told if sound else {}

    def _write(self, told: dict[str, Told]) -> None:
        self._disk.write(self._store.path / NAME, msgspec.json.encode(_Kept(_VERSION, told)))


def _is_due(one: Telling, told: Mapping[str, Told], now: datetime) -> bool:
    facts = one.meta.facts
    again = rhythm(facts.not_before, facts.not_after, now)
    return is_due(told.get(one.meta.id), one.step, one.role, now, again)
