"""The bodies that the sample device sends: numbered events, and noise whose every byte can be checked.

Both are plain iterators, not async generators: whoever stops reading just lets them go, and nothing is left
to be closed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from functools import cache

import trio
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

NOISE_BYTES = 50_000_000
PIECE_BYTES = 65_536
EVENT_S = 1.0


class Noise:
    """NOISE_BYTES that look random, don't compress, and are the same each time, in pieces.

    rate: bytes per second to hold back to, None for as fast as they are taken. AES in counter mode makes
    them: a gigabyte a second, and no 50 MB that stand in memory.
    """

    def __init__(self, rate: int | None = None) -> None:
        self._pieces = _keystream()
        self._rate = rate
        self._left = NOISE_BYTES
        self._begun = trio.current_time()

    def __aiter__(self) -> Noise:
        return self

    async def __anext__(self) -> bytes:
        """Give the next piece."""
        if not self._left:
            raise StopAsyncIteration
        if self._rate is not None:
            await trio.sleep_until(self._begun + (NOISE_BYTES - self._left) / self._rate)
        size = min(PIECE_BYTES, self._left)
        self._left -= size
        return self._pieces.update(bytes(size))


@cache
def noise_sha256() -> str:
    """Give the SHA-256 of all noise, in lower-case hex; takes 0.1 s the first time: call it in a thread."""
    pieces, digest = _keystream(), hashlib.sha256()
    for start in range(0, NOISE_BYTES, PIECE_BYTES):
        digest.update(pieces.update(bytes(min(PIECE_BYTES, NOISE_BYTES - start))))
    return digest.hexdigest()


class Events:
    """Server-sent events without end, one a second, numbered from 0 (HTML Living Standard, section 9.2)."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._number = 0
        self._begun = trio.current_time()

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> bytes:
        """Give the next event, when its time has come."""
        await trio.sleep_until(self._begun + self._number * EVENT_S)
        data = json.dumps({"number": self._number, "clock": self._clock().isoformat(timespec="milliseconds")})
        event = f"id: {self._number}\nevent: tick\ndata: {data}\n\n"
        self._number += 1
        return event.encode()


def _keystream() -> CipherContext:
    # It hides nothing, so the key may be known: the same stream each time is the point.
    return Cipher(algorithms.AES(bytes(16)), modes.CTR(bytes(16))).encryptor()
