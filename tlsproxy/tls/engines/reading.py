"""Reading plaintext, the half of an engine that is the same for both libraries.

Promises the port's `read`: all records that are there, up to a size; an error only after the good bytes
before it, and then again at each call; b"" for ever after close_notify.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from tlsproxy.tls.engines.port import TLSBroken

RECORD = 16_384  # RFC 8446 section 5.1: the plaintext of one record; OpenSSL never reads more at once


class Reading(ABC):
    """What an engine inherits; it says how one record is decrypted."""

    __slots__ = ("_end", "_held")

    def __init__(self) -> None:
        self._end: TLSBroken | bool = False  # True: the client's close_notify came
        self._held = b""  # plaintext that had to be read early

    @abstractmethod
    def _decrypt(self, size: int) -> bytes | None:
        """Return plaintext of one record, None without one, b"" for close_notify; raises TLSBroken."""

    @abstractmethod
    def _is_drained(self) -> bool:
        """Whether `_decrypt` has nothing to read; asking it in vain costs an exception."""

    def read(self, size: int) -> bytes | None:
        """Return plaintext, of as many records as fit."""
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        first = self._read_record(size)
        if not first or self._is_drained():
            return first
        return first + b"".join(self._read_more(size - len(first)))

    def hold_rest(self) -> None:
        """Read all that can be read now, and keep it for `read`."""
        self._held += b"".join(self._read_more(None))

    def _read_record(self, size: int) -> bytes | None:
        if self._end is not False:
            if self._end is True:
                return b""
            raise self._end
        if self._is_drained():
            return None
        try:
            data = self._decrypt(min(size, RECORD))
        except TLSBroken as error:
            self._end = error
            raise
        if data == b"":
            self._end = True
        return data

    def _read_more(self, room: int | None) -> list[bytes]:
        """Return further records, at most `room` bytes; an error is left for the next `read`."""
        parts: list[bytes] = []
        while room is None or room > 0:
            try:
                data = self._read_record(RECORD if room is None else room)
            except TLSBroken:
                break
            if not data:
                break
            parts.append(data)
            if room is not None:
                room -= len(data)
        return parts
