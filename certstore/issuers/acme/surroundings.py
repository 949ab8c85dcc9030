"""What the ACME client is handed in: time, chance, the way to an authority, and a place for slow work.

Values only, so that tests own the clock, and a customer's network the way out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import httpx2
import trio

from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.wishes import Server

__all__ = ["Surroundings"]

T = TypeVar("T")


class Offload(Protocol):
    """Runs what blocks (a disk's sync, the making of an RSA key) where nobody else waits for it."""

    def __call__(self, do: Callable[[], T], /) -> Awaitable[T]:
        """Run it to its end, also where the caller is cancelled meanwhile."""
        ...


async def _in_thread(do: Callable[[], T], /) -> T:
    return await trio.to_thread.run_sync(do)


def _passed_by(_error: AcmeError) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`clock` gives the aware wall clock, `random` a number of [0, 1); `hear` is told why one asks again."""

    clock: Callable[[], datetime]
    random: Callable[[], float]
    transport: Callable[[Server], httpx2.AsyncBaseTransport] | None = None
    offload: Offload = _in_thread
    hear: Callable[[AcmeError], None] = _passed_by
