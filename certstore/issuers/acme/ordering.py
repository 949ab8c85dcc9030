"""Orders on the disk: `authority/orders/<id>/{key.pem,order.json,chain.pem}`, from wish to certificate.

Promises: the key is on the disk before the authority hears of it, the order's URL as soon as it is known, and
the chain before anybody is handed it; so a process that is killed anywhere goes on with the same order and
key. An order whose URL was never learnt is never finalized: it expires at the authority by itself. Keys lie
only in their folders, are proved to be their records', and stand in no repr. What is next, order.py knows.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm

from certstore import layout, records
from certstore.atomic import Disk
from certstore.bundle import PrivateKey, key_from_pem, key_to_pem, spki_of
from certstore.errors import StoreCorrupt
from certstore.issuers.acme.folders import names_in, why_unreadable
from certstore.issuers.csr import KeyType
from certstore.reading import read_file

__all__ = ["KEPT", "OrderRecord", "Orders"]

# Public authorities let orders live for a week; one of a private authority may wait for somebody's signature.
KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One order, as the disk has it. `names` are normalised and sorted.

    `replaces` is what was wished for; `replaced` whether the authority took it. `has_chain`: it is done.
    """

    id: str
    account: str
    names: tuple[str, ...]
    key_type: KeyType
    profile: str | None
    replaces: str | None
    spki: str
    made_at: datetime
    url: str | None = None
    replaced: bool = False
    has_chain: bool = False

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads; whether there is a chain, its file tells."""
        return {
            "id": self.id,
            "account": self.account,
            "names": list(self.names),
            "key_type": str(self.key_type),
            "profile": self.profile,
            "replaces": self.replaces,
            "spki": self.spki,
            "made_at": records.moment_text(self.made_at),
            "url": self.url,
            "replaced": self.replaced,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> OrderRecord:
        """Read what `to_json` made; ValueError for anything else."""
        return cls(
            id=records.text(data, "id"),
            account=records.text(data, "account"),
            names=records.texts(data, "names"),
            key_type=KeyType(records.text(data, "key_type")),
            profile=records.optional(records.text, data, "profile"),
            replaces=records.optional(records.text, data, "replaces"),
            spki=records.text(data, "spki"),
            made_at=records.moment(data, "made_at"),
            url=records.optional(records.text, data, "url"),
            replaced=records.flag(data, "replaced"),
        )


class Orders:
    """The folder `authority/orders/`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._root, self._disk = root, disk
        self.table: Mapping[str, OrderRecord] = MappingProxyType({})
        """By id."""

    def load(self) -> tuple[StoreCorrupt, ...]:
        """Read all; gives what was wrong with those that can't be read."""
        found, damaged = dict[str, OrderRecord](), list[StoreCorrupt]()
        for name in names_in(self._root / layout.ORDERS):
            folder = self._root / layout.order_folder(name)
            try:
                record = OrderRecord.from_json(records.load(read_file(folder / layout.ORDER)))
                if record.id != name:
                    raise ValueError("it lies in another order's place")  # noqa: TRY301  as all damage
                found[name] = replace(record, has_chain=(folder / layout.CHAIN).exists())
            except FileNotFoundError:
                continue  # removed since
            except (OSError, ValueError) as error:
                damaged.append(StoreCorrupt(folder / layout.ORDER, why_unreadable(error)))
        self.table = MappingProxyType(found)
        return tuple(damaged)

    def key(self, record: OrderRecord) -> PrivateKey:
        """Read an order's key, and prove that it is. Raises StoreCorrupt."""
        path = self._root / layout.order_folder(record.id) / layout.KEY
        try:
            key = key_from_pem(read_file(path))
            if spki_of(key.public_key()) != record.spki:
                raise ValueError("it holds another key")  # noqa: TRY301  one way to tell damage
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StoreCorrupt(path, why_unreadable(error)) from error
        return key

    def chain(self, record: OrderRecord) -> bytes:
        """Read the chain that came of an order. Raises StoreCorrupt."""
        path = self._root / layout.order_folder(record.id) / layout.CHAIN
        try:
            return read_file(path)
        except OSError as error:
            raise StoreCorrupt(path, why_unreadable(error)) from error

    def add(self, record: OrderRecord, key: PrivateKey) -> OrderRecord:
        """Write a new order with its key, whole or not at all; gives it with an id of its own."""
        while (id_ := secrets.token_hex(4)) in self.table:
            pass
        record = replace(record, id=id_)
        content = {layout.KEY: key_to_pem(key), layout.ORDER: records.dump(record.to_json())}
        self._disk.place_folder(self._root / layout.order_folder(id_), content)
        self._put(record)
        return record

    def note(self, record: OrderRecord) -> None:
        """Write what became known of an order."""
        self._write(record, layout.ORDER, records.dump(record.to_json()))
        self._put(record)

    def finish(self, record: OrderRecord, chain: bytes) -> OrderRecord:
        """Write the certificate that came of it."""
        self._write(record, layout.CHAIN, chain)
        done = replace(record, has_chain=True)
        self._put(done)
        return done

    def remove(self, id: str) -> None:  # noqa: A002  it is the order's id
        """Remove an order, key and all; one that is gone already doesn't count."""
        self._disk.remove_folder(self._root / layout.order_folder(id))
        self.table = MappingProxyType({known: one for known, one in self.table.items() if known != id})

    def _put(self, record: OrderRecord) -> None:
        self.table = MappingProxyType({**self.table, record.id: record})

    def _write(self, record: OrderRecord, name: str, content: bytes) -> None:
        # aside where a start looks for leftovers
        place = self._root / layout.order_folder(record.id)
        self._disk.write(place / name, content, aside_in=self._root / layout.ORDERS)
