"""ASN.1: as much of BER and DER (X.690) as it takes to look into a container.

Promises: bytes in, elements out, or a ValueError; time linear in the bytes, and nothing is followed deeper
than its caller asks. Lengths may be indefinite, and strings in pieces: NSS and old Java write containers so.
Our own, because what a pass phrase will cost stands in there, and has to be read before a library that reads
it goes to work.
Refuses to know: what elements mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["BITS", "INTEGER", "OCTETS", "OID", "SEQUENCE", "SET", "Element", "Fields", "first", "only"]

INTEGER: Final = 0x02
BITS: Final = 0x03
OCTETS: Final = 0x04
OID: Final = 0x06
SEQUENCE: Final = 0x30
SET: Final = 0x31
_CONSTRUCTED: Final = 0x20
# What is legal at all is ten levels deep; only lengths that are not told need counting.
DEEPEST: Final = 32
# A container with a hundred certificates has as many; each of them is made an object here.
MOST_CHILDREN: Final = 1024
_LONGEST_OID: Final = 32  # bytes; those of PKCS have 11
_LONGEST_INTEGER: Final = 32  # bytes; what is counted here has four


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its identifier octet, its content, and all of it. The repr shows no content."""

    tag: int
    content: bytes
    whole: bytes

    def __repr__(self) -> str:
        return f"Element({self.tag:#04x}, {len(self.content)} bytes)"

    def fields(self) -> Fields:
        """Go through what a constructed element is made of."""
        if not self.tag & _CONSTRUCTED:
            raise ValueError("a part is simple that should hold others")
        return Fields(self.content)

    def octets(self) -> bytes:
        """Give a string's bytes, put together where they come in pieces (X.690 section 8.7.3)."""
        if not self.tag & _CONSTRUCTED:
            return self.content
        pieces = list(Fields(self.content))
        if any(piece.tag != OCTETS for piece in pieces):
            raise ValueError("a string is made of something else")
        return b"".join(piece.content for piece in pieces)

    def number(self) -> int:
        """Give an INTEGER."""
        if self.tag != INTEGER or not 1 <= len(self.content) <= _LONGEST_INTEGER:
            raise ValueError("a number is missing or far too large")
        return int.from_bytes(self.content, "big", signed=True)

    def oid(self) -> str:
        """Give an OBJECT IDENTIFIER with dots."""
        if self.tag != OID or not 1 <= len(self.content) <= _LONGEST_OID or self.content[-1] & 0x80:
            raise ValueError("an object identifier is missing or malformed")
        arcs, arc = [], 0
        for byte in self.content:
            arc = arc << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(arc)
                arc = 0
        root = min(arcs[0] // 40, 2)
        return ".".join(map(str, (root, arcs[0] - 40 * root, *arcs[1:])))


class Fields:
    """The elements of a constructed one, to be taken in their order."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = self._taken = 0

    def __iter__(self) -> Iterator[Element]:
        while self._at < len(self._content):
            yield self._next()

    def take(self, tag: int) -> Element:
        """Take the next one, which must have this tag."""
        if self._tag() | _CONSTRUCTED != tag | _CONSTRUCTED:
            raise ValueError("a part is missing, or another than belongs there")
        return self._next()

    def maybe(self, tag: int) -> Element | None:
        """Take the next one if it has this tag."""
        return self._next() if self._tag() == tag else None

    def _tag(self) -> int:
        """Give the next one's tag; 0, which is nobody's, at the end."""
        return self._content[self._at] if self._at < len(self._content) else 0

    def _next(self) -> Element:
        self._taken += 1
        if self._taken > MOST_CHILDREN:
            raise ValueError(f"it has more than {MOST_CHILDREN} parts in one place")
        element, self._at = _element(self._content, self._at)
        return element


def only(data: bytes) -> Element:
    """Read the one element that the bytes are; line ends of a transfer in text mode may follow."""
    element, rest = first(data)
    if rest.strip(b"\r\n\0"):
        raise ValueError("something follows after its end")
    return element


def first(data: bytes) -> tuple[Element, bytes]:
    """Read the element at the beginning; gives what follows too."""
    element, end = _element(data, 0)
    return element, data[end:]


def _element(data: bytes, at: int) -> tuple[Element, int]:
    """Read the element that begins there, and say where it ends."""
    tag, start, size = _header(data, at)
    if size is None:
        end = _end_of_contents(data, start)
        return Element(tag, data[start : end - 2], data[at:end]), end
    end = start + size
    return Element(tag, data[start:end], data[at:end]), end


def _header(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Read tag and length: the tag, where the content begins, its size (None: not told)."""
    if len(data) < at + 2:
        raise ValueError("it is cut off")
    tag, length = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag is of a kind that has no place there")
    at += 2
    if length == 0x80:
        if not tag & _CONSTRUCTED:
            raise ValueError("a simple part has no length")
        return tag, at, None
    if length > 0x80:
        count = length & 0x7F
        if count > 4 or len(data) < at + count:
            raise ValueError("a length is malformed")
        length = int.from_bytes(data[at : at + count], "big")
        at += count
    if length > len(data) - at:
        raise ValueError("it is cut off")
    return tag, at, length


def _end_of_contents(data: bytes, at: int) -> int:
    """Find where an element ends whose length is not told: behind its two zero bytes (section 8.1.5)."""
    depth = 1
    while depth:
        if data[at : at + 2] == b"\0\0":
            depth -= 1
            at += 2
            continue
        _, start, size = _header(data, at)
        depth += size is None
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        at = start + (size or 0)
    return at
