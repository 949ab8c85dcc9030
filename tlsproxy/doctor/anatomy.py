"""Anatomy: what a certificate and the chain above it are, in words and as a tree.

Pure. Takes certificates that have been read once; text in them is a stranger's, and is made printable before
it is shown. Refuses to know whether any of it is good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import alternative_names, is_issued_by, key_words, name_words, spki_of, subject_words
from certstore.fingerprints import grouped

__all__ = ["Anatomy", "Link", "anatomy_of"]

_NAMES_SHOWN = 20
_WIDEST = 200


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate of a chain. Hashes in lower-case hex, `spki` "" for a kind of key that is unknown."""

    title: str
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    key: str
    sha256: str
    spki: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A leaf with its names, and the links of its chain: the leaf first, its issuer next.

    above: who issued the last link, "" where that was itself.
    """

    names: tuple[str, ...]
    links: tuple[Link, ...]
    above: str

    def to_json(self) -> dict[str, object]:
        """Give what programs are shown; times as text."""
        links = [
            {**asdict(one), "not_before": one.not_before.isoformat(), "not_after": one.not_after.isoformat()}
            for one in self.links
        ]
        return {"names": list(self.names), "chain": links, "issued_above_by": self.above or None}

    def lines(self) -> Iterator[str]:
        """Say it to people; the chain is drawn as it is trusted, from the top."""
        leaf = self.links[0]
        names = ", ".join(self.names[:_NAMES_SHOWN]) or "none"
        more = len(self.names) - _NAMES_SHOWN
        yield f"certificate  {leaf.title}"
        yield f"  names      {names}{f' and {more} more' if more > 0 else ''}"
        yield f"  issuer     {leaf.issuer}"
        days = (leaf.not_after - leaf.not_before).days
        yield f"  valid      {_day(leaf.not_before)} to {_day(leaf.not_after)} UTC, {days} days"
        yield f"  key        {leaf.key}"
        yield f"  SHA-256    {grouped(leaf.sha256)}"
        if leaf.spki:
            yield f"  SPKI       {grouped(leaf.spki)}"
        yield from self._tree()

    def _tree(self) -> Iterator[str]:
        top = [f"{self.above}  (not among these: clients have it, or don't)"] if self.above else []
        below = [f"{link.title}  until {_day(link.not_after)}, {link.key}" for link in reversed(self.links)]
        for depth, words in enumerate((*top, *below)):
            branch = f"{'   ' * (depth - 1)}└─ " if depth else ""
            yield f"  {'' if depth else 'chain':10} {branch}{words}"


def anatomy_of(leaf: x509.Certificate, chain: Sequence[x509.Certificate]) -> Anatomy:
    """Describe a leaf and its chain, the leaf's issuer first."""
    last = chain[-1] if chain else leaf
    above = "" if is_issued_by(last, last) else _plain(name_words(last.issuer))
    return Anatomy(alternative_names(leaf)[0], tuple(_link(one) for one in (leaf, *chain)), above)


def _link(certificate: x509.Certificate) -> Link:
    try:
        public = certificate.public_key()
        key, spki = key_words(public), spki_of(public)
    except (UnsupportedAlgorithm, ValueError):
        key, spki = "of an unknown kind", ""
    return Link(
        title=_plain(subject_words(certificate)),
        subject=_plain(certificate.subject.rfc4514_string()),
        issuer=_plain(certificate.issuer.rfc4514_string()),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key=key,
        sha256=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        spki=spki,
    )


def _plain(text: str) -> str:
    cut = text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"
