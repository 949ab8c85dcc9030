"""Fields of the store's JSON files, read strictly: what is not exactly as we write it is a ValueError.

A damaged file must be noticed here, where it can be put right, and not as a TypeError in a handshake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

__all__ = [
    "bundle_id",
    "dump",
    "flag",
    "is_bundle_id",
    "item",
    "items",
    "later",
    "load",
    "moment",
    "moment_text",
    "number",
    "optional",
    "pack",
    "parse_moment",
    "text",
    "texts",
]

T = TypeVar("T")
_BEYOND = 10**17  # a million changes a second for 3,000 years; names of generations have 18 digits
_BUNDLE_ID = re.compile(r"[0-9a-f]{64}")


def dump(data: Mapping[str, object]) -> bytes:
    """Serialise a file's content, for people too: indented, one line end at the end."""
    return (json.dumps(data, indent=1, ensure_ascii=True) + "\n").encode()


def pack(data: Mapping[str, object]) -> bytes:
    """Serialise a file's content on one line: a third of the time of `dump`, and a sixth fewer bytes.

    For files that may hold thousands of entries, of which a new one is written at each change.
    """
    return (json.dumps(data, separators=(",", ":"), ensure_ascii=True) + "\n").encode()


def load(content: bytes) -> dict[str, object]:
    """Parse a file's content; ValueError unless it is one JSON object."""
    try:
        data = json.loads(content)
    except RecursionError as error:  # thousands of brackets: damage, or malice
        raise ValueError("nested too deeply") from error
    if not isinstance(data, dict):
        raise ValueError("not an object")  # noqa: TRY004  all that is wrong with a file is a ValueError
    return data


def _field(data: Mapping[str, object], key: str, kind: type[T]) -> T:
    value = data.get(key)
    # bool is an int to isinstance, and true is no number here
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{key} is missing or of the wrong kind")
    return value


def text(data: Mapping[str, object], key: str) -> str:
    """Read a string."""
    return _field(data, key, str)


def number(data: Mapping[str, object], key: str) -> int:
    """Read a generation's number or a count: not negative, and with room for many more behind it."""
    found = _field(data, key, int)
    if not 0 <= found < _BEYOND:
        raise ValueError(f"{key} is out of range")
    return found


def flag(data: Mapping[str, object], key: str) -> bool:
    """Read true or false."""
    return _field(data, key, bool)


def texts(data: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Read a list of strings."""
    found = _field(data, key, list)
    if not all(isinstance(one, str) for one in found):
        raise ValueError(f"{key} holds something else than strings")
    return tuple(found)


def item(data: Mapping[str, object], key: str) -> dict[str, object]:
    """Read an object."""
    return _field(data, key, dict)


def items(data: Mapping[str, object], key: str) -> tuple[Mapping[str, object], ...]:
    """Read a list of objects."""
    found = _field(data, key, list)
    if not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{key} holds something else than objects")
    return tuple(found)


def is_bundle_id(name: str) -> bool:
    """Whether this may name a bundle: 64 hex digits (SHA-256), lower case."""
    return _BUNDLE_ID.fullmatch(name) is not None


def bundle_id(data: Mapping[str, object], key: str) -> str:
    """Read a bundle's id: it will be part of a path, so nothing but 64 hex digits passes."""
    found = text(data, key)
    if not is_bundle_id(found):
        raise ValueError(f"{key} is no bundle id")
    return found


def optional(
    read: Callable[[Mapping[str, object], str], T], data: Mapping[str, object], key: str
) -> T | None:
    """Read a field that may be null, but must be there."""
    if key not in data:
        raise ValueError(f"{key} is missing")
    return None if data[key] is None else read(data, key)


def moment(data: Mapping[str, object], key: str) -> datetime:
    """Read an aware datetime."""
    return parse_moment(text(data, key))


def parse_moment(written: str) -> datetime:
    """Parse what `moment_text` wrote; a time without a zone is a ValueError."""
    found = datetime.fromisoformat(written)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found.astimezone(UTC)


def moment_text(at: datetime) -> str:
    """Write an aware datetime in UTC, with microseconds (RFC 3339)."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def later(read: Callable[[Mapping[str, object], str], T], data: Mapping[str, object], key: str) -> T | None:
    """Read a field that came later than the file's other ones: what was written before has none."""
    return read(data, key) if key in data else None
