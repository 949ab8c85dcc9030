"""What an authority says: directory, account, order, authorization, challenge (RFC 8555 section 7.1).

Pure: bytes to values. Promises: whatever the bytes are, a value or a ValueError comes out; what we rely on is
read strictly, what we don't know is passed over (section 7.1: more fields may come). Every address is https:
private authorities have TLS as well, with roots of their own. Refuses to know what becomes of it (order.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar
from urllib.parse import urlsplit

from certstore import records
from certstore.issuers.acme.problems import Problem
from certstore.names import is_address, normalise

__all__ = [
    "LARGEST",
    "Authorization",
    "Directory",
    "Identifier",
    "Offer",
    "Order",
    "OrderStatus",
    "ProofStatus",
    "account_status",
    "https",
]

LARGEST: Final = 1 << 18  # bytes of any answer; a chain of four RSA-4096 certificates has 8 KiB
_MOST: Final = 200  # identifiers, authorizations, challenges, profiles: what we ask has 100 at most
_LONGEST_URL: Final = 2048
_LONGEST_TOKEN: Final = 512
_TOKEN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

T = TypeVar("T")


class OrderStatus(StrEnum):
    """Where an order stands (section 7.1.6)."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class ProofStatus(StrEnum):
    """Where an authorization or a challenge stands (section 7.1.6)."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


def https(url: str) -> str:
    """Check an address that an authority gave, or a person. ValueError unless it is https with a host."""
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("not a URL")
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ValueError("an address begins with https:// and a host")
    _ = parts.port  # raises ValueError for a bad one
    return url


@dataclass(frozen=True, slots=True)
class Directory:
    """What an authority offers, and where (section 7.1.1); `profiles` by name, with their words."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke: str | None = None
    key_change: str | None = None
    renewal_info: str | None = None
    terms: str | None = None
    website: str | None = None
    caa_identities: tuple[str, ...] = ()
    profiles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    binding_required: bool = False

    @property
    def has_renewal_info(self) -> bool:
        """Whether it says when to renew (RFC 9773)."""
        return self.renewal_info is not None

    @classmethod
    def read(cls, content: bytes) -> Directory:
        """Read it. ValueError."""
        data = records.load(content)
        meta = data.get("meta") or {}
        if not isinstance(meta, dict):
            raise ValueError("meta is no object")  # noqa: TRY004  all that is wrong is a ValueError
        return cls(
            new_nonce=_url(data, "newNonce"),
            new_account=_url(data, "newAccount"),
            new_order=_url(data, "newOrder"),
            revoke=_maybe(_url, data, "revokeCert"),
            key_change=_maybe(_url, data, "keyChange"),
            renewal_info=_maybe(_url, data, "renewalInfo"),
            terms=_shown(meta, "termsOfService"),
            website=_shown(meta, "website"),
            caa_identities=_maybe(records.texts, meta, "caaIdentities") or (),
            profiles=_profiles(meta),
            binding_required=_maybe(records.flag, meta, "externalAccountRequired") or False,
        )


def account_status(content: bytes) -> str:
    """Read an account's status: valid, deactivated or revoked (section 7.1.2). ValueError."""
    status = records.text(records.load(content), "status")
    if status not in {"valid", "deactivated", "revoked"}:
        raise ValueError("no account's status")
    return status


@dataclass(frozen=True, slots=True)
class Identifier:
    """A host name or an address that is to be certified; `value` as `normalise` gives it."""

    kind: str
    value: str

    @classmethod
    def of(cls, name: str) -> Identifier:
        """Make one of a normalised name."""
        return cls("ip" if is_address(name) else "dns", name)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Identifier:
        """Read one. ValueError."""
        kind = records.text(data, "type")
        if kind not in {"dns", "ip"}:
            raise ValueError("an identifier of a kind that nobody asked for")
        return cls(kind, normalise(records.text(data, "value")))

    def to_json(self) -> dict[str, str]:
        """Give what an authority reads (section 7.1.3; RFC 8738 section 3)."""
        return {"type": self.kind, "value": self.value}


