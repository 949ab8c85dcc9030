"""One check of an upstream: a request of our own, and whether it was answered as wanted.

Promises: over within its time; a new connection each time, which is ended in good order, so that a service's
log stays quiet; of the answer only the status is believed, and a bounded part is read. Never raises for what
the other side does. Refuses to know how a connection is opened, and what follows from the outcome.

Theory. Connecting alone proves little: a kernel accepts for a service that hangs. So something is asked, by
GET (some services know no HEAD), and an answer is waited for. A check that goes over a kept connection would
pass while new ones are refused. What *we* lack (descriptors, memory) says nothing about the service: such a
check was not made.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from tlsproxy import policy_health as policy
from tlsproxy.errors import UpstreamTLSError
from tlsproxy.upstream.guard import SHORTAGES
from tlsproxy.upstream.streak import is_among

__all__ = ["PASSED", "RESULTS", "SKIPPED", "Outcome", "probe", "request_for"]

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_MOST_LINE_BYTES = 4_096
_READ_BYTES = 16_384


class Stream(Protocol):
    """What a check needs of a connection."""

    async def receive_some(self, max_bytes: int = 65536, /) -> bytes:
        """Return what comes, b"" at the end."""
        ...

    async def send_all(self, data: bytes, /) -> None:
        """Send everything."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check: a word for programs, and words for people where it failed."""

    result: str
    words: str = ""


PASSED: Final = Outcome("passed")
SKIPPED: Final = Outcome("skipped")
RESULTS: Final = ("passed", "unreachable", "tls", "timeout", "broken", "protocol", "status", "skipped")


def request_for(host: str, path: str) -> bytes:
    """Write the request of a check; host: as its Host field has it."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tlsproxy-check\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


async def probe(
    dial: Callable[[], Awaitable[Stream]], request: bytes, timeout_s: float, wanted: Collection[str]
) -> Outcome:
    """Check once. wanted: statuses that pass, as configured."""
    outcome = Outcome("timeout", f"no answer within {timeout_s:g} s")
    with trio.move_on_after(timeout_s):
        try:
            stream = await dial()
        except TimeoutError:
            return outcome
        except OSError as error:
            return _unreachable(error)
        except UpstreamTLSError as error:
            return Outcome("tls", error.detail)
        try:
            outcome = await _ask(stream, request, wanted)
            with suppress(*_BROKEN, UpstreamTLSError):
                await _read_past(stream)
        finally:
            stream.close()
    return outcome


async def _ask(stream: Stream, request: bytes, wanted: Collection[str]) -> Outcome:
    """Send the request and read the status of the final response."""
    ended = Outcome("broken", "it ends the connection without an answer")
    try:
        await stream.send_all(request)
        data = b""
        while True:
            found = _STATUS.match(data)
            if found is not None and (status := int(found[1])) >= 200:
                passed = is_among(status, wanted)
                return PASSED if passed else Outcome("status", f"the check is answered {status}")
            if found is not None and (end := data.find(b"\r\n\r\n")) >= 0:  # an interim response
                data = data[end + 4 :]
                continue
            if found is None and (b"\n" in data or len(data) > _MOST_LINE_BYTES):
                return Outcome("protocol", "what it answers is no HTTP/1.1")
            if len(data) > policy.CHECK_READ_BYTES:
                return Outcome("protocol", "its answer has no end")
            more = await stream.receive_some(_READ_BYTES)
            if not more:
                return ended
            data += more
    except UpstreamTLSError as error:
        return Outcome("tls", error.detail)
    except _BROKEN:
        return ended


async def _read_past(stream: Stream) -> None:
    """Read what is left of the answer: to close before that would be a reset, which services log."""
    left = policy.CHECK_READ_BYTES
    while left > 0 and (data := await stream.receive_some(_READ_BYTES)):
        left -= len(data)


def _unreachable(error: OSError) -> Outcome:
    if error.errno in SHORTAGES:
        return SKIPPED
    return Outcome("unreachable", f"it can't be reached: {(error.strerror or str(error)).lower()}")
