"""Visiting: going to each address of a server and looking at what it shows, once for each TLS version.

Promises: takes bounded time and memory, whatever the server does; what it shows comes back as values, and a
visit that fails says why, in words. Nothing is sent after the handshake. Refuses to know what is good
(server.py) and how a host is written (cli/).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from certstore import is_address
from tlsproxy import policy_doctor as policy
from tlsproxy.config import UpstreamAddress, host_and_port
from tlsproxy.doctor.destination import Destination
from tlsproxy.errors import HandshakeError
from tlsproxy.net.dial import Dialler, Place, dial, resolve
from tlsproxy.net.stream import BROKEN, SocketStream
from tlsproxy.tls.engines import TLSFacts
from tlsproxy.tls.engines.probe import Version
from tlsproxy.tls.engines.visitor import Visitor

__all__ = ["Look", "Visit", "connected", "look_at", "look_at_places"]

_RECORDS = frozenset(range(20, 25))  # content types of TLS records (RFC 8446 appendix B.1)
_ANSWER_BYTES = 40


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visit brought. chain: DER, as it was shown; facts: None where no handshake came about.

    failure: why not, "" where it did. answer: the first bytes of a server that doesn't speak TLS.
    is_asked: whether it asked for a client's certificate, of which we have none.
    """

    version: Version
    is_connected: bool = False
    facts: TLSFacts | None = None
    chain: tuple[bytes, ...] = ()
    has_staple: bool = False
    failure: str = ""
    answer: bytes = b""
    is_asked: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether it shows what clients get, though a handshake may have lacked a client's certificate."""
        return bool(self.chain) and (self.facts is not None or self.is_asked)


@dataclass(frozen=True, slots=True)
class Look:
    """The visits to one of a server's addresses, the newest version first."""

    address: str
    visits: tuple[Visit, ...]

    @property
    def is_answered(self) -> bool:
        """Whether it shows what clients get."""
        return any(visit.is_answered for visit in self.visits)


async def look_at(
    destination: Destination,
    versions: Iterable[Version] = tuple(Version),
    connect_s: float = policy.CONNECT_S,
) -> tuple[Look, ...]:
    """Visit each address that the host has by each version, all at the same time; gives one look at least."""
    wanted = sorted(versions, reverse=True)
    address = UpstreamAddress("http", destination.host, destination.port)
    try:
        with trio.fail_after(connect_s):
            places = await resolve(address, trio.CapacityLimiter(1))
    except trio.TooSlowError:
        places, why = (), f"its address isn't found within {connect_s:g} s"
    except OSError as error:
        places, why = (), _why(error)
    else:
        why = ""
    if not places:
        return (Look(destination.host, tuple(Visit(version, failure=why) for version in wanted)),)
    distinct = tuple(dict.fromkeys(places))[: policy.ADDRESSES]
    return await look_at_places(distinct, destination.server_name, wanted, connect_s)


async def look_at_places(
    places: Sequence[Place], server_name: str, versions: Sequence[Version], connect_s: float
) -> tuple[Look, ...]:
    """Visit each place by each version; the looks come in the order of the places."""
    visits: dict[tuple[Place, Version], Visit] = {}

    async def one(place: Place, version: Version) -> None:
        visits[place, version] = await visit(place, server_name, version, connect_s)

    async with trio.open_nursery() as nursery:
        for place in places:
            for version in versions:
                nursery.start_soon(one, place, version)
    return tuple(
        Look(_shown(place), tuple(visits[place, version] for version in versions)) for place in places
    )


async def visit(place: Place, server_name: str, version: Version, connect_s: float) -> Visit:
    """Visit once; what goes wrong stands in the answer."""
    try:
        with trio.fail_after(connect_s):
            stream = SocketStream(await dial((place,)))
    except trio.TooSlowError:
        return Visit(version, failure=f"no connection within {connect_s:g} s")
    except OSError as error:
        return Visit(version, failure=_why(error))
    try:
        with trio.fail_after(policy.HANDSHAKE_S):
            return await _look(stream, server_name, version)
    except trio.TooSlowError:
        why = f"no handshake within {policy.HANDSHAKE_S:g} s"
        return Visit(version, is_connected=True, failure=why)
    finally:
        stream.close()


def _shown(place: Place) -> str:
    """Write a TCP address as people do."""
    where = place[1]
    assert isinstance(where, tuple)
    return host_and_port(str(where[0]), int(where[1]))


async def connected(address: UpstreamAddress) -> str:
    """Say why nobody can be connected to at an address; "" where somebody can."""
    try:
        stream = await Dialler(address, connect_s=policy.OWN_PORT_S)()
    except OSError as error:
        return _why(error)
    stream.close()
    return ""


async def _look(stream: SocketStream, server_name: str, version: Version) -> Visit:
    visitor = Visitor(version, None if is_address(server_name) else server_name)
    try:
        if (answer := await _shake_hands(stream, visitor)) is not None:
            return Visit(version, True, failure="it speaks another language", answer=answer)
        shown = visitor.chain_der(), visitor.has_staple()
        seen = Visit(version, True, visitor.facts(), *shown, is_asked=visitor.is_asked())
        visitor.shut()  # in good order, so that the server's log has nothing to complain of
        await stream.send_all(visitor.take())
    except HandshakeError as error:
        return _unfinished(version, visitor, error.reason.removeprefix("client_").replace("_", " "))
    except BROKEN:
        return _unfinished(version, visitor, "the server ends the connection")
    except ValueError as error:
        return Visit(version, True, failure=f"a certificate that it shows is damaged: {error}")
    return seen


def _unfinished(version: Version, visitor: Visitor, why: str) -> Visit:
    """Give what was seen until a handshake failed. Raises nothing: what can't be read wasn't seen."""
    asked = visitor.is_asked()
    with suppress(ValueError):
        chain, staple = visitor.chain_der() if asked else (), visitor.has_staple()
        return Visit(version, True, None, chain, staple, failure=why, is_asked=asked)
    return Visit(version, True, failure=why, is_asked=asked)


async def _shake_hands(stream: SocketStream, visitor: Visitor) -> bytes | None:
    """Shake hands, which gives None; or give the beginning of what a server says that speaks no TLS."""
    heard = 0
    while not visitor.handshake():
        if waiting := visitor.take():
            await stream.send_all(waiting)
        data = await stream.receive_some(policy.READ_BYTES)
        if not data:
            raise trio.BrokenResourceError
        if not heard and data[0] not in _RECORDS:
            return data[:_ANSWER_BYTES]
        heard += len(data)
        if heard > policy.HANDSHAKE_BYTES:
            raise HandshakeError("has_no_end")
        visitor.feed(data)
    return None


def _why(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
