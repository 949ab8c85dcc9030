"""Parting: which keys are banned with a change, which connections end with it, and what is told of that.

Joins the rule (departure.py) to what the shelf knows of keys. Promises: a change whose reason is a lost key
bans one, or is refused with words. Changes nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from certstore.activation import Move
from certstore.bans import Reason
from certstore.bundle import Bundle
from certstore.departure import Departure, bundles_leaving
from certstore.errors import Refusal
from certstore.findings import Finding, found
from certstore.generation import Generation
from certstore.probation import Probation
from certstore.shelf import Shelf
from certstore.slots import Slot, Source, told_of
from certstore.succession import View

__all__ = ["Parting"]

# So many certificates that a ban takes out of service are told one by one.
_TOLD = 10


@dataclass(frozen=True, slots=True)
class Parting:
    """Decides for one store what leaves with a change."""

    shelf: Shelf

    def departure(
        self, reason: Reason, source: Source, view: View, moves: Iterable[Move], after: Generation
    ) -> Departure:
        """Say what leaves with a change of `source`, before which `view` was, and behind it is `after`.

        Raises Refusal (`no_key_leaves`).
        """
        if not reason.ends or view.active is None:
            return Departure()
        served = (view.active.bundles(), after.bundles())
        bundles = bundles_leaving(source, moves, view.slots.values(), served)
        if not reason.bans:
            return Departure(bundles)
        keys = frozenset(spki for id_ in bundles if (spki := self.shelf.spki(id_)) is not None)
        if not keys:
            raise Refusal(found("no_key_leaves"))
        return self.of_keys(keys)

    def of_keys(self, keys: frozenset[str]) -> Departure:
        """Say what leaves when these keys are banned."""
        return Departure(self.shelf.with_keys(keys), keys)

    def told(
        self,
        keys: frozenset[str],
        moves: Iterable[Move],
        fresh: Iterable[Bundle],
        slots: Iterable[Slot],
        probation: Probation | None,
    ) -> tuple[Finding, ...]:
        """Say what the ban of these keys brings; `slots` are as they will be.

        Raises Refusal (`key_not_replaced`).
        """
        comes = {one.spki for one in fresh}
        now = {id_ for _, slot in moves if slot is not None for id_ in slot.bundles}
        comes |= {spki for id_ in now if (spki := self.shelf.spki(id_)) is not None}
        if comes & keys:
            raise Refusal(*(found("key_not_replaced", key=spki) for spki in sorted(comes & keys)))
        told = [found("now_banned", key=spki) for spki in sorted(keys)]
        hit = [slot for slot in slots if self._names(slot, keys)]
        told += [told_of("out_of_service", slot) for slot in hit[:_TOLD]]
        back = probation.way_back if probation is not None else None
        if back is not None and self._names(back, keys):
            told.append(found("way_back_banned"))
        return tuple(told)

    def _names(self, slot: Slot, keys: frozenset[str]) -> bool:
        """Whether a slot wants one of these keys served."""
        return any(self.shelf.spki(id_) in keys for id_ in slot.bundles)
