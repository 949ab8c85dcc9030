"""What a store holds, for commands that show it: asked of the running proxy, or read where none runs.

Promises: both ways give the same values, and neither needs the store's lock. No private key comes with any of
them. Refuses to know how it is shown (listing.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from certstore import (
    Ban,
    Generation,
    Meta,
    Receipt,
    Request,
    Slot,
    StoreError,
    read_bans,
    read_bundle,
    read_generation,
    read_generations,
    read_receipts,
    read_requests,
    read_slots,
)
from tlsproxy.cli.places import Whereabouts, somewhere_else
from tlsproxy.control.client import Client
from tlsproxy.errors import NotRunningError, UsageError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Summary", "View", "view_of"]


@dataclass(frozen=True, slots=True)
class Summary:
    """A generation in short, without its thousands of rows."""

    number: int
    cause: str
    receipt: str | None
    made_at: datetime
    names: int

    @classmethod
    def of(cls, generation: Generation) -> Summary:
        """Give a generation in short."""
        facts = (generation.number, generation.cause, generation.receipt, generation.made_at)
        return cls(*facts, len(generation.rows))

    def to_json(self) -> dict[str, object]:
        """Give what programs are shown."""
        return {**asdict(self), "made_at": self.made_at.isoformat()}


class View(Protocol):
    """What can be asked of a store. Each may raise StoreError or ControlError."""

    is_running: bool

    def slots(self) -> tuple[Slot, ...]:
        """Give all slots, the highest source first."""
        ...

    def metas(self) -> dict[str, Meta]:
        """Give what is known of each bundle that a slot names, as far as it can be read."""
        ...

    def certificates(self, bundle: str) -> list[Certificate]:
        """Give a bundle's certificates, the device's own first. Raises NotFound or ControlError."""
        ...

    def active(self) -> Generation | None:
        """Give what is served."""
        ...

    def generations(self, limit: int) -> list[Generation]:
        """Give at most so many generations, the newest first."""
        ...

    def summaries(self, limit: int) -> list[Summary]:
        """Give the same in short."""
        ...

    def receipts(self, limit: int) -> list[Receipt]:
        """Give at most so many receipts, the newest first."""
        ...

    def requests(self) -> tuple[Request, ...]:
        """Give the certificate requests that wait, the oldest first."""
        ...

    def bans(self) -> tuple[Ban, ...]:
        """Give the keys that are never served again, in the order of their hashes."""
        ...


@contextmanager
def view_of(place: Whereabouts) -> Iterator[View]:
    """Look at the running proxy's store, or at the store where none runs."""
    with Client(place.control) as client:
        asked = Asked(client)
        try:
            client.status()
        except NotRunningError as error:
            if place.known is None:
                raise somewhere_else(error) from None
        else:
            yield asked
            return
    if not place.store.is_dir():
        raise UsageError(f"there is no store at {place.store}", "name the folder that tlsproxy run was given")
    yield Read(place.store)


@dataclass(slots=True)
class Asked:
    """By the control API."""

    client: Client
    is_running: bool = True

    def slots(self) -> tuple[Slot, ...]:
        return self.client.slots()

    def metas(self) -> dict[str, Meta]:
        return self.client.metas()

    def certificates(self, bundle: str) -> list[Certificate]:
        return _load(self.client.chain(bundle))

    def active(self) -> Generation | None:
        return next(iter(self.generations(1)), None)

    def generations(self, limit: int) -> list[Generation]:
        return [self.client.generation(one.number) for one in self.summaries(limit)]

    def summaries(self, limit: int) -> list[Summary]:
        return self.client.generations(limit, Summary)

    def receipts(self, limit: int) -> list[Receipt]:
        return self.client.receipts(limit)

    def requests(self) -> tuple[Request, ...]:
        return self.client.requests()

    def bans(self) -> tuple[Ban, ...]:
        return self.client.bans()


@dataclass(slots=True)
class Read:
    """From the store's files, which are whole at any moment."""

    root: Path
    is_running: bool = False

    def slots(self) -> tuple[Slot, ...]:
        slots, _ = read_slots(self.root)
        return tuple(sorted(slots, key=lambda slot: (slot.source.rank, slot.id)))

    def metas(self) -> dict[str, Meta]:
        metas: dict[str, Meta] = {}
        for slot in self.slots():
            for id_ in slot.bundles:
                with suppress(StoreError):
                    metas[id_] = Meta.of(read_bundle(self.root, id_))
        return metas

    def certificates(self, bundle: str) -> list[Certificate]:
        return _load(read_bundle(self.root, bundle).chain_pem())

    def active(self) -> Generation | None:
        return read_generation(self.root)

    def generations(self, limit: int) -> list[Generation]:
        return read_generations(self.root, limit)

    def summaries(self, limit: int) -> list[Summary]:
        return [Summary.of(generation) for generation in self.generations(limit)]

    def receipts(self, limit: int) -> list[Receipt]:
        receipts, _ = read_receipts(self.root)
        return list(reversed(receipts))[:limit]

    def requests(self) -> tuple[Request, ...]:
        requests, _ = read_requests(self.root)
        return requests

    def bans(self) -> tuple[Ban, ...]:
        active = self.active()
        return tuple(read_bans(self.root, active.number if active is not None else 0)[0])


def _load(chain: bytes) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    return load_pem_x509_certificates(chain)
