"""What goes between supervisor and helper, as values: settings, letters, and what became of them.

Pure. Promises: one message a packet, bounded; which events are news is decided here; a URL is shown without
what may be secret in it. Refuses to know how anything is sent.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import msgspec

from tlsproxy.observe.events import Event
from tlsproxy.privilege.facts import Confined

__all__ = [
    "RESULTS",
    "WAYS",
    "Done",
    "Errand",
    "Letter",
    "Luggage",
    "Renew",
    "Report",
    "Result",
    "Settings",
    "Standing",
    "Waiting",
    "Way",
    "decode",
    "encode",
    "is_news",
    "shown",
]

Way: TypeAlias = Literal["command", "webhook"]
Result: TypeAlias = Literal["delivered", "failed", "given_up", "dropped"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)
_OF_REVOKED: Final = frozenset({"certificate_revoked", "certificate_reinstated"})
RESULTS: Final[tuple[Result, ...]] = get_args(Result)


class Settings(msgspec.Struct, frozen=True, tag="settings"):
    """What was configured. account: name, uid, gid and groups of whom to be; None: stay.

    try_s: for one try. webhook_ca: a file with the authorities to trust instead of the system's. dns_hook:
    the command that sets records for ACME's dns-01, for so many seconds a call.
    """

    command: tuple[str, ...]
    webhook: str
    webhook_ca: str
    try_s: float
    dns_hook: tuple[str, ...] = ()
    dns_hook_s: float = 0.0
    account: tuple[str, int, int, tuple[int, ...]] | None = None


class Letter(msgspec.Struct, frozen=True, tag="letter"):
    """One event; text is the JSON that the hook gets as its one line, and the webhook as its body."""

    kind: str
    text: str


class Report(msgspec.Struct, frozen=True, tag="report"):
    """What became of a letter by one way, after so many tries. output: what the command wrote, cut."""

    kind: str
    way: Way
    result: Result
    tries: int
    why: str = ""
    output: str = ""


class Errand(msgspec.Struct, frozen=True, tag="errand"):
    """To the helper: call `dns_hook` once, with these words behind its own; `Done` with this id answers."""

    id: str
    words: tuple[str, ...]


class Done(msgspec.Struct, frozen=True, tag="done"):
    """What came of an errand. why: "" where the command ended with 0. last_line: of what it wrote."""

    id: str
    why: str
    last_line: str = ""


class Standing(msgspec.Struct, frozen=True, tag="standing"):
    """What the helper has given up, as it finds itself; said whenever it gets settings."""

    confined: Confined


class Renew(msgspec.Struct, frozen=True, tag="renew"):
    """To the helper: execute yourself anew, with what waits; your code may be another one by now."""


class Waiting(msgspec.Struct, frozen=True):
    """A letter that a helper takes along when it executes itself anew: tried so often, for so long (s)."""

    way: Way
    letter: Letter
    tries: int = 0
    age_s: float = 0.0


class Luggage(msgspec.Struct, frozen=True):
    """All that it takes along; those that wait in their order."""

    settings: Settings
    waiting: list[Waiting]


Message: TypeAlias = Settings | Letter | Report | Errand | Done | Standing | Renew
_DECODER: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """Write a packet."""
    return msgspec.json.encode(message)


def decode(packet: bytes) -> Message | None:
    """Read a packet; None for what is none of ours: the other side may be of another version."""
    try:
        return _DECODER.decode(packet)
    except msgspec.DecodeError:
        return None


def is_news(event: Event, wanted: tuple[str, ...]) -> bool:
    """Say whether an event is to be handed on, of those kinds that were asked for."""
    if event.kind == "receipt":
        return "refused" in wanted and event.facts.get("state") == "refused"
    if event.kind == "finding":
        return "revoked" in wanted and event.facts.get("code") in _OF_REVOKED
    return event.kind in wanted


def shown(url: str) -> str:
    """Show a URL's scheme, host and port: user, path and query may all be secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    hidden = parts.path.strip("/") or parts.query or "@" in parts.netloc
    return f"{parts.scheme}://{host}" + ("/..." if hidden else "")
