"""Where a body ends: bytes in, payload out, in whatever pieces they come.

Promises: how the bytes were split changes nothing; what lies beyond the body is left over, untouched, for
the next message; payload is passed on without a copy but where several chunks lie in one piece. Bounded: a
reader keeps at most one unfinished line or the trailers, never payload. Refuses to know: sockets, limits on
a body's size (the caller counts), content codings.

Theory. Chunked framing has been a door of its own for smuggling: sizes that overflow or begin with 0x, line
ends that one side takes for CRLF and the other doesn't, extensions with a bare LF in them, trailers that
overwrite header fields. Here a size is 1 to 16 hex digits below 2**63, every line ends with CRLF,
extensions are checked, bounded and dropped, and trailers are dropped unless they are fields that may stand
there. What goes on is chunked anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from tlsproxy import policy
from tlsproxy.errors import Fault
from tlsproxy.http.fields import may_be_trailer
from tlsproxy.http.framing import MAX_LENGTH, Framing, Kind
from tlsproxy.http.grammar import BadMessageError, Field, blame, split_fields

Payload = bytes | memoryview

# RFC 9112 section 7.1, but for whitespace before an extension, which h11 and llhttp don't take either.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16}+)(?:;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
# What a chunk may cost beyond its payload before it counts as overhead: its two line ends and a size.
_FREE_BYTES = 16


class _Expected(Enum):
    """What comes in a chunked body once no payload is left to come."""

    SIZE = "size"
    CRLF = "crlf"
    TRAILERS = "trailers"


class BodyReader:
    """Reads one body of a message whose head said `framing`; `fault` is whose message it is.

    `done`: the body is complete. `leftover`: bytes that came after it, b"" until then. `trailers`: fields
    after a chunked body, without those that may not stand there.
    """

    __slots__ = (
        "_block",
        "_expected",
        "_fault",
        "_framing",
        "_left",
        "_overhead",
        "done",
        "leftover",
        "trailers",
    )

    def __init__(self, framing: Framing, fault: Fault = Fault.CLIENT) -> None:
        self._framing, self._fault = framing, fault
        self._left = framing.length  # payload still to come, of the body or of this chunk
        self._expected = _Expected.SIZE  # of a chunked body, what comes when nothing is left
        self._block = b""  # the beginning of a line, or of the trailers, that has no end yet
        self._overhead = 0
        self.done = framing.is_empty
        self.leftover = b""
        self.trailers: list[Field] = []

    def feed(self, data: bytes) -> Payload:
        """Take what was read and give the payload in it, b"" where there is none.

        A memoryview given is of `data` itself. Raises ClientProtocolError or UpstreamProtocolError for
        broken chunks.
        """
        if self.done:
            self.leftover += data
            return b""
        if self._framing.kind is Kind.LENGTH:
            return self._take(data)
        if self._framing.kind is Kind.UNTIL_CLOSE:
            return data
        try:
            return self._unchunk(data)
        except BadMessageError as bad:
            raise blame(self._fault, bad) from None

    def end(self) -> None:
        """Say that no more bytes will come: completes UNTIL_CLOSE, raises for any other unfinished body."""
        if self.done:
            return
        if self._framing.kind is not Kind.UNTIL_CLOSE:
            bad = BadMessageError(400, "body_truncated", "the body ended before its end")
            raise blame(self._fault, bad)
        self.done = True

    def _take(self, data: bytes) -> Payload:
        size = len(data)
        if size < self._left:
            self._left -= size
            return data
        left, self._left, self.done = self._left, 0, True
        if size == left:
            return data
        self.leftover = data[left:]
        return memoryview(data)[:left]

    def _unchunk(self, data: bytes) -> Payload:
        data = self._block + data if self._block else data
        self._block = b""
        view, at, pieces = memoryview(data), 0, list[Payload]()
        while at < len(data) and not self.done:
            if self._left:
                piece = view[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            end = self._line(data, at)
            if end < 0:
                self._block = data[at:]
                break
            at = end
        if self.done:
            self.leftover = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _line(self, data: bytes, at: int) -> int:
        """Read what stands between the payload of two chunks; give where it ends, -1 for not yet."""
        if self._expected is _Expected.CRLF:
            return self._chunk_end(data, at)
        if self._expected is _Expected.SIZE:
            return self._chunk_size(data, at)
        return self._trailer_part(data, at)

    def _chunk_end(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._expected = _Expected.SIZE
            return at + 2
        if data[at:] == b"\r":
            return -1
        raise BadMessageError(400, "bad_chunk_end", "a chunk doesn't end where its size says")

    def _chunk_size(self, data: bytes, at: int) -> int:
        found = _CHUNK_LINE.match(data, at)
        read = (found.end() if found else len(data)) - at
        if read > policy.MAX_CHUNK_LINE_BYTES:
            raise BadMessageError(400, "chunk_line_too_long", "the line of a chunk's size is too long")
        if not found:
            if b"\n" in data[at:] or data[at] not in b"0123456789abcdefABCDEF":
                raise BadMessageError(400, "bad_chunk_size", "the line of a chunk's size is malformed")
            return -1
        size = int(found[1], 16)
        if size > MAX_LENGTH:
            raise BadMessageError(400, "bad_chunk_size", "a chunk is larger than any number we take")
        self._overhead = max(0, self._overhead + read + 2 - _FREE_BYTES - 2 * size)
        if self._overhead > policy.MAX_CHUNK_OVERHEAD_BYTES:
            raise BadMessageError(400, "chunk_overhead", "chunk extensions outweigh the body")
        self._left, self._expected = size, _Expected.CRLF if size else _Expected.TRAILERS
        return at + read

    def _trailer_part(self, data: bytes, at: int) -> int:
        empty = data.startswith(b"\r\n", at)
        end = at if empty else data.find(b"\r\n\r\n", at) + 2
        if not empty and end < 2:
            if len(data) - at > policy.MAX_TRAILER_BYTES:
                raise BadMessageError(431, "trailers_too_large", "the trailer fields are too large")
            if data.count(b"\n", at) != data.count(b"\r\n", at):
                raise BadMessageError(400, "bare_lf", "a line ends with a bare LF")
            return -1
        fields = split_fields(data[at : end + 2], 0)
        if end - at > policy.MAX_TRAILER_BYTES or len(fields) > policy.MAX_FIELDS:
            raise BadMessageError(431, "trailers_too_large", "the trailer fields are too large")
        self.trailers = [field for field in fields if may_be_trailer(field[0])]
        self.done = True
        return end + 2


def encode_chunk(payload: Payload) -> bytes:
    """Write one chunk; b"" for no payload, since an empty chunk would end the body."""
    return b"".join((b"%x\r\n" % len(payload), payload, b"\r\n")) if payload else b""


def encode_last_chunk(trailers: Sequence[Field] = ()) -> bytes:
    """Write the end of a chunked body; the trailers are those of a BodyReader, so they may stand there."""
    return b"0\r\n" + b"".join([b"%b: %b\r\n" % trailer for trailer in trailers]) + b"\r\n"
