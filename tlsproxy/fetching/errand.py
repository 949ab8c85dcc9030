"""One errand: fetches a small file over http, bounded in all it may cost, connected only to what was checked.

Promises: see the package. Every reason is in our own words; a cancelled errand leaves nothing open.

Theory. A name is resolved once and all of its addresses are judged; then we connect to such an address
itself, so that no second answer of the resolver can lead elsewhere (DNS rebinding). One address that may
not be asked refuses the name: an honest one has no such. Redirects are followed by us, each judged like the
first URL. Nothing of the environment is used (proxies, credentials), and a body that is packed
(Content-Encoding) is refused, for small ones unpack to large ones. The time is one for all: a server that
sends a byte now and then gets no more of it. h11 and a socket of ours, not httpx2: that connects to names,
and an answer that is given up leaves its generators to the garbage collector (2.16, tried).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Final
from urllib.parse import urljoin

import h11
import trio

from tlsproxy.fetching.destination import Address, Destination, Network, parse, plain, refusal
from tlsproxy.net.dial import Place, dial
from tlsproxy.net.stream import BROKEN, SocketStream

__all__ = ["FetchError", "Limits", "Post", "fetch"]

MOST_ADDRESSES: Final = 4  # that are tried of one name; each may take the rest of the time
MOST_HEAD_BYTES: Final = 16_384  # real heads have under a thousand
MOST_INTERIM: Final = 8  # answers 1xx before the answer
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class FetchError(Exception):
    """Nothing came of it; `why` says what kept it, in one line of ours."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Limits:
    """What one errand may cost: bytes of the answer's body, seconds in all, redirects that are followed."""

    size: int
    seconds: float
    redirects: int = 2


@dataclass(frozen=True, slots=True)
class Post:
    """What is sent along (an OCSP request is): the body and its media type."""

    body: bytes
    kind: str


@dataclass(slots=True)
class _Answer:
    """What came back; names of fields in lower case."""

    status: int
    fields: dict[str, str]
    body: bytearray = field(default_factory=bytearray)

    def content(self) -> bytes:
        """Give the body of what was asked for. Raises FetchError."""
        if self.status != 200:
            raise FetchError(f"it was answered {self.status}")
        if self.fields.get("content-encoding", "identity").lower() != "identity":
            raise FetchError("its answer is packed")
        if not self.body:
            raise FetchError("its answer is empty")
        return bytes(self.body)


async def fetch(url: str, limits: Limits, allow: Sequence[Network] = (), post: Post | None = None) -> bytes:
    """Fetch from an http URL; gives the body of its answer 200. Raises FetchError.

    allow: networks that may be asked although they aren't public, on any port.
    """
    with trio.move_on_after(limits.seconds):
        return await _follow(url, limits, allow, post)
    raise FetchError(f"it took longer than {limits.seconds:g} s")


async def _follow(url: str, limits: Limits, allow: Sequence[Network], post: Post | None) -> bytes:
    for _ in range(limits.redirects + 1):
        try:
            place = parse(url)
        except ValueError as error:
            raise FetchError(str(error)) from None
        addresses = await _addresses(place, allow)
        answer = await _ask(place, addresses, post, limits.size)
        if answer.status not in _REDIRECTS:
            return answer.content()
        try:
            url = urljoin(url, answer.fields.get("location", ""))
        except ValueError:
            raise FetchError("it was redirected to what is no URL") from None
        post = None if answer.status == 303 else post  # RFC 9110 section 15.4.4
    raise FetchError(f"it was redirected more than {limits.redirects} times")


async def _addresses(place: Destination, allow: Sequence[Network]) -> list[Address]:
    """Resolve, once, and judge all that comes."""
    try:
        found = [ip_address(place.host)]
    except ValueError:
        ask = partial(socket.getaddrinfo, place.host, place.port, type=socket.SOCK_STREAM)
        try:
            # a thread beside those that the store works in: a resolver that hangs must not use those up
            apart = trio.CapacityLimiter(1)
            answers = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=apart)
        except (OSError, UnicodeError, RuntimeError):  # RuntimeError: no thread is to be had
            raise FetchError(f"the address of {place.host} can't be found") from None
        found = list(dict.fromkeys(plain(ip_address(answer[4][0])) for answer in answers))
    for address in found:
        why = refusal(address, place.port, allow)
        if why is not None:
            raise FetchError(why if str(address) == place.host else f"{place.host}: {why}")
    return found[:MOST_ADDRESSES]


async def _ask(place: Destination, addresses: Sequence[Address], post: Post | None, size: int) -> _Answer:
    """Ask the first of the addresses that lets us connect."""
    try:
        stream = SocketStream(await dial(tuple(_place(address, place.port) for address in addresses)))
    except OSError:
        raise FetchError("the server can't be reached") from None
    try:
        return await _exchange(stream, place, post, size)
    except BROKEN:
        raise FetchError("it hung up") from None
    except h11.RemoteProtocolError:
        raise FetchError("its answer can't be read") from None
    finally:
        stream.close()


def _place(address: Address, port: int) -> Place:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, (str(address), port)


async def _exchange(stream: SocketStream, place: Destination, post: Post | None, size: int) -> _Answer:
    fields = [("host", place.authority), ("accept", "*/*"), ("connection", "close")]
    if post is not None:
        fields += [("content-type", post.kind), ("content-length", str(len(post.body)))]
    body = b"" if post is None else post.body
    talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD_BYTES)
    request = h11.Request(method="GET" if post is None else "POST", target=place.target, headers=fields)
    parts: tuple[h11.Event, ...] = (request, h11.Data(body), h11.EndOfMessage())
    await stream.send_all(b"".join(talk.send(part) or b"" for part in parts))
    answer = _Answer(0, {})
    heads = 0
    while True:
        event = talk.next_event()
        match event:
            case h11.NEED_DATA:
                talk.receive_data(await stream.receive_some())
            case h11.InformationalResponse():
                heads += 1
                if heads > MOST_INTERIM:
                    raise FetchError("its answer can't be read")
            case h11.Response():
                told = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                answer = _Answer(event.status_code, told)
            case h11.Data():
                answer.body += event.data
                if len(answer.body) > size:
                    raise FetchError(f"its answer is larger than {size} bytes")
            case _:
                return answer
