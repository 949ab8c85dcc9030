"""One operation of the API as a value: what may be asked, how it is answered, and by whom.

Promises: the table of operations is the one place that knows this. Requests are held against it before a
handler sees them (application.py), and the OpenAPI document is made of it (openapi.py), so that the two can't
drift apart. Refuses to know HTTP's wire and what the answers mean.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from tlsproxy.control.backing import Backing
from tlsproxy.control.peers import Peer
from tlsproxy.control.values import JSON_TYPE

__all__ = [
    "Answer",
    "Ask",
    "Operation",
    "Parameter",
    "choice",
    "count",
    "flag",
    "number_in_path",
    "text",
    "text_in_path",
]

_FLAGS = {"": True, "true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A part of the path or of the query; `parse` raises ValueError for what doesn't fit its schema."""

    name: str
    words: str
    schema: Mapping[str, object]
    parse: Callable[[str], Any]
    in_path: bool = False
    default: object = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered when all goes well: a status, the type of its document, or another media type."""

    words: str
    document: type | None = None
    status: int = 200
    media: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that fits its operation; `query` and `path` hold parsed values."""

    connection: HTTPConnection
    backing: Backing
    path: Mapping[str, Any]
    query: Mapping[str, Any]

    @property
    def request(self) -> Request:
        """The request, where it is one."""
        assert isinstance(self.connection, Request)
        return self.connection

    @property
    def websocket(self) -> WebSocket:
        """The WebSocket, where it is one."""
        assert isinstance(self.connection, WebSocket)
        return self.connection

    @property
    def peer(self) -> Peer:
        """Who asks, as the kernel says."""
        peer: Peer = self.connection.state.peer
        return peer


@dataclass(frozen=True, slots=True)
class Operation:
    """What may be asked by one method at one path.

    bodies: the media types that are taken, with their documents. problems: the statuses of what may go wrong
    here, beside what may go wrong everywhere.
    """

    method: str
    path: str
    id: str
    words: str
    handle: Callable[[Ask], Awaitable[Response]]
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    bodies: Mapping[str, type] = field(default_factory=dict)
    problems: tuple[int, ...] = ()
    follow: Callable[[Ask], Awaitable[None]] | None = None
    """What is done where a WebSocket is asked for."""

    @property
    def media(self) -> tuple[str, ...]:
        """The media types of its answers."""
        return tuple(dict.fromkeys(one.media for one in self.answers if one.status != 101))


def flag(name: str, words: str) -> Parameter:
    """Make a yes-or-no parameter of a query; its name alone means yes."""

    def parse(text: str) -> bool:
        if text not in _FLAGS:
            raise ValueError("it is true or false")
        return _FLAGS[text]

    return Parameter(name, words, {"type": "boolean"}, parse, default=False)


def count(name: str, words: str, *, least: int, most: int, default: int | None) -> Parameter:
    """Make a number in a query."""
    schema: dict[str, object] = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    return Parameter(name, words, schema, _whole(least, most), default=default)


def number_in_path(name: str, words: str) -> Parameter:
    """Make a number in a path."""
    most = 10**15
    schema = {"type": "integer", "minimum": 0, "maximum": most}
    return Parameter(name, words, schema, _whole(0, most), in_path=True)


def text_in_path(name: str, words: str, pattern: str, parse: Callable[[str], Any] = str) -> Parameter:
    """Make a text in a path that fits a pattern."""

    def parse_fitting(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"it doesn't fit {pattern}")
        return parse(text)

    return Parameter(name, words, {"type": "string", "pattern": f"^{pattern}$"}, parse_fitting, in_path=True)


def text(name: str, words: str, pattern: str, default: str | None = None) -> Parameter:
    """Make a text in a query that fits a pattern."""
    schema: dict[str, object] = {"type": "string", "pattern": f"^{pattern}$"}
    if default is not None:
        schema["default"] = default
    return Parameter(name, words, schema, text_in_path(name, words, pattern).parse, default=default)


def choice(name: str, words: str, *values: str) -> Parameter:
    """Make a text in a query that is one of these; the first is the default."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"it is one of {', '.join(values)}")
        return text

    schema = {"type": "string", "enum": list(values), "default": values[0]}
    return Parameter(name, words, schema, parse, default=values[0])


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"it is a whole number from {least} to {most}")
        return int(text)

    return parse
