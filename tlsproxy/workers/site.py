"""What a worker's connections are given, made from the first word that it got: routes, upstreams, limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from certstore import SERVED_FOLDERS, is_address
from tlsproxy.config.addresses import parse_upstream
from tlsproxy.forward.clientgate import ClientGates
from tlsproxy.forward.dialling import Dial, dial_by
from tlsproxy.forward.site import Confirm, Forwarded, Limits, Observer, Site, make_upstream
from tlsproxy.http.head import DEFAULT_LIMITS
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.privilege.worker import Needs
from tlsproxy.routing.table import Route, RouteTable
from tlsproxy.upstream.guard import Guards
from tlsproxy.workers.guarding import rooms_of
from tlsproxy.workers.messages import Setup
from tlsproxy.workers.papers import read_terms
from tlsproxy.workers.worker import Capacity

__all__ = ["capacity_of", "dials_of", "needs_of", "site_of"]


def dials_of(setup: Setup) -> dict[str, Dial]:
    """Say how each upstream is reached. Before the fence: what TLS towards them needs is loaded here."""
    terms = read_terms(setup.terms_fd)
    return {
        name: dial_by(name, parse_upstream(name), setup.limits.connect_s, terms.get(name))
        for name in {upstream for _, upstream in setup.routes}
    }


@contextmanager
def site_of(  # noqa: PLR0913, PLR0917  each has another owner
    setup: Setup,
    sweeper: Sweeper,
    observer: Observer,
    guards: Guards | None = None,
    confirm: Confirm | None = None,
    strict: Callable[[bytes, bytes], None] | None = None,
    dials: Mapping[str, Dial] | None = None,
) -> Iterator[Site]:
    """Make the site; at the end the upstreams' idle connections are closed."""
    limits = setup.limits
    rooms = rooms_of(setup)
    upstreams = {
        name: make_upstream(name, dial, sweeper, rooms.get(name))
        for name, dial in (dials_of(setup) if dials is None else dials).items()
    }
    try:
        yield Site(
            routes=RouteTable(tuple(Route(path, upstream) for path, upstream in setup.routes)),
            upstreams=upstreams,
            sweeper=sweeper,
            limits=Limits(
                heads=replace(DEFAULT_LIMITS, head_bytes=limits.max_header_bytes),
                max_body_bytes=limits.max_body_bytes,
                requests=limits.requests_per_connection,
                header_s=limits.header_s,
                idle_s=limits.idle_s,
                body_s=limits.body_s,
                response_s=limits.response_s,
            ),
            forwarded=Forwarded(tuple(map(ip_network, setup.trust)), tell_bundle=setup.tell_bundle),
            observer=observer,
            trace=setup.log.trace,
            confirm=confirm,
            strict=strict,
            clients=ClientGates(setup.clients) if setup.clients else None,
            guards=guards,
        )
    finally:
        for upstream in upstreams.values():
            upstream.close()


def needs_of(setup: Setup) -> Needs:
    """Say what this worker must still reach once it is confined."""
    upstreams = [parse_upstream(name) for _, name in setup.routes]
    tcp = [upstream for upstream in upstreams if upstream.scheme != "unix"]
    return Needs(
        reads=[str(Path(setup.store, folder)) for folder in SERVED_FOLDERS],
        appends=[setup.key_log] if setup.key_log else (),
        ports=[upstream.port for upstream in tcp],
        resolves=any(not is_address(upstream.host) for upstream in tcp),
    )


def capacity_of(setup: Setup) -> Capacity:
    """Give this worker's share of what is configured."""
    limits = setup.limits
    return Capacity(limits.connections, limits.connections_per_address, limits.handshakes, limits.handshake_s)
