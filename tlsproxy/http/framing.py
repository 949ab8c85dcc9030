"""How long a message's body is: the one question whose two answers make request smuggling.

Promises: a message has exactly one framing, or is refused (RFC 9112 section 6.3, each doubt refused instead
of solved). Refuses to know: bytes of bodies (http/body.py), and what else a head says.

Theory. Two parties on one connection must agree where a message ends; where they don't, the rest of one
client's body is the next client's request. Each known disagreement is here: Content-Length beside
Transfer-Encoding, several lengths, lengths that are not plain digits, codings that only one side
understands or strips, codings from HTTP/1.0. RFC 9112 lets a recipient mend some of them; we refuse them
all, for nobody sends them by honest mistake. What goes on to the other side is never the sender's field but
is written anew from the `Framing`, so that it can't say anything else.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import ClassVar

import msgspec

from tlsproxy.http.grammar import BadMessageError, members

# RFC 9110 section 8.6 allows leading zeros; a reader that takes them for octal doesn't agree, so they are
# refused.
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
MAX_LENGTH = 2**63 - 1  # what a signed 64-bit reader behind us can still hold


class Kind(Enum):
    """The four ways in which a body ends."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until_close"


class Framing(msgspec.Struct, frozen=True):  # one is made per message: http/head.py says why no dataclass
    """How a body ends; `length` in bytes counts for Kind.LENGTH only and may be 0."""

    kind: Kind
    length: int = 0

    NONE: ClassVar[Framing]
    CHUNKED: ClassVar[Framing]
    UNTIL_CLOSE: ClassVar[Framing]

    @property
    def is_empty(self) -> bool:
        """Whether no byte of body follows."""
        return self.kind is Kind.NONE or (self.kind is Kind.LENGTH and not self.length)

    @classmethod
    def of_length(cls, length: int) -> Framing:
        """Make the framing of a body of `length` bytes."""
        return cls(Kind.LENGTH, length)


Framing.NONE = Framing(Kind.NONE)
Framing.CHUNKED = Framing(Kind.CHUNKED)
Framing.UNTIL_CLOSE = Framing(Kind.UNTIL_CLOSE)


def declared(lengths: list[bytes], codings: list[bytes], *, http10: bool) -> Framing | None:
    """Read Content-Length and Transfer-Encoding; None where a message has neither.

    Raises BadMessageError: 400 where there could be two meanings, 501 for a coding that we don't have.
    """
    if codings:
        _check_chunked(codings, lengths, http10=http10)
        return Framing.CHUNKED
    return Framing.of_length(_length(lengths)) if lengths else None


def _length(lengths: list[bytes]) -> int:
    if len(lengths) > 1 or b"," in lengths[0]:
        raise BadMessageError(400, "several_lengths", "there is more than one content-length")
    if not _LENGTH.fullmatch(lengths[0]) or (length := int(lengths[0])) > MAX_LENGTH:
        raise BadMessageError(400, "bad_length", "the content-length is not a plain number")
    return length


def _check_chunked(codings: list[bytes], lengths: list[bytes], *, http10: bool) -> None:
    if lengths:
        raise BadMessageError(
            400, "length_and_coding", "there is a content-length beside a transfer-encoding"
        )
    if http10:
        raise BadMessageError(400, "coding_in_http10", "there is a transfer-encoding in an http/1.0 message")
    if len(codings) == 1 and codings[0].lower() == b"chunked":
        return
    named = [coding.lower() for coding in members(codings)]
    # Only a list that ends with the one `chunked` can be read at all; which codings come before it we don't
    # know.
    if len(named) > 1 and named[-1] == b"chunked" and named.count(b"chunked") == 1:
        raise BadMessageError(501, "unknown_coding", "only the transfer-encoding `chunked` is understood")
    raise BadMessageError(400, "bad_coding", "the transfer-encoding is not exactly `chunked`")
