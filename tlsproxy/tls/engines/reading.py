"""Reading plaintext, the half of an engine that is the same for both libraries.

Promises the port's `read`: all records that are there, up to a size; an error only after the good bytes
before it, and then again at each call; b"" for ever after close_notify.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from tlsproxy.tls.engines.port import TLSBroken

RECORD = 16_384  # RFC 8446 section 5.1: the plaintext of one record; OpenSSL never reads more at once
UNBOUNDED = 1 << 62


class Reading(ABC):
    """What an engine inherits; it says how records are decrypted."""

    __slots__ = ("_end", "_held", "_in_part")

    def __init__(self) -> None:
        self._end: TLSBroken | bool = False  # True: the client's close_notify came
        self._held = b""  # plaintext that had to be read early
        self._in_part = False  # the library may hold the rest of a record that was read in part

    @abstractmethod
    def _records(self, room: int) -> list[bytes]:
        """Return the plaintext of the records that are there, at most `room` bytes; sets `_end`, `_in_part`.

        Asks the library for nothing where nothing was fed: an answer in vain costs an exception.
        """

    def read(self, size: int) -> bytes | None:
        """Return plaintext, of as many records as fit."""
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        if self._end is False:
            parts = self._records(size)
            if parts:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if self._end is False:
                return None
        if self._end is True:
            return b""
        raise self._end

    def hold_rest(self) -> None:
        """Read all that can be read now, and keep it for `read`."""
        if self._end is False:
            self._held += b"".join(self._records(UNBOUNDED))
