"""A worker's own counters: plain numbers that the hot path adds to.

Promises: counting a request costs a quarter of a microsecond (measured, docs/metrics.md says how): a lookup
by route, and additions at places of lists; no lock, no label object, nothing that is made and dropped. Only
the event loop counts. Whatever a label may say was known before the first client came, or is `other`.

Bytes cost a request nothing at all: the kernel counts them (net/tcpinfo.py), and is asked when a connection
ends, and for those that are open when somebody wants a snapshot.
"""

from __future__ import annotations

import socket
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from tlsproxy.errors import ClientProtocolError, Fault
from tlsproxy.forward.clientgate import ClientGate
from tlsproxy.forward.site import ClientFacts, ExchangeRecord
from tlsproxy.net.tcpinfo import carried_bytes
from tlsproxy.observe.clientele import Clientele
from tlsproxy.observe.labels import (
    CIPHERS,
    CLASSES,
    CLIENT_RESULTS,
    GROUPS,
    LEFT,
    NO_ROUTE,
    REASONS,
    REFUSALS,
    REFUSED,
    UNKNOWN_GROUP,
    UPSTREAM_KINDS,
    UPSTREAM_TLS,
    VERSIONS,
)
from tlsproxy.observe.metrics import HANDSHAKE_BOUNDS_S, OTHER, REQUEST_BOUNDS_S, SUM, Counted, Key
from tlsproxy.tls.clienthello import ClientHello
from tlsproxy.tls.engines import TLSFacts
from tlsproxy.tls.ja4 import ja4_of
from tlsproxy.tls.offers import offer_of

__all__ = ["Counters"]


class _Route:
    """What is counted for one route. durations: one place a bucket, the last for what is beyond."""

    __slots__ = ("classes", "durations", "seconds")

    def __init__(self) -> None:
        self.classes = [0] * len(CLASSES)
        self.durations = [0] * (len(REQUEST_BOUNDS_S) + 1)
        self.seconds = 0.0


