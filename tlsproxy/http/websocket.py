"""Where a WebSocket frame ends: one direction of a stream is followed, and a Close frame can be made.

Promises: `Frames` changes nothing and holds nothing back; how the bytes were split makes no difference; a
payload is skipped by arithmetic, so that a read costs by its frames and not by its bytes. What can't be
WebSocket framing makes it give up for good (`lost`). Refuses to know messages, extensions, payloads (it
never unmasks one), and what is done at a boundary. All sections named here are of RFC 6455.

Theory. A Close frame put anywhere but between two frames is payload to its reader, and what follows it is
taken for a header: worse than none. So `at_boundary` is true only where a frame is known to have ended, and
anything that a strict reader would refuse (a mask where none may be, a length in more bytes than it needs, a
long or fragmented control frame, an opcode that nobody has defined) means that we don't know what we read.
Extensions change payloads and RSV bits, not framing, so RSV bits are not looked at. Fragments are frames,
and a Close may stand between them (section 5.4).

The worst that can be sent: a read of nothing but empty frames holds the loop for 1 ms (64 KiB from a client,
whose frames are masked), or for 10 ms (256 KiB from an upstream).
"""

from __future__ import annotations

from typing import Final

GOING_AWAY: Final = 1001  # section 7.4.1: the server goes down
SERVICE_RESTART: Final = 1012  # IANA's registry of close codes: come again in a moment

# Section 5.2: FIN, three RSV bits and the opcode; then the mask bit and a length of seven bits, or where
# that is 126 or 127, of the next two or eight bytes; then the key of the mask.
_FIN, _OPCODE, _CLOSE = 0x80, 0x0F, 0x08
_MASKED, _LENGTH, _LENGTH_16, _LENGTH_64 = 0x80, 0x7F, 126, 127
_KEY_BYTES, _MAX_HEADER_BYTES = 4, 14
_FOR_EVER = 1 << 62


def close_frame(code: int, key: bytes = b"") -> bytes:
    """Write a Close frame; `key` (4 bytes that can't be foreseen, section 5.3) masks it, as a client must."""
    payload = code.to_bytes(2, "big")
    if not key:
        return bytes((_FIN | _CLOSE, len(payload))) + payload
    masked = bytes(byte ^ of_key for byte, of_key in zip(payload, key, strict=False))
    return bytes((_FIN | _CLOSE, _MASKED | len(payload))) + key + masked


# What a frame is to us, by its first byte: data, ping and pong are plain.
_PLAIN, _CLOSING, _UNKNOWN = 0, 1, 2


def _kind(first: int) -> int:
    opcode = first & _OPCODE
    if opcode <= 0x02:
        return _PLAIN
    if not 0x08 <= opcode <= 0x0A or not first & _FIN:  # section 5.5: control frames are never fragmented
        return _UNKNOWN
    return _CLOSING if opcode == _CLOSE else _PLAIN


def _header_bytes(second: int) -> int:
    length = second & _LENGTH
    extended = 8 if length == _LENGTH_64 else 2 if length == _LENGTH_16 else 0
    return 2 + extended + (_KEY_BYTES if second & _MASKED else 0)


def _small_frame_bytes(second: int, *, masked: bool) -> int:
    """Give the size of a small frame, header and payload, by its second byte; 0 where it isn't one."""
    length = second & _LENGTH
    small = length < _LENGTH_16 and bool(second & _MASKED) is masked
    return _header_bytes(second) + length if small else 0


# What the first two bytes of a header say, by their values.
_KINDS = bytes(map(_kind, range(256)))
_HEADERS = bytes(map(_header_bytes, range(256)))
_SIZES = {masked: bytes(_small_frame_bytes(b, masked=masked) for b in range(256)) for masked in (True, False)}


class Frames:
    """Follows the frames that one side sends; `masked` says whether that side is the client (section 5.1).

    lost: what came isn't WebSocket framing, and is followed no more.
    """

    __slots__ = ("_closing", "_head", "_left", "_masked", "_sizes", "lost")

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked
        self._sizes = _SIZES[masked]
        self._left = 0  # bytes of the frame under way that are still to come, its header being known
        self._head = b""  # the beginning of a header, never a whole one
        self._closing = False  # the frame under way, or the last one, is a Close
        self.lost = False

    @property
    def missing(self) -> int:
        """How many bytes have to come, at the least, until the frame under way ends; 0 for none."""
        if len(self._head) > 1:
            second = self._head[1]
            length = second & _LENGTH
            return _HEADERS[second] - len(self._head) + (length if length < _LENGTH_16 else 0)
        return self._left or len(self._head)

    @property
    def at_boundary(self) -> bool:
        """Whether a frame has just ended, or none has begun yet."""
        return not self.missing

    @property
    def closed(self) -> bool:
        """Whether a Close frame has passed, whole; what comes after it is followed no more."""
        return self._closing and not self.missing

    def feed(self, data: bytes) -> None:
        """Follow what was read: 0.1 us and 0.1 us more for each small frame."""
        at, size = self._left, len(data)
        if at >= size:  # in the middle of a payload
            self._left = at - size
            return
        if self._head:
            at = self._complete_header(data)
        if self._closing:
            self._left = max(at - size, 0)
            return
        sizes, end = self._sizes, size - 1
        while at < end:
            step = sizes[data[at + 1]]
            if not step or _KINDS[data[at]]:
                step = self._measure(data, at)
                if not step:
                    break
                if self._closing:
                    self._left = max(at + step - size, 0)
                    return
            at += step
        if at < size:
            self._head, self._left = data[at:], 0
        else:
            self._left = at - size

    def _complete_header(self, data: bytes) -> int:
        """Read a header whose beginning came before `data`; return where in `data` its frame ends."""
        known = len(self._head)
        head = self._head + data[: _MAX_HEADER_BYTES - known]
        step = self._measure(head, 0)
        if not step:
            self._head = head
            return len(data)
        self._head = b""
        return step - known

    def _measure(self, data: bytes, at: int) -> int:
        """Return the size of the frame that begins at `at`, 0 where its header isn't whole."""
        first, second = data[at], data[at + 1]
        kind, length, header = _KINDS[first], second & _LENGTH, _HEADERS[second]
        if kind == _UNKNOWN or bool(second & _MASKED) is not self._masked:
            return self._lose()
        if len(data) < at + header:
            return 0
        if length >= _LENGTH_16:
            least, size = (126, 2) if length == _LENGTH_16 else (65_536, 8)
            length = int.from_bytes(data[at + 2 : at + 2 + size], "big")
            if first & _CLOSE or not least <= length < _FOR_EVER:  # section 5.5: control frames are small
                return self._lose()
        self._closing = kind == _CLOSING
        return header + length

    def _lose(self) -> int:
        self.lost = True
        return _FOR_EVER
