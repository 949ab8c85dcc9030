"""The words of HTTP/1 on the wire: tokens, field lines, start lines, hosts; each one compiled pattern.

Promises: a pattern matches only what RFC 9110 and RFC 9112 allow, never more; none takes more than linear
time, because every repetition is possessive and gives nothing back. Refuses to know: what a field means,
and whose fault it is.

One `findall` checks and splits a whole block of fields. Measured on a 552-byte browser head: 2.3 us, and
llhttp (httptools) 2.7 us for the same split, after which most of the checks were still to be made.
"""

from __future__ import annotations

import re

from tlsproxy.errors import ClientProtocolError, Fault, UpstreamProtocolError

Field = tuple[bytes, bytes]  # name as sent, value without the whitespace around it

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110 section 5.6.2
# SP, HTAB, VCHAR and obs-text (RFC 9110 section 5.5): no CR, LF, NUL or any other control, no DEL.
_TEXT = rb"[\t\x20-\x7e\x80-\xff]"

TOKEN = re.compile(_TCHAR + rb"++")

# A whole field line; `^` may stand only after a line end, so neither junk nor a folded line is skipped
# unseen: whoever uses it compares the number of lines with the number of line feeds. The first is for values
# without whitespace at their end, which are nearly all.
FIELD_LINE = re.compile(rb"(?m)^(" + _TCHAR + rb"++):[ \t]*+(" + _TEXT + rb"*+)(?<![ \t])\r\n")
_ANY_FIELD_LINE = re.compile(rb"(?m)^(" + _TCHAR + rb"++):[ \t]*+(" + _TEXT + rb"*+)\r\n")

# The request line of nearly everybody: origin-form with a plain path (as tlsproxy/paths.py has it: no escape,
# parameter, backslash, empty or dotted segment), visible ASCII, no fragment. Groups: method, target, path,
# minor version.
REQUEST_LINE = re.compile(
    rb"(" + _TCHAR + rb'++) (((?:/(?![/.])[!"$&-.0-:<->@-\[\]-~]*+)++)(?:\?[!"$-~]*+)?) HTTP/1\.([01])\r\n'
)
# Any other line that may still be a request line, for the forms that are rare and for saying what is wrong.
ANY_REQUEST_LINE = re.compile(rb"([^ \r\n]++) ([^ \r\n]++) (HTTP/([0-9])\.([0-9]))\r\n")

# RFC 9112 section 4; the space before an empty reason is often forgotten and carries nothing.
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + _TEXT + rb"*+))?\r\n")

# uri-host [":" port] (RFC 9110 section 7.2), narrowed to what host names and addresses are made of: RFC
# 3986's reg-name also has percent-encoding and sub-delims, which no name on a network has and which URL
# parsers read differently.
AUTHORITY = re.compile(rb"([0-9A-Za-z._~\-]{1,255}+|\[[0-9A-Fa-f:.]{2,45}+\])(?::([0-9]{1,5}+))?")

# http: and https: targets in absolute-form. Groups: scheme, authority, path with query.
ABSOLUTE_TARGET = re.compile(rb"(?i:(https?)://)([^/?#\\]*+)([/?][!\"$-~]*+)?")


class BadMessageError(Exception):
    """A message breaks a rule; the border that knows whose message it is makes the real error of it."""

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(status, code, words)
        self.status, self.code, self.words = status, code, words


def blame(fault: Fault, bad: BadMessageError) -> ClientProtocolError | UpstreamProtocolError:
    """Give the error to raise for a bad message of the client or of the upstream."""
    if fault is Fault.CLIENT:
        return ClientProtocolError(bad.status, bad.code, bad.words)
    return UpstreamProtocolError(bad.code, bad.words)


def split_fields(block: bytes, start: int) -> list[Field]:
    """Split field lines, from `start` to the empty line that ends the block, checking each whole.

    Raises BadMessageError for anything that is not a field line with CRLF: a bare CR or LF, a folded line,
    a space before the colon, a control character (RFC 9112 sections 2.2, 5.1 and 5.2; each has been used to
    smuggle).
    """
    lines = block.count(b"\n", start) - 1  # but for the empty one at the end
    fields: list[Field] = FIELD_LINE.findall(block, start)
    if len(fields) != lines or not block.endswith(b"\r\n"):
        # Each match has one LF; any other LF belongs to a line that did not match.
        fields = [(name, value.rstrip(b" \t")) for name, value in _ANY_FIELD_LINE.findall(block, start)]
        if len(fields) != lines or not block.endswith(b"\r\n"):
            raise _explain(block, start)
    return fields


def members(values: list[bytes]) -> list[bytes]:
    """Split field values that are comma-separated lists into members; empty ones don't count (RFC 9110)."""
    return [member for value in values for part in value.split(b",") if (member := part.strip(b" \t"))]


def _explain(block: bytes, start: int) -> BadMessageError:
    """Name the first line that is no field line."""
    rest = block[start:]
    if rest.count(b"\n") != rest.count(b"\r\n"):
        return BadMessageError(400, "bare_lf", "a line ends with a bare LF")
    for line in rest.split(b"\r\n"):
        if line and not _ANY_FIELD_LINE.fullmatch(line + b"\r\n"):
            break
    else:
        return BadMessageError(400, "misplaced_empty_line", "the head ends before its end")
    if line.startswith((b" ", b"\t")):
        return BadMessageError(400, "folded_field", "a header field goes on in a second line")
    name, colon, value = line.partition(b":")
    if not colon:
        return BadMessageError(400, "field_without_colon", "a header line has no colon")
    if not TOKEN.fullmatch(name):
        return BadMessageError(400, "bad_field_name", "the name of a header field is not a token")
    what = "a bare CR" if b"\r" in value else "a control character"
    return BadMessageError(400, "bad_field_value", f"the value of a header field holds {what}")
