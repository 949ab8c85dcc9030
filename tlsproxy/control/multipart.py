"""A form with files (multipart/form-data, RFC 7578), read whole from memory.

Pure: bytes in, parts out; a ValueError in words for what is none. Bounded by its caller. Our own, because
the usual parsers write larger parts to temporary files, and these hold private keys.

Theory. Parts are divided by CRLF, two dashes and the boundary (RFC 2046 section 5.1.1), which stand in no
part: so the body is split there, and nothing inside a part is looked at. What clients may do and never do
(a preamble, nested forms, transfer encodings) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Part", "parse_form"]

_MOST_PARTS = 64
# RFC 7578 section 4.7: such a header should not be there, and some clients send one that changes nothing.
_AS_IT_IS = frozenset({b"binary", b"8bit", b"7bit"})
_BOUNDARY = re.compile(r';\s*boundary=(?:"(?P<quoted>[^"]{1,70})"|(?P<plain>[^\s;"]{1,70}))', re.IGNORECASE)
_PARAMETER = re.compile(rb';\s*([A-Za-z0-9*_-]+)=(?:"((?:[^"\\]|\\["\\])*)"|([^\s;"]+))')


@dataclass(frozen=True, slots=True)
class Part:
    """One part: the field's name, the file's name where it is a file, and the bytes."""

    name: str
    file_name: str | None
    content: bytes


def parse_form(body: bytes, content_type: str) -> tuple[Part, ...]:
    """Read the parts of a form. Raises ValueError."""
    boundaries = list(_BOUNDARY.finditer(content_type))
    if len(boundaries) != 1:
        raise ValueError(f"its content type names {'two boundaries' if boundaries else 'no boundary'}")
    (match,) = boundaries
    delimiter = b"\r\n--" + (match["quoted"] or match["plain"]).encode("latin-1", "replace")
    first, *rest = (b"\r\n" + body).split(delimiter, _MOST_PARTS + 2)
    if first or len(rest) < 2:
        raise ValueError("it doesn't begin and end with the boundary")
    *parts, end = rest
    if len(parts) > _MOST_PARTS:
        raise ValueError(f"it has more than {_MOST_PARTS} parts")
    if end.rstrip(b"\r\n \t") != b"--":
        raise ValueError("it doesn't end with the boundary")
    return tuple(map(_part, parts))


def _part(raw: bytes) -> Part:
    line, _, raw = raw.partition(b"\r\n")
    if line.strip(b" \t"):
        raise ValueError("the boundary stands inside a part")
    head, blank, content = raw.partition(b"\r\n\r\n")
    if not blank:
        raise ValueError("a part has no header")
    fields: dict[bytes, bytes] = {}
    for field in head.split(b"\r\n"):
        name, _, value = field.partition(b":")
        if (name := name.strip().lower()) in fields:
            raise ValueError("a part says something twice")
        fields[name] = value
    if fields.get(b"content-transfer-encoding", b"binary").strip().lower() not in _AS_IT_IS:
        raise ValueError("a part is encoded: send its bytes as they are")
    if b"content-disposition" not in fields:
        raise ValueError("a part has no content-disposition")
    return _named(fields[b"content-disposition"], content)


def _named(disposition: bytes, content: bytes) -> Part:
    kind, _, _ = disposition.partition(b";")
    parameters = _PARAMETER.findall(disposition)
    found = {key.lower(): quoted or plain for key, quoted, plain in parameters}
    if len(found) < len(parameters):
        raise ValueError("a part says something twice")
    if kind.strip().lower() != b"form-data" or not found.get(b"name"):
        raise ValueError("a part has no name")
    file_name = found.get(b"filename")
    return Part(_text(found[b"name"]), None if file_name is None else _text(file_name), content)


def _text(value: bytes) -> str:
    """Read a name as browsers write it: UTF-8, with three characters escaped (RFC 7578 section 4.2)."""
    unescaped = value.replace(b'\\"', b'"').replace(b"\\\\", b"\\")
    return re.sub(r"%(22|0[AaDd])", lambda m: chr(int(m[1], 16)), unescaped.decode("utf-8", "replace"))
