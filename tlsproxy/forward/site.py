"""What every connection is given: routes, upstreams, limits, and who is told; one frozen value a worker.

Promises: values and a join or two, nothing that runs; the composition root makes one `Site` and shares it.
Refuses to know configuration files and where the numbers come from.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

import msgspec

from tlsproxy import policy
from tlsproxy.errors import ClientProtocolError, Fault
from tlsproxy.forward.clientgate import ClientGate, ClientGates
from tlsproxy.http.head import DEFAULT_LIMITS, HeadLimits
from tlsproxy.net.stream import ByteStream
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.routing.table import RouteTable
from tlsproxy.upstream.connection import Lendable, Upstream, UpstreamConnection
from tlsproxy.upstream.guard import Guards
from tlsproxy.upstream.room import Room
from tlsproxy.word import Judgement


class UpstreamStream(ByteStream, Lendable, Protocol):
    """A connection to an upstream, TLS or not."""


SocketUpstream = Upstream[UpstreamStream]
SocketConnection = UpstreamConnection[UpstreamStream]


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What is known of a client before its first request.

    peer: its IP address as text, "" for a UNIX socket; scheme: "https" or "http"; local: what to call
    ourselves where an HTTP/1.0 client names no host (the address it connected to); fingerprint and
    generation: the bundle that serves this connection, as `Tlsproxy-Bundle` and `Tlsproxy-Generation` tell
    it; bundle: its id, by which connections are ended. gate: what its certificate lets it ask for; None where
    nobody is asked for one.
    """

    peer: str
    scheme: str
    local: str = "localhost"
    fingerprint: str = ""
    generation: int = 0
    bundle: str = ""
    gate: ClientGate | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client or an upstream may take; bytes and seconds (see policy.py for each)."""

    heads: HeadLimits = DEFAULT_LIMITS
    max_body_bytes: int = policy.MAX_BODY_BYTES
    requests: int = policy.REQUESTS_PER_CONNECTION
    header_s: float = policy.HEADER_S
    idle_s: float = policy.IDLE_S
    body_s: float = policy.BODY_S
    response_s: float = policy.RESPONSE_S
    send_s: float = policy.SEND_S
    linger_s: float = policy.LINGER_S


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Whose X-Forwarded-* is believed, and whether upstreams are told the bundle."""

    trust: tuple[IPv4Network | IPv6Network, ...] = ()
    tell_bundle: bool = False

    def trusts(self, peer: str) -> bool:
        """Say whether `peer` (an IP address as text, scope and all) is one whose word counts."""
        if not self.trust or not peer:
            return False
        address = ip_address(peer.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 client on a dual-stack socket
        return any((mapped or address) in network for network in self.trust)


# one for each request: http/head.py says why no dataclass
class ExchangeRecord(msgspec.Struct, frozen=True, gc=False):
    """What became of one exchange.

    status: what the client was sent, 0 where it left before; code: what went wrong, "" for nothing;
    body_bytes: of the response (of both ways in a tunnel); seconds: from the complete request head to the
    end. route: the path by which it is configured, "" for none; fault: whose `code` it is; trace: the
    W3C trace id, b"" where none is wanted; detail: more of `code`, in words.
    """

    client: ClientFacts
    method: bytes
    target: bytes
    upstream: str
    status: int
    code: str
    body_bytes: int
    seconds: float
    route: str = ""
    fault: Fault | None = None
    trace: bytes = b""
    detail: str = ""


class Observer(Protocol):
    """Who wants to hear of it all; called on the event loop, so it must be quick and must not raise."""

    def exchange_done(self, record: ExchangeRecord) -> None:
        """Take note of an exchange that has ended, well or badly."""
        ...

    def request_refused(self, client: ClientFacts, error: ClientProtocolError) -> None:
        """Take note of a request head that was not let in: it never became an exchange."""
        ...

    def connection_ended(self, sock: socket.socket) -> None:
        """Take note of a client's connection that is about to be closed; the socket is still open."""
        ...


Confirm = Callable[[bytes, ClientFacts], Awaitable[Judgement]]
"""Has a word judged that a client sent; returns in bounded time."""


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that one worker forwards with."""

    routes: RouteTable
    upstreams: Mapping[str, SocketUpstream]
    sweeper: Sweeper
    limits: Limits = field(default_factory=Limits)
    forwarded: Forwarded = field(default_factory=Forwarded)
    observer: Observer | None = None
    trace: bool = False
    """Whether each request has a W3C trace context when it goes on."""
    confirm: Confirm | None = None
    """Who judges confirmations that come over the network; None: nobody, and their path is like any other."""
    strict: Callable[[bytes, bytes], None] | None = None
    """Is told of a request's Host and its response's Strict-Transport-Security; once each client."""
    clients: ClientGates | None = None
    """Who says what a client's certificate lets it ask for; None where nobody is asked for one."""
    guards: Guards | None = None
    """Who stands before upstreams that may be down; None where no route asks for that, nor has a room."""


def make_upstream(
    name: str, dial: Callable[[], Awaitable[UpstreamStream]], sweeper: Sweeper, room: Room | None = None
) -> SocketUpstream:
    """Join an upstream to its dialler (forward/dialling.py) and the sweeper; `close()` it at the end."""
    upstream = Upstream(name, dial, sweeper, room)
    sweeper.add(upstream)
    return upstream
