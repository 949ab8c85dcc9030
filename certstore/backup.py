"""A backup: what a store would need to be made again, keys included, as one JSON document.

    {"format": 1, "made_at": TIME, "generation": NUMBER,
     "slots": [as in slots/*.json], "bundles": [{"key": PEM, "chain": PEM}], "banned": [SPKI hash],
     "requests": [{"key": PEM, and as in authority/csr/*/request.json}]}

`requests` came later: a backup without them is as good as one in which none waited.

Promises: `from_bytes` proves every bundle (its key belongs to its certificate) and that each slot has its
bundle, with the names that the slot says, and each request its key; anything else is `BackupUnreadable`.
Only what was confirmed is taken along: nobody can confirm a change on another device. It is never written
unsealed (sealing.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from certstore import records
from certstore.bans import is_spki, read_bans
from certstore.bundle import Bundle, PrivateKey, key_from_pem, key_to_pem, spki_of
from certstore.errors import BackupUnreadable
from certstore.reading import read_bundle, read_generation, read_slots
from certstore.requests import Request, read_key, read_requests
from certstore.slots import Slot

__all__ = ["Backup", "take_backup"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Backup:
    """The slots of a store, each confirmed, with their bundles; and how far its numbers had come.

    banned: keys (SPKI hashes) that it never serves again; a backup of before there were bans has none.
    """

    made_at: datetime
    generation: int
    slots: tuple[Slot, ...]
    bundles: tuple[Bundle, ...]
    banned: tuple[str, ...] = ()
    requests: tuple[tuple[Request, PrivateKey], ...] = ()

    def to_bytes(self) -> bytes:
        """Turn this into what `from_bytes` reads. It holds private keys."""
        return records.pack(
            {
                "format": _FORMAT,
                "made_at": records.moment_text(self.made_at),
                "generation": self.generation,
                "slots": [slot.to_json() for slot in self.slots],
                "bundles": [
                    {"key": one.key_pem().decode("ascii"), "chain": one.chain_pem().decode("ascii")}
                    for one in self.bundles
                ],
                "banned": list(self.banned),
                "requests": [
                    {"key": key_to_pem(key).decode("ascii"), **request.to_json()}
                    for request, key in self.requests
                ],
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Backup:
        """Read what `to_bytes` made, and prove it. Raises BackupUnreadable."""
        try:
            data = records.load(content)
            if (number := records.number(data, "format")) != _FORMAT:
                raise BackupUnreadable(f"it has format {number}; this software knows format {_FORMAT}")
            bundles = {one.id: one for one in map(_bundle, records.items(data, "bundles"))}
            slots = tuple(Slot.from_json(one) for one in records.items(data, "slots"))
            if len({slot.key for slot in slots}) < len(slots):
                raise ValueError("a slot is in it twice")  # noqa: TRY301  one way to tell damage
            for slot in slots:
                if any(id_ not in bundles or bundles[id_].names != slot.names for id_ in slot.bundles):
                    raise ValueError("a slot's certificate is missing, or another one")  # noqa: TRY301
            return cls(
                records.moment(data, "made_at"),
                records.number(data, "generation"),
                tuple(slot.confirmed() for slot in slots),
                tuple(bundles.values()),
                _banned(data),
                tuple(map(_request, records.items(data, "requests") if "requests" in data else ())),
            )
        except ValueError as error:
            raise BackupUnreadable(f"what is in it makes no sense: {error}") from error


def take_backup(root: Path, now: datetime) -> Backup:
    """Read a backup from a store, whoever holds it. Raises StoreCorrupt, NotFound or StoreExhausted."""
    active = read_generation(root)
    on_disk, damaged = read_slots(root)
    if damaged:
        raise damaged[0]
    slots = [back for slot in on_disk if (back := slot.put_back()) is not None]
    bundles = {id_: read_bundle(root, id_) for slot in slots for id_ in slot.bundles}
    requests, damaged = read_requests(root)
    if damaged:
        raise damaged[0]
    waiting = tuple((one, read_key(root, one)) for one in requests)
    number = active.number if active is not None else 0
    banned = tuple(ban.spki for ban in read_bans(root, number)[0])
    return Backup(now, number, tuple(slots), tuple(bundles.values()), banned, waiting)


def _banned(data: Mapping[str, object]) -> tuple[str, ...]:
    banned = records.texts(data, "banned") if "banned" in data else ()
    if not all(map(is_spki, banned)):
        raise ValueError("what is banned in it is no key")
    return banned


def _bundle(data: Mapping[str, object]) -> Bundle:
    key, chain = (records.text(data, name).encode("utf-8", "replace") for name in ("key", "chain"))
    try:
        return Bundle.from_pem(key, chain)
    except Exception as error:
        raise ValueError(f"a key and its certificate: {error}") from error


def _request(data: Mapping[str, object]) -> tuple[Request, PrivateKey]:
    try:
        request = Request.from_json(data)
        key = key_from_pem(records.text(data, "key").encode("utf-8", "replace"))
        if spki_of(key.public_key()) != request.spki:
            raise ValueError("it is another key")  # noqa: TRY301  one way to tell damage
    except Exception as error:
        raise ValueError(f"a request and its key: {error}") from error
    return request, key