@dataclass(frozen=True, slots=True)
class Order:
    """An order (section 7.1.3)."""

    status: OrderStatus
    identifiers: frozenset[Identifier]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str | None = None
    error: Problem | None = None

    @classmethod
    def read(cls, content: bytes) -> Order:
        """Read it. ValueError."""
        data = records.load(content)
        links = records.texts(data, "authorizations")
        found = records.items(data, "identifiers")
        if not (1 <= len(links) <= _MOST and 1 <= len(found) <= _MOST):
            raise ValueError("an order without authorizations or identifiers, or with too many")
        return cls(
            status=OrderStatus(records.text(data, "status")),
            identifiers=frozenset(Identifier.from_json(one) for one in found),
            authorizations=tuple(https(one) for one in links),
            finalize=_url(data, "finalize"),
            certificate=_maybe(_url, data, "certificate"),
            error=_maybe(_problem, data, "error"),
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to prove a name (section 7.1.5); `kind` may be one that we can't answer, or don't know."""

    kind: str
    url: str
    status: ProofStatus
    token: str = ""
    issuers: tuple[str, ...] = ()
    error: Problem | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Offer:
        """Read one. ValueError."""
        token = _maybe(records.text, data, "token") or ""
        if len(token) > _LONGEST_TOKEN or not _TOKEN.issuperset(token):
            raise ValueError("a token holds something else than base64url")
        return cls(
            kind=records.text(data, "type"),
            url=_url(data, "url"),
            status=ProofStatus(records.text(data, "status")) if "status" in data else ProofStatus.PENDING,
            token=token,
            issuers=_maybe(records.texts, data, "issuer-domain-names") or (),
            error=_maybe(_problem, data, "error"),
        )


@dataclass(frozen=True, slots=True)
class Authorization:
    """What an order waits for, one for each name (section 7.1.4). `name` is without "*."."""

    url: str
    status: ProofStatus
    identifier: Identifier
    is_wildcard: bool
    offers: tuple[Offer, ...]

    @property
    def name(self) -> str:
        """The host name or address that is to be proved."""
        return self.identifier.value.removeprefix("*.")

    @classmethod
    def read(cls, content: bytes, url: str) -> Authorization:
        """Read the one that lies at `url`. ValueError. What can't be read of one offer spoils no other."""
        data = records.load(content)
        identifier = data.get("identifier")
        if not isinstance(identifier, dict):
            raise ValueError("an authorization without an identifier")  # noqa: TRY004
        offers = list[Offer]()
        for one in records.items(data, "challenges")[:_MOST]:
            try:
                offers.append(Offer.from_json(one))
            except ValueError:
                continue  # a kind with fields of its own: nobody here could answer it
        return cls(
            url=url,
            status=ProofStatus(records.text(data, "status")),
            identifier=Identifier.from_json(identifier),
            is_wildcard=_maybe(records.flag, data, "wildcard") or False,
            offers=tuple(offers),
        )


def _url(data: Mapping[str, object], key: str) -> str:
    return https(records.text(data, key))


def _shown(data: Mapping[str, object], key: str) -> str | None:
    """Read what is only shown to a person: what can't be one is left out."""
    value = data.get(key)
    return value if isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_URL else None


def _profiles(meta: Mapping[str, object]) -> Mapping[str, str]:
    found = meta.get("profiles") or {}
    if not isinstance(found, dict):
        raise ValueError("profiles is no object")  # noqa: TRY004
    texts = {name: words for name, words in found.items() if isinstance(words, str) and name.isprintable()}
    return MappingProxyType(dict(list(texts.items())[:_MOST]))


def _problem(data: Mapping[str, object], key: str) -> Problem:
    found = data[key]
    if not isinstance(found, dict):
        raise ValueError("a problem is no object")  # noqa: TRY004
    return Problem.from_json(found)


def _maybe(read: Callable[[Mapping[str, object], str], T], data: Mapping[str, object], key: str) -> T | None:
    """Read a field that may be absent or null."""
    return None if data.get(key) is None else read(data, key)
