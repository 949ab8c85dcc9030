"""Circumstances: what a certificate is judged by besides itself, as one value.

Pure. Whoever asks for a judgement fills in what he knows: the store the time and its own keys, the examiner
the names that clients use and what the lists on this machine say (reference.py). What nobody filled in stands
for "nobody knows", and nothing is found by it. Refuses to know what follows from it (checks.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certstore.bundle import Bundle
from certstore.meta import Meta
from certstore.names import covers

__all__ = ["Anchor", "Circumstances", "names_of_the_same_key"]


class Anchor(StrEnum):
    """Whether a chain ends at an authority that stands on a list of those that clients know."""

    UNASKED = "unasked"  # there is no list
    KNOWN = "known"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What surrounds a judgement; `now` is aware.

    reached_by: names and addresses that clients use by configuration, normalised. known_as: names of
    certificates for something else that are here with the same key. key_listed, certificate_listed: which
    list says that strangers have the key, or that many devices share the certificate; "" for none. unread:
    why a list that was asked for can't be read.
    """

    now: datetime
    clock_plausible: bool
    reached_by: tuple[str, ...] = ()
    known_as: tuple[str, ...] = ()
    anchor: Anchor = Anchor.UNASKED
    key_listed: str = ""
    certificate_listed: str = ""
    unread: tuple[str, ...] = ()


def names_of_the_same_key(bundle: Bundle, others: Iterable[Meta]) -> tuple[str, ...]:
    """Give the names of those of the others that have this bundle's key and none of its names.

    A renewal that keeps its key, or is issued for one name more, is no news; a key that serves two different
    things is.
    """
    strangers: set[str] = set()
    for other in others:
        names = other.facts.names
        if other.spki == bundle.spki and not _have_to_do(bundle.names, names):
            strangers.update(names)
    return tuple(sorted(strangers))


def _have_to_do(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    return ours == theirs or any(covers(a, b) or covers(b, a) for a in ours for b in theirs)
