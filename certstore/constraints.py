"""Constraints: what the authorities of a chain may issue, and whether the leaf keeps to it (RFC 5280).

Pure. Name constraints (section 4.2.1.10) for host names, addresses and subjects, path lengths (4.2.1.9), as
clients enforce them. The root's own aren't seen: it isn't in the chain. Refuses to know trust and signatures.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509

from certstore.extensions import read

__all__ = ["TooLong", "below_allowance", "forbidden_names"]

_Kept = Callable[[x509.GeneralName], bool]


@dataclass(frozen=True, slots=True)
class TooLong:
    """An authority that may have `allowed` others below it, and has `count`."""

    authority: x509.Certificate
    allowed: int
    count: int


def below_allowance(chain: Sequence[x509.Certificate]) -> Iterator[TooLong]:
    """Give the authorities of a chain (the leaf's issuer first) that have more below them than they may."""
    count = 0
    for authority in chain:
        constraints = read(authority, x509.BasicConstraints)
        allowed = constraints.path_length if constraints is not None else None
        if allowed is not None and count > allowed:
            yield TooLong(authority, allowed, count)
        count += authority.subject != authority.issuer  # one that signs its own successor doesn't count


def forbidden_names(leaf: x509.Certificate, authority: x509.Certificate) -> tuple[str, ...]:
    """Give what the leaf is named and this authority must not issue for; () where it keeps to all."""
    constraints = read(authority, x509.NameConstraints)
    if constraints is None:
        return ()
    permitted, excluded = constraints.permitted_subtrees or (), constraints.excluded_subtrees or ()
    return tuple(
        words
        for name, words in _names(leaf)
        if not _is_permitted(name, permitted) or any(_is_within(name, subtree) for subtree in excluded)
    )


def _names(leaf: x509.Certificate) -> Iterator[tuple[x509.GeneralName, str]]:
    """Give each name with its words; an empty subject is none."""
    for name in read(leaf, x509.SubjectAlternativeName) or ():
        if isinstance(name, x509.DNSName | x509.IPAddress):
            yield name, str(name.value)
    if leaf.subject.rdns:
        yield x509.DirectoryName(leaf.subject), f"the subject {leaf.subject.rfc4514_string()}"


def _is_permitted(name: x509.GeneralName, subtrees: Iterable[x509.GeneralName]) -> bool:
    """Kinds of names of which no subtree is listed are free."""
    of_its_kind = [subtree for subtree in subtrees if type(subtree) is type(name)]
    return not of_its_kind or any(_is_within(name, subtree) for subtree in of_its_kind)


def _is_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    match name, subtree:
        case x509.DNSName(), x509.DNSName():
            return _is_below(name.value.lower().rstrip("."), subtree.value.lower().rstrip("."))
        case x509.IPAddress(), x509.IPAddress():
            network = subtree.value
            if not isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
                return False
            return name.value in network  # one of the other family isn't
        case x509.DirectoryName(), x509.DirectoryName():
            ours, theirs = _comparable(name.value), _comparable(subtree.value)
            return ours[: len(theirs)] == theirs
    return False


def _is_below(host: str, domain: str) -> bool:
    """A domain stands for itself and all below it; with a leading dot, as some write it, for those below."""
    if domain.startswith("."):
        return host.endswith(domain)
    return not domain or host == domain or host.endswith(f".{domain}")


def _comparable(name: x509.Name) -> list[frozenset[tuple[str, str]]]:
    """Give a name's parts for comparison: case and runs of blanks don't count (RFC 5280 section 7.1)."""
    return [
        frozenset((part.oid.dotted_string, " ".join(str(part.value).casefold().split())) for part in rdn)
        for rdn in name.rdns
    ]
