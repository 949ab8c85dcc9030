"""Surroundings: whether our own ports show what we serve, and whether the services behind them are there.

Promises: looks from outside, as a client does, at a bounded number of ports and services, all at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from certstore import Finding, found, load_certificate, subject_words
from tlsproxy import policy_doctor as policy
from tlsproxy.config import Config, RouteConfig, UpstreamAddress, parse_listen
from tlsproxy.doctor.destination import Destination
from tlsproxy.doctor.visiting import connected, look_at
from tlsproxy.observe.status import ListenerStatus, Status
from tlsproxy.tls.engines.probe import Version

__all__ = ["look_around"]


async def look_around(config: Config | None, status: Status) -> tuple[Finding, ...]:
    """Look at the listeners of a proxy that runs, and at the services of a configuration."""
    served = frozenset(bundle.fingerprint for bundle in status.bundles)
    looks: list[Callable[[], Awaitable[Finding | None]]] = [
        partial(_listener, one, served) for one in status.listeners[: policy.LOOKED_AT]
    ]
    routes = config.routes[: policy.LOOKED_AT] if config is not None else ()
    looks += [partial(_service, route) for route in routes]
    found_by: dict[int, Finding] = {}

    async def look(number: int) -> None:
        finding = await looks[number]()
        if finding is not None:
            found_by[number] = finding

    async with trio.open_nursery() as nursery:
        for number in range(len(looks)):
            nursery.start_soon(look, number)
    return tuple(found_by[number] for number in sorted(found_by))


async def _listener(listener: ListenerStatus, served: frozenset[str]) -> Finding | None:
    host = _from_here(parse_listen(listener.address)[0])
    if listener.kind != "tls":
        why = await connected(UpstreamAddress("http", host, listener.port))
        return found("port_silent", address=listener.address, why=why) if why else None
    (look, *_) = await look_at(Destination(host, host, listener.port), (Version.TLS13,), policy.OWN_PORT_S)
    seen = look.visits[0]
    if not seen.is_answered:
        return found("port_silent", address=listener.address, why=seen.failure)
    leaf = seen.chain[0]
    if served and hashlib.sha256(leaf).hexdigest() not in served:
        return found("port_strange", address=listener.address, subject=_subject(leaf))
    return None


async def _service(route: RouteConfig) -> Finding | None:
    why = await connected(route.upstream)
    return found("upstream_silent", path=route.path, upstream=route.upstream, why=why) if why else None


def _from_here(host: str) -> str:
    """Say how an address that means all addresses is reached from this machine."""
    return {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(host, host)  # noqa: S104  read, not bound


def _subject(der: bytes) -> str:
    try:
        return subject_words(load_certificate(der))
    except ValueError:
        return "one that can't be read"
