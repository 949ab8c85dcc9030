"""Companions: an EC and an RSA bundle for the same names, of which each client is served the one it can use.

Promises: two stand beside each other only where somebody said so, by bringing both at once (`halves`) or by
asking for it (`beside`); one is EC and the other RSA, and their names are the same. Pure. Refuses to know how
a client is judged, and what a slot is.

Theory. A certificate that comes alone takes the place of whatever its source has for these names, the other
kind included: else clients that prefer the other kind would go on being served what was there before, for
years perhaps, while the one who imported sees "live". That is told (`beside_gone`), and a step back brings
both again. One that is half of what is there already brings nothing new, so that nothing changes, and whoever
imports the same files every night doesn't part the pair each time; that the other stays is told
(`beside_stays`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from certstore.bundle import Bundle
from certstore.contents import Content
from certstore.decode import Candidate
from certstore.errors import Refusal
from certstore.findings import Finding, found
from certstore.pairing import Part, pair_up
from certstore.snapshot import Entry

__all__ = ["Couple", "beside", "couple", "halves", "left_out", "of_a_pair", "staying"]

_KINDS: Final = ("EC", "RSA")  # the first is served to whoever can use it


class Couple(NamedTuple):
    """The ids of what is to be served: `bundle`, and the RSA one beside it where that is the EC one."""

    bundle: str
    beside: str | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """All that there are."""
        return (self.bundle,) if self.beside is None else (self.bundle, self.beside)


def couple(bundles: Sequence[Bundle]) -> Couple:
    """Put one bundle, or an EC and an RSA one that came together, in their order.

    Raises Refusal where their names differ.
    """
    if len(bundles) == 1:
        return Couple(bundles[0].id)
    one, other = bundles
    if one.names != other.names:
        names = (", ".join(each.names) for each in bundles)
        raise Refusal(found("beside_names_differ", **dict(zip(("these", "those"), names, strict=True))))
    first, second = (one, other) if one.key_type == _KINDS[0] else (other, one)
    return Couple(first.id, second.id)


def beside(comes: Bundle, here: Sequence[tuple[str, str]]) -> Couple:
    """Put a bundle beside what its slot has: (id, kind of key) each. Raises Refusal.

    Of its own kind it takes the place.
    """
    if comes.key_type not in _KINDS:
        raise Refusal(found("beside_kind", key=comes.key_type))
    others = [id_ for id_, kind in here if kind in _KINDS and kind != comes.key_type]
    if not others:
        other = next(kind for kind in _KINDS if kind != comes.key_type)
        raise Refusal(found("nothing_beside", kind=other, names=", ".join(comes.names)))
    return Couple(comes.id, others[0]) if comes.key_type == _KINDS[0] else Couple(others[0], comes.id)


def left_out(before: Sequence[tuple[str, str]], comes: Sequence[str], kinds: Sequence[str]) -> list[Finding]:
    """Tell what stood in a pair and goes, with nothing of its kind in its place."""
    if len(before) < len(_KINDS):
        return []
    return [found("beside_gone", kind=kind) for id_, kind in before if id_ not in comes and kind not in kinds]


def staying(here: Sequence[tuple[str, str]], comes: Sequence[str]) -> list[Finding]:
    """Tell what stays beside one that came by itself, and is here already."""
    return [found("beside_stays", kind=kind) for id_, kind in here if id_ not in comes]


def of_a_pair(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Leave out what is only true of a bundle that stands alone: whom the kind of its key would keep out."""
    return (finding for finding in findings if finding.code != "clients_without_key")


def halves(
    candidate: Candidate, read: Callable[[str, bytes], Content], is_known: Callable[[str], bool]
) -> tuple[Candidate, ...]:
    """Part a candidate with two certificates and their keys into two; () where it isn't that.

    `read` says what one file holds, `is_known` whether the key with an SPKI hash is here. Files that a
    passphrase protects can't be parted.
    """
    parts = []
    for name, content in candidate.files:
        entry = Entry(name, None, content, None, 0.0, 0.0)
        parts.append(Part(entry, read(name, content)))
    if any(part.content.errors for part in parts):
        return ()
    pairs = pair_up(parts, is_known).pairs
    kinds = sorted(pair.leaf.key_title.partition(" ")[0] for pair in pairs)
    return tuple(pair.candidate() for pair in pairs) if kinds == sorted(_KINDS) else ()
