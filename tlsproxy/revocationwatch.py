"""Which certificates are watched: those that are served, and those that stand ready, whose authority answers.

Promises: a certificate is looked into once, of many only so many at a time; what names nobody who could be
asked is passed by for good; one that is revoked stays watched as long as a slot names it, served or not.
Blocks on the disk. Refuses to know who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from cryptography import x509

from certstore import (
    Bundle,
    Generation,
    Slot,
    Source,
    StoreError,
    Way,
    is_to_be_stapled,
    issuer_among,
    issuer_urls,
    places_to_ask,
)
from tlsproxy import policy_revocation as policy

__all__ = ["Watch", "Watched"]


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A certificate, by its bundle's id, and where to ask about it.

    issuer: None where its certificate isn't here; issuer_at: where it is said to be then. is_promised: it
    demands a staple.
    """

    id: str
    leaf: x509.Certificate
    issuer: x509.Certificate | None
    issuer_at: tuple[str, ...]
    places: tuple[tuple[Way, str], ...]
    names: str
    source: Source
    is_promised: bool


class Watch:
    """Looks through one store; one thread at a time."""

    def __init__(self, load: Callable[[str], Bundle]) -> None:
        """Take what gives a bundle; it may raise StoreError."""
        self._load = load
        self._known: dict[str, Watched | None] = {}
        self.wanted: frozenset[str] = frozenset()
        """All bundles that matter, looked into or not."""

    def look(
        self, active: Generation | None, slots: tuple[Slot, ...], revoked: frozenset[str]
    ) -> dict[str, Watched]:
        """Give what is watched now, by the bundle's id: what is served, or was revoked, first; bounded."""
        served = active.bundles() if active is not None else frozenset()
        wanted = _wanted(served | revoked, slots)
        self.wanted = frozenset(wanted)
        self._known = {id_: one for id_, one in self._known.items() if id_ in wanted}
        for id_ in islice((id_ for id_ in wanted if id_ not in self._known), policy.LOOKED_INTO):
            try:
                self._known[id_] = _looked_into(self._load(id_), wanted[id_])
            except StoreError:
                continue  # the caretaker tells of it
        found = ((id_, one) for id_ in wanted if (one := self._known.get(id_)) is not None)
        return dict(islice(found, policy.WATCHED))


def _wanted(first: frozenset[str], slots: tuple[Slot, ...]) -> dict[str, Slot]:
    """Give the bundles that matter with the slot of each; the device's own have nobody who answers."""
    others = (slot for slot in slots if slot.source is not Source.GENERATED)
    named = [(id_, slot) for slot in others for id_ in _of(slot, first)]
    return dict(sorted(named, key=lambda one: one[0] not in first))  # stable: the highest source first


def _of(slot: Slot, first: frozenset[str]) -> Iterator[str]:
    yield from slot.bundles
    yield from (id_ for id_ in slot.ways if id_ in first and id_ not in slot.bundles)


def _looked_into(bundle: Bundle, slot: Slot) -> Watched | None:
    leaf = bundle.leaf
    places, is_promised = places_to_ask(leaf), is_to_be_stapled(leaf)
    if not places and not is_promised:
        return None
    issuer = issuer_among(leaf, bundle.chain)
    at = issuer_urls(leaf) if issuer is None else ()
    names = ", ".join(bundle.names) or "no names"
    return Watched(bundle.id, leaf, issuer, at, places, names, slot.source, is_promised)
