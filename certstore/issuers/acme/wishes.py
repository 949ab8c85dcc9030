"""What is asked of an ACME authority, by whom, and what comes of it: the values that callers hold.

Pure. Promises: no key and no MAC key stands in a repr. Refuses to know how it is done (issuing.py).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from cryptography import x509

from certstore.bundle import PrivateKey, key_to_pem
from certstore.decode import Candidate
from certstore.extensions import alternative_names
from certstore.issuers.acme.challenges import Answering, Challenge
from certstore.issuers.csr import KeyType

__all__ = [
    "Answerers",
    "Binding",
    "Issued",
    "Progress",
    "Server",
    "Step",
    "Tell",
    "Wish",
    "candidate",
    "http_proxy",
    "mac_key",
]

_LONGEST_PROXY: Final = 1_000

Answerers: TypeAlias = Mapping[Challenge, Answering]
"""Who answers which kind; the order of this mapping is the order in which the kinds are preferred."""


@dataclass(frozen=True, slots=True)
class Server:
    """An ACME authority and the way to it.

    directory: its URL (https). ca_pem: roots to trust for its own TLS, beside the system's, or with
    `system_roots` off instead of them. proxy: an HTTP proxy's URL; nothing is taken from the environment.
    """

    directory: str
    ca_pem: bytes = field(default=b"", repr=False)
    system_roots: bool = True
    proxy: str | None = field(default=None, repr=False)  # may hold a password


@dataclass(frozen=True, slots=True)
class Binding:
    """What an authority gave to bind a new account to its customer (RFC 8555 section 7.3.4)."""

    kid: str
    mac_key: bytes = field(repr=False)


def http_proxy(url: str) -> str:
    """Check the URL of a site's HTTP proxy: http or https, a host, a port where it isn't the usual one.

    It may hold a name and a password, as in http://name:password@proxy.example:3128. ValueError, without it.
    """
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    except ValueError:
        is_one = is_bare = False
    if not (is_one and is_bare and len(url) <= _LONGEST_PROXY and url.isascii() and url.isprintable()):
        raise ValueError("a proxy is http://HOST:PORT")
    return url


def mac_key(text: str) -> bytes:
    """Read a MAC key as authorities give it: base64url, padded or not. ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the MAC key is no base64url") from None


@dataclass(frozen=True, slots=True)
class Wish:
    """The certificate that is wanted. Names as anybody writes them: wildcards and addresses as well.

    replaces: the ARI id (`renewalinfo.certificate_id`) of the one that it follows (RFC 9773 section 5).
    preferred_chain: the common name of the root that a chain should lead to; else the authority's default.
    same_key: sign with this key; else a new one of `key_type` is made.
    """

    names: tuple[str, ...]
    key_type: KeyType = KeyType.EC
    profile: str | None = None
    replaces: str | None = None
    preferred_chain: str | None = None
    same_key: PrivateKey | None = field(default=None, repr=False)


class Step(StrEnum):
    """What an order waits for."""

    ACCOUNT = "account"
    ORDER = "order"
    ANSWERING = "answering"  # until everybody who may be asked gives the answers
    VALIDATION = "validation"  # until the authority has looked
    ISSUANCE = "issuance"
    DOWNLOAD = "download"
    TAKING = "taking"  # until what came is examined and served: whoever holds the store tells this


@dataclass(frozen=True, slots=True)
class Progress:
    """What is waited for now, and until when at the longest, where that is known (aware).

    names: those that it is about: while proofs are waited for, those that aren't proved yet.
    """

    step: Step
    names: tuple[str, ...]
    until: datetime | None = None


Tell: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate as the authority gave it, proved to be for our key and names.

    It stays on the disk, as `order`, until `Issuer.taken` is told: whoever proposes it may be killed before.
    """

    order: str
    account: str
    names: tuple[str, ...]
    leaf: x509.Certificate
    chain_pem: bytes
    key: PrivateKey = field(repr=False)
    replaced: bool = False
    """Whether the authority took `replaces`."""

    @property
    def key_type(self) -> KeyType:
        """The kind of its key."""
        return KeyType.of(self.leaf.public_key())

    @property
    def leaf_names(self) -> frozenset[str]:
        """All names that stand in it: perhaps more than were asked for."""
        return frozenset(alternative_names(self.leaf)[0])

    def candidate(self) -> Candidate:
        """Give what the store takes as any other candidate (source acme)."""
        return Candidate((("acme-chain.pem", self.chain_pem), ("acme-key.pem", key_to_pem(self.key))))


def candidate(issued: Sequence[Issued]) -> Candidate:
    """Give one, or an EC and an RSA one for the same names, which the store then serves both, or neither."""
    if len(issued) == 1:
        return issued[0].candidate()
    files = list[tuple[str, bytes]]()
    for one in issued:
        kind, key = one.key_type, key_to_pem(one.key)
        files += [(f"acme-{kind}-chain.pem", one.chain_pem), (f"acme-{kind}-key.pem", key)]
    return Candidate(tuple(files))