class Counters:
    """Counts for one worker; implements `forward.site.Observer`, `failed` hears of exchanges with a code."""

    __slots__ = (
        "_by_route",
        "_durations",
        "_failed",
        "_handshake_s",
        "_others",
        "_received",
        "_sent",
        "clientele",
    )

    def __init__(
        self, routes: Iterable[str], upstreams: Iterable[str], failed: Callable[[ExchangeRecord], None]
    ) -> None:
        """Take the routes' paths and the upstreams' names, as exchanges will tell them."""
        self._by_route = {route: _Route() for route in (*routes, "")}
        self._failed = failed
        self.clientele = Clientele()
        """Which names clients ask for."""
        self._durations = [0] * (len(HANDSHAKE_BOUNDS_S) + 1)
        self._handshake_s = 0.0
        self._received = self._sent = 0
        self._others: dict[Key, int] = {
            ("tlsproxy_upstream_errors_total", upstream, kind): 0
            for upstream in upstreams
            for kind in UPSTREAM_KINDS
        }

    # --- Observer

    def exchange_done(self, record: ExchangeRecord) -> None:
        """Count an exchange."""
        route = self._by_route[record.route]
        status = record.status
        route.classes[status // 100] += 1
        if status != 101:  # it lasts as long as its tunnel
            seconds = record.seconds
            route.durations[bisect_left(REQUEST_BOUNDS_S, seconds)] += 1
            route.seconds += seconds
        if record.code in REFUSED:
            reason = REFUSED[record.code]
            self._count("tlsproxy_upstream_refusals_total", record.upstream, record.route, reason)
            if reason == "busy":
                self._failed(record)  # the other is told once, by who says so
        elif record.code:
            if record.fault is Fault.UPSTREAM:
                self._count("tlsproxy_upstream_errors_total", record.upstream, _kind_of(record))
            self._failed(record)

    def request_refused(self, _client: ClientFacts, error: ClientProtocolError) -> None:
        """Count a request that the gate didn't let in."""
        status = str(error.status) if error.status in REFUSALS else OTHER
        self._count("tlsproxy_requests_refused_total", status)

    def connection_ended(self, sock: socket.socket) -> None:
        """Add what a connection has carried; its socket is still open."""
        received, sent = carried_bytes(sock)
        self._received += received
        self._sent += sent

    # --- what isn't an exchange

    def hello_heard(self, hello: ClientHello, is_ours: bool = False) -> None:  # noqa: FBT001, FBT002  `Heard`'s shape
        """Count what a client offers, before it is known whether its handshake succeeds; and its name."""
        self._count("tlsproxy_hellos_total", *offer_of(hello))
        if is_ours and hello.server_name is not None:
            self.clientele.hear(hello.server_name)

    def handshake_done(self, facts: TLSFacts, seconds: float) -> None:
        """Count a handshake that succeeded."""
        group = UNKNOWN_GROUP if facts.group is None else GROUPS.get(facts.group.lower(), OTHER)
        version = facts.version if facts.version in VERSIONS else OTHER
        cipher = facts.cipher if facts.cipher in CIPHERS else OTHER
        self._count("tlsproxy_handshakes_total", version, group, cipher, "true" if facts.resumed else "false")
        self._count("tlsproxy_handshake_signatures_total", facts.signature)
        self._durations[bisect_left(HANDSHAKE_BOUNDS_S, seconds)] += 1
        self._handshake_s += seconds

    def client_known(self, gate: ClientGate) -> None:
        """Count a client that was asked for its certificate, and has got through its handshake."""
        accepted = "accepted" if gate.identity is not None else "none"
        self._count("tlsproxy_client_certificates_total", gate.result or accepted)

    def handshake_failed(self, reason: str, hello: bytes = b"") -> None:
        """Count one that didn't; `hello`: the bytes of its hello, where that was whole."""
        known = reason if reason in REASONS else OTHER
        self._count("tlsproxy_handshake_failures_total", known)
        if hello and reason not in LEFT and (fingerprint := ja4_of(hello)) is not None:
            self.clientele.refuse(known, fingerprint)
        if reason in CLIENT_RESULTS:
            self._count("tlsproxy_client_certificates_total", reason)

    def connection_faulted(self) -> None:
        """Count a connection that ended by a fault of ours."""
        self._count("tlsproxy_connection_faults_total")

    def _count(self, *key: str) -> None:
        self._others[key] = self._others.get(key, 0) + 1

    # --- snapshot

    def counted(self, still_open: Iterable[socket.socket]) -> Counted:
        """Give everything that was counted, with the bytes of connections that are still open."""
        received, sent = self._received, self._sent
        for sock in still_open:
            more_received, more_sent = carried_bytes(sock)
            received += more_received
            sent += more_sent
        return [
            (("tlsproxy_received_bytes_total",), float(received)),
            (("tlsproxy_sent_bytes_total",), float(sent)),
            *self._of_routes(),
            *_buckets(
                ("tlsproxy_handshake_duration_seconds",),
                HANDSHAKE_BOUNDS_S,
                self._durations,
                self._handshake_s,
            ),
            *((key, float(count)) for key, count in self._others.items()),
        ]

    def _of_routes(self) -> Iterator[tuple[Key, float]]:
        for path, one in self._by_route.items():
            route = path or NO_ROUTE
            for name, count in zip(CLASSES, one.classes, strict=True):
                if count:
                    yield ("tlsproxy_requests_total", route, name), float(count)
            key = ("tlsproxy_request_duration_seconds", route)
            if any(one.durations):
                yield from _buckets(key, REQUEST_BOUNDS_S, one.durations, one.seconds)


def _buckets(
    key: Key, bounds: tuple[float, ...], counts: list[int], seconds: float
) -> Iterator[tuple[Key, float]]:
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        yield (*key, bound), float(count)
    yield (*key, SUM), seconds


def _kind_of(record: ExchangeRecord) -> str:
    if record.code == "upstream_unreachable":
        return "unreachable"
    if record.code != "upstream_failed":
        return UPSTREAM_TLS.get(record.code, "protocol")
    return "timeout" if record.status == 504 else "broken"
