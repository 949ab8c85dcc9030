"""Waiting requests: keys that were made here, and what an authority is asked to issue for them.

    authority/csr/<id>/{key.pem,request.json}     one that waits for its certificate
    authority/answered/<bundle id>.json           what was asked for, once its certificate is in use

`Request` is one of them, `Requests` the folder; `read_requests` reads it without holding the store. Promises:
a key lies only in its folder, for the supervisor alone (no worker may read `authority/`), is proved to be its
request's when it is read, and stands in no repr. `table` is swapped whole, and read from any thread;
everything else wants the store's lock. Refuses to know when a request is answered (requesting.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm

from certstore import layout, records
from certstore.atomic import Disk
from certstore.bundle import PrivateKey, key_from_pem, key_to_pem, spki_of
from certstore.errors import NotFound, StoreCorrupt
from certstore.issuers.csr import Wanted
from certstore.reading import read_file

__all__ = ["REQUEST_ID", "Answered", "Request", "Requests", "read_key", "read_requests"]

REQUEST_ID: Final = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that waits; `pem` is what is handed to an authority, and holds nothing secret.

    `since` is the number of the next generation when it was made: what answers it comes later. `renews` is
    the bundle whose successor it asks for. `brought_by` is the receipt of the change that it came with from a
    backup: it waits only if that change was not refused.
    """

    id: str
    wanted: Wanted
    spki: str
    made_at: datetime
    expires_at: datetime
    via: str
    since: int
    renews: str | None
    pem: str
    brought_by: str | None = None

    def __post_init__(self) -> None:
        if not REQUEST_ID.fullmatch(self.id):
            raise ValueError("no request id")

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads; but how it came here concerns nobody else."""
        return {
            "id": self.id,
            **self.wanted.to_json(),
            "spki": self.spki,
            "made_at": records.moment_text(self.made_at),
            "expires_at": records.moment_text(self.expires_at),
            "via": self.via,
            "since": self.since,
            "renews": self.renews,
            "pem": self.pem,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Request:
        """Read what `to_json` made; ValueError for anything else."""
        return cls(
            id=records.text(data, "id"),
            wanted=Wanted.from_json(data),
            spki=records.text(data, "spki"),
            made_at=records.moment(data, "made_at"),
            expires_at=records.moment(data, "expires_at"),
            via=records.text(data, "via"),
            since=records.number(data, "since"),
            renews=records.optional(records.bundle_id, data, "renews"),
            pem=records.text(data, "pem"),
            brought_by=records.text(data, "brought_by") if "brought_by" in data else None,
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked for the certificate of a bundle, and whether its successor was asked for already."""

    wanted: Wanted
    prepared: bool = False

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        return {**self.wanted.to_json(), "prepared": self.prepared}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Answered:
        """Read what `to_json` made; ValueError for anything else."""
        return cls(Wanted.from_json(data), records.flag(data, "prepared"))


