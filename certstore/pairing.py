"""Pairing: which certificates, keys and chains of one directory belong together. Pure.

Leaf and key belong together when the public key is the same, whatever the files are called and however many
copies there are: certbot keeps the leaf in cert.pem and in fullchain.pem, and both are one pair. The chain
is what leads up from the leaf, name by name; signatures are `decode`'s business. It refuses to know about
time and about what was handled before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from certstore.contents import Certificate, Content, Key
from certstore.decode import Candidate
from certstore.snapshot import Entry

__all__ = ["LoneKey", "LoneLeaf", "Pair", "Pairing", "Part", "pair_up"]


@dataclass(frozen=True, slots=True)
class Part:
    """A file with what it holds."""

    entry: Entry
    content: Content


@dataclass(frozen=True, slots=True)
class Pair:
    """A leaf with its key (None: the store holds it) and the certificates that lead up from it."""

    leaf: Certificate
    key: Key | None
    leaf_in: tuple[Entry, ...]
    key_in: tuple[Entry, ...]
    chain: tuple[tuple[Entry, Certificate], ...]

    @property
    def digest(self) -> str:
        """Name what makes this pair, not how it is written: 64 hex digits.

        The text around a PEM block, the order of blocks and copies of them make no other pair; a chain that
        was mended does. It makes no difference whether the key is in a file or in the store.
        """
        text = "\n".join(["pair", self.leaf.fingerprint, *sorted({c.fingerprint for _, c in self.chain})])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All files that this pair is made of."""
        every = {e.name: e for e in (*self.leaf_in, *self.key_in, *(entry for entry, _ in self.chain))}
        return tuple(every.values())

    def candidate(self) -> Candidate:
        """Make the candidate: exactly these certificates and this key, under the names of their files.

        Written anew, because a file may hold several pairs, and only one of them is meant.
        """
        files = [(self.leaf_in[0].name, self.leaf.pem)]
        if self.key:
            files.append((self.key_in[0].name, self.key.pem))
        files += [(entry.name, certificate.pem) for entry, certificate in self.chain]
        return Candidate(tuple(files))


@dataclass(frozen=True, slots=True)
class LoneLeaf:
    """A certificate whose key is neither here nor in the store."""

    leaf: Certificate
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class LoneKey:
    """A key that no certificate here belongs to, and that the store doesn't hold."""

    key: Key
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Everything that one directory holds, sorted by what it is good for.

    `pairs` are in the order in which they should take effect: the newest certificate last. `authorities`
    are files with nothing in them but certificates of authorities that lead up from no leaf here.
    """

    pairs: tuple[Pair, ...]
    lone_leaves: tuple[LoneLeaf, ...]
    lone_keys: tuple[LoneKey, ...]
    authorities: tuple[Entry, ...]

    def belongs_to_one(self, pair: Pair) -> tuple[Entry, ...]:
        """Give the files of a pair that no other pair needs."""
        shared = {entry.name for other in self.pairs if other is not pair for entry in other.entries}
        return tuple(entry for entry in pair.entries if entry.name not in shared)


def pair_up(parts: Sequence[Part], is_known: Callable[[str], bool]) -> Pairing:
    """Sort the contents of one directory; `is_known`: does the store hold the key with this SPKI hash."""
    certificates: dict[str, Certificate] = {}
    keys: dict[str, Key] = {}
    where: dict[str, list[Entry]] = {}  # fingerprint of a certificate, or SPKI of a key -> files
    for part in parts:
        for certificate in part.content.certificates:
            certificates.setdefault(certificate.fingerprint, certificate)
            _note(where, certificate.fingerprint, part.entry)
        for key in part.content.keys:
            keys.setdefault(key.spki, key)
            _note(where, "key " + key.spki, part.entry)
    every = tuple(certificates.values())
    pairs: list[Pair] = []
    lone: list[LoneLeaf] = []
    for leaf in sorted(_leaves(every, keys), key=lambda c: (c.starts, c.fingerprint)):
        found_in = tuple(where[leaf.fingerprint])
        if leaf.spki in keys or is_known(leaf.spki):
            chain = [(_nearest(where[c.fingerprint], found_in), c) for c in _chain(leaf, every)]
            in_files = tuple(where.get("key " + leaf.spki, ()))
            pairs.append(Pair(leaf, keys.get(leaf.spki), found_in, in_files, tuple(chain)))
        else:
            lone.append(LoneLeaf(leaf, found_in))
    claimed = {certificate.spki for certificate in every}
    lone_keys = [
        LoneKey(key, tuple(where["key " + spki]))
        for spki, key in keys.items()
        if spki not in claimed and not is_known(spki)
    ]
    used = {fingerprint for pair in pairs for fingerprint in _fingerprints(pair)}
    used |= {c.fingerprint for one in lone for c in (one.leaf, *_chain(one.leaf, every))}
    authorities = [part.entry for part in parts if _is_spare(part.content, used)]
    return Pairing(tuple(pairs), tuple(lone), tuple(lone_keys), tuple(authorities))


def _note(where: dict[str, list[Entry]], what: str, entry: Entry) -> None:
    files = where.setdefault(what, [])
    if entry not in files:
        files.append(entry)


def _nearest(files: Sequence[Entry], leaf_in: Sequence[Entry]) -> Entry:
    """Of the files that hold a link of the chain, take one that holds the leaf too: no other pair's."""
    return next((entry for entry in files if entry in leaf_in), files[0])


def _fingerprints(pair: Pair) -> tuple[str, ...]:
    return (pair.leaf.fingerprint, *(certificate.fingerprint for _, certificate in pair.chain))


def _leaves(certificates: Sequence[Certificate], keys: dict[str, Key]) -> list[Certificate]:
    """Tell the leaves from the authorities.

    A certificate of an authority counts as a leaf where its key is here and it issued nothing else here: so
    that who made a self-signed server certificate with CA:TRUE is told what is wrong with it, while the
    directory of a small authority of one's own gives its server's certificate.
    """
    issuers = {c.issuer for c in certificates if c.issuer != c.subject}
    return [
        c
        for c in certificates
        if (c.spki in keys and not (c.is_authority and c.subject in issuers))
        or not (c.is_authority or c.subject in issuers)
    ]


def _chain(leaf: Certificate, certificates: Sequence[Certificate]) -> list[Certificate]:
    """Give all certificates that lead up from the leaf by their names, cross-signed ones included."""
    chain: list[Certificate] = []
    names, waiting = {leaf.subject}, [leaf.issuer]
    while waiting:
        name = waiting.pop(0)
        if name in names:
            continue
        names.add(name)
        above = [c for c in certificates if c.subject == name and c is not leaf]
        chain += above
        waiting += [c.issuer for c in above]
    return chain


def _is_spare(content: Content, used: set[str]) -> bool:
    return bool(content.certificates) and not (
        content.keys or any(c.fingerprint in used for c in content.certificates)
    )