class Requests:
    """The folders `authority/csr/` and `authority/answered/`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._root, self._disk = root, disk
        self.table: Mapping[str, Request] = MappingProxyType({})
        """By id, the oldest first."""
        self.answered: Mapping[str, Answered] = MappingProxyType({})
        """By the bundle's id."""

    def load(self) -> tuple[StoreCorrupt, ...]:
        """Read both; gives what was wrong with files that can't be read, which are left as they are."""
        found, damaged = read_requests(self._root)
        self.table = _table({one.id: one for one in found})
        answered, more = _read_answered(self._root)
        self.answered = MappingProxyType(answered)
        return (*damaged, *more)

    def request(self, id: str) -> Request:  # noqa: A002  it is the request's id
        """Give a request. Raises NotFound."""
        found = self.table.get(id)
        if found is None:
            raise NotFound("request", id)
        return found

    def of(self, spki: str) -> Request | None:
        """Give the newest request for the key with this SPKI hash."""
        return next((one for one in reversed(tuple(self.table.values())) if one.spki == spki), None)

    def key(self, spki: str) -> PrivateKey | None:
        """Give the private key with this SPKI hash, if a request here waits with it."""
        for one in self.table.values():
            if one.spki == spki:
                try:
                    return read_key(self._root, one)
                except StoreCorrupt:
                    continue
        return None

    def put(self, request: Request, key: PrivateKey) -> None:
        """Write a new request with its key, whole or not at all."""
        assert spki_of(key.public_key()) == request.spki, "another request's key"
        came = {"brought_by": request.brought_by} if request.brought_by is not None else {}
        asked = records.dump({**request.to_json(), **came})
        content = {layout.KEY: key_to_pem(key), layout.REQUEST: asked}
        self._disk.place_folder(self._root / layout.request_folder(request.id), content)
        self.table = _table({**self.table, request.id: request})

    def remove(self, id: str) -> None:  # noqa: A002  it is the request's id
        """Remove a request, key and all."""
        self._disk.remove_folder(self._root / layout.request_folder(id))
        self._forget(id)

    def drop(self, id: str) -> None:  # noqa: A002  it is the request's id
        """Remove a request that never came: in memory also where the disk fails."""
        self._forget(id)
        self._disk.remove_folder(self._root / layout.request_folder(id))

    def note_answered(self, bundle: str, wanted: Wanted) -> None:
        """Remember what a bundle's certificate was asked for with, for its successor."""
        self._note(bundle, Answered(wanted))

    def note_prepared(self, bundle: str) -> None:
        """Remember that a bundle's successor was asked for."""
        self._note(bundle, replace(self.answered[bundle], prepared=True))

    def forget_answered(self, is_gone: Callable[[str], bool]) -> None:
        """Forget what is remembered of bundles that are gone."""
        gone = [bundle for bundle in self.answered if is_gone(bundle)]
        if gone:
            self._disk.remove(self._root / layout.answered_file(bundle) for bundle in gone)
            self.answered = MappingProxyType({b: a for b, a in self.answered.items() if b not in gone})

    def _forget(self, id: str) -> None:  # noqa: A002  it is the request's id
        self.table = _table({known: one for known, one in self.table.items() if known != id})

    def _note(self, bundle: str, answered: Answered) -> None:
        if self.answered.get(bundle) != answered:
            path = self._root / layout.answered_file(bundle)
            self._disk.write(path, records.dump(answered.to_json()))
            self.answered = MappingProxyType({**self.answered, bundle: answered})


def read_requests(root: Path) -> tuple[tuple[Request, ...], tuple[StoreCorrupt, ...]]:
    """Read all requests, the oldest first, and what was wrong with those that can't be read; no keys."""
    requests: list[Request] = []
    damaged: list[StoreCorrupt] = []
    for name in _names(root / layout.REQUESTS):
        path = root / layout.REQUESTS / name / layout.REQUEST
        try:
            request = Request.from_json(records.load(read_file(path)))
            if request.id != name:
                raise ValueError("it lies in another request's place")  # noqa: TRY301  one way to tell damage
        except FileNotFoundError:
            continue  # removed since
        except (OSError, ValueError) as error:
            damaged.append(StoreCorrupt(path, str(error)))
        else:
            requests.append(request)
    return tuple(sorted(requests, key=_age)), tuple(damaged)


def read_key(root: Path, request: Request) -> PrivateKey:
    """Read the key of a request, and prove that it is. Raises StoreCorrupt."""
    path = root / layout.request_folder(request.id) / layout.KEY
    try:
        key = key_from_pem(read_file(path))
        if spki_of(key.public_key()) != request.spki:
            raise ValueError("it holds another key")  # noqa: TRY301  one way to tell damage
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StoreCorrupt(path, why) from error
    return key


def _read_answered(root: Path) -> tuple[dict[str, Answered], list[StoreCorrupt]]:
    found: dict[str, Answered] = {}
    damaged: list[StoreCorrupt] = []
    for name in _names(root / layout.ANSWERED):
        path, bundle = root / layout.ANSWERED / name, name.removesuffix(".json")
        if records.is_bundle_id(bundle):
            try:
                found[bundle] = Answered.from_json(records.load(read_file(path)))
            except (OSError, ValueError) as error:
                damaged.append(StoreCorrupt(path, str(error)))
    return found, damaged


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208  as text
    except OSError:
        return []


def _table(requests: Mapping[str, Request]) -> Mapping[str, Request]:
    return MappingProxyType({one.id: one for one in sorted(requests.values(), key=_age)})


def _age(request: Request) -> tuple[int, datetime, str]:
    return request.since, request.made_at, request.id
