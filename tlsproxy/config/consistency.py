"""What no single key shows: listeners that collide, routes that repeat, paths that can't work together.

Pure: a draft goes in, complaints come out, each with the path of the key that it is about. The draft may
come from a file or from a command line.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path as FilePath

from tlsproxy.config.acme import find_acme_contradictions
from tlsproxy.config.addresses import MAX_SOCKET_PATH_BYTES, is_loopback, overlap
from tlsproxy.config.clientauth import find_client_contradictions
from tlsproxy.config.commands import why_unfit
from tlsproxy.config.health import find_health_contradictions
from tlsproxy.config.lines import Path
from tlsproxy.config.upstreamtls import advise_upstream_tls, find_tls_contradictions
from tlsproxy.config.values import (
    AcmeConfig,
    ChecksConfig,
    Config,
    ControlConfig,
    ForwardedConfig,
    IdentityConfig,
    LimitsConfig,
    ListenerConfig,
    LogConfig,
    MetricsConfig,
    NotifyConfig,
    RouteConfig,
    TLSConfig,
    WatchConfig,
    Workers,
)
from tlsproxy.policy_clients import ClientAuth

Complaint = tuple[Path, str, str]


@dataclass(slots=True)
class Draft:
    """A configuration in the making; each list entry is kept under the key path where it stands."""

    store: FilePath
    runtime: FilePath
    listeners: dict[Path, ListenerConfig] = field(default_factory=dict)
    routes: dict[Path, RouteConfig] = field(default_factory=dict)
    watches: dict[Path, WatchConfig] = field(default_factory=dict)
    inbox: FilePath | None = None
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    forwarded: ForwardedConfig = field(default_factory=ForwardedConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    tls: TLSConfig = field(default_factory=TLSConfig)
    checks: ChecksConfig = field(default_factory=ChecksConfig)
    workers: Workers = "auto"
    user: str = ""
    group: str = ""
    control: ControlConfig = field(default_factory=ControlConfig)
    metrics: MetricsConfig | None = None
    log: LogConfig = field(default_factory=LogConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    client_auth: dict[Path, ClientAuth] = field(default_factory=dict)
    acme: AcmeConfig = field(default_factory=AcmeConfig)

    def finished(self) -> Config:
        """Give the configuration; only for a draft without contradictions."""
        return Config(
            store=self.store,
            runtime=self.runtime,
            listeners=tuple(self.listeners.values()),
            routes=tuple(self.routes.values()),
            inbox=self.inbox or self.store / "inbox",
            watches=tuple(self.watches.values()),
            identity=self.identity,
            forwarded=self.forwarded,
            limits=self.limits,
            tls=self.tls,
            checks=self.checks,
            workers=self.workers,
            user=self.user,
            group=self.group,
            control=self.control,
            metrics=self.metrics,
            log=self.log,
            notify=self.notify,
            client_auth=tuple(self.client_auth.values()),
            acme=self.acme,
        )


def find_contradictions(draft: Draft, is_wrong: Callable[[Path], bool]) -> Iterator[Complaint]:
    """Find everything that can't work together.

    `is_wrong` says whether something at or below a key was complained about before: what is wrong already
    is not called missing as well.
    """
    command = draft.notify.command
    if why := why_unfit(command):
        yield ("notify", "command"), why, 'as in command = ["/usr/local/bin/hook", "--device"]'
    if not is_wrong(("listener",)):
        yield from _missing_listener(draft.listeners)
    if not draft.routes and not is_wrong(("route",)):
        yield (
            ("route",),
            "is missing: nothing would be served",
            'add [[route]] with upstream = "http://127.0.0.1:3000"',
        )
    yield from _collisions(draft.listeners)
    yield from _metrics_collisions(draft)
    yield from _repeated_routes(draft.routes)
    yield from find_health_contradictions(draft.routes)
    yield from find_tls_contradictions(draft.routes)
    if not is_wrong(("acme",)):
        yield from find_acme_contradictions(draft.acme, draft.listeners.values())
    yield from find_client_contradictions(draft.client_auth, tuple(draft.listeners.values()))
    yield from _loops(draft)
    yield from _paths(draft)
    if draft.checks.aia_allow and not draft.checks.aia:
        yield ("checks", "aia_allow"), "stands without aia: nothing is fetched", "add aia = true"
    if draft.checks.revocation_allow and not draft.checks.revocation:
        hint = "add revocation = true"
        yield ("checks", "revocation_allow"), "stands without revocation: nobody is asked", hint
    if draft.group and not draft.user:
        yield ("group",), "stands without a user", 'add user = "tlsproxy"'


def advise(draft: Draft) -> Iterator[Complaint]:
    """Find what works, but deserves a second look."""
    for path, route in draft.routes.items():
        if not route.upstream.is_local and route.upstream.scheme == "http":
            why = f"{route.upstream} is another machine: requests to it cross the network in the clear"
            yield (*path, "upstream"), why, "that is safe on a network that only your devices are on"
    yield from advise_upstream_tls(draft.routes)
    if draft.tls.key_log is not None:
        why = "the secrets of all sessions are written there: who has them reads what clients say"
        yield ("tls", "unsafe_key_log"), why, "leave it out, and remove the file, when you have seen enough"
    if draft.metrics is not None and not is_loopback(draft.metrics.host):
        why = f"metrics are told to everybody who reaches {draft.metrics.address}"
        yield ("metrics_listen",), why, "they name certificates, routes and services"
    if draft.identity.localhost:
        why = "the device's own certificate will be good for localhost"
        yield ("identity", "localhost"), why, "whoever trusts it lets the device speak for their own machine"
    yield from _advise_who_asks(draft)
    for network in draft.forwarded.trust:
        if network.prefixlen == 0:
            yield (
                ("forwarded", "trust"),
                f"{network} believes every client",
                "name only the proxies before this one",
            )


def _advise_who_asks(draft: Draft) -> Iterator[Complaint]:
    control = draft.control
    if (control.users or control.groups) and draft.store in {draft.runtime, *draft.runtime.parents}:
        why = "others may ask, and can't get to the socket: it lies in the store, which is closed to them"
        yield ("control",), why, 'name another folder for it: runtime = "/run/tlsproxy"'
    elif control.users and not control.mode & 0o002:
        why = f"the socket's mode {control.mode:04o} keeps out users who aren't in its group"
        hint = 'mode = "0666" lets anybody connect; who isn\'t named here is answered 403'
        yield ("control", "users"), why, hint


def _missing_listener(listeners: Mapping[Path, ListenerConfig]) -> Iterator[Complaint]:
    if not listeners:
        yield ("listener",), "is missing: nobody could connect", 'add [[listener]] with address = "[::]:443"'
    elif all(listener.kind != "tls" for listener in listeners.values()):
        yield ("listener",), 'has no listener of kind = "tls"', "one of kind http only redirects to it"


def _collisions(listeners: Mapping[Path, ListenerConfig]) -> Iterator[Complaint]:
    for (_, first), (path, second) in combinations(listeners.items(), 2):
        if overlap((first.host, first.port), (second.host, second.port)):
            same = (first.host, first.port) == (second.host, second.port)
            why = f"{second.address} is {'the same as' if same else 'already included in'} {first.address}"
            hint = (
                "[::] and * listen on IPv4 and IPv6; keep one of the two"
                if not same
                else "keep one of the two"
            )
            yield (*path, "address"), why, hint


def _metrics_collisions(draft: Draft) -> Iterator[Complaint]:
    if (metrics := draft.metrics) is None:
        return
    for listener in draft.listeners.values():
        if overlap((metrics.host, metrics.port), (listener.host, listener.port)):
            why = f"{metrics.address} is taken by the listener {listener.address}"
            yield ("metrics_listen",), why, "name another port, as in 127.0.0.1:9469"


def _repeated_routes(routes: Mapping[Path, RouteConfig]) -> Iterator[Complaint]:
    seen: dict[str, RouteConfig] = {}
    for path, route in routes.items():
        if first := seen.get(route.path):
            why = f"{route.path} already goes to {first.upstream}"
            yield (*path, "path"), why, "each path belongs to one upstream"
        seen.setdefault(route.path, route)


def _loops(draft: Draft) -> Iterator[Complaint]:
    for path, route in draft.routes.items():
        for listener in draft.listeners.values():
            if route.upstream.scheme != "unix" and listener.port == route.upstream.port:
                everywhere = listener.host in {"::", "0.0.0.0"} and is_loopback(route.upstream.host)  # noqa: S104  compared
                if everywhere or listener.host == route.upstream.host:
                    why = f"{route.upstream} is this proxy's own listener {listener.address}"
                    yield (*path, "upstream"), why, "name the address of the service behind it"


def _paths(draft: Draft) -> Iterator[Complaint]:
    socket = os.fsencode(draft.runtime / "control.sock")
    if len(socket) > MAX_SOCKET_PATH_BYTES:
        most = f"the system takes {MAX_SOCKET_PATH_BYTES}"
        why = f"the path of the control socket in it would have {len(socket)} bytes; {most}"
        yield ("runtime",), why, 'name a shorter folder for it: runtime = "/run/tlsproxy"'
    inbox = draft.inbox or draft.store / "inbox"
    if inbox == draft.store:
        yield (
            ("inbox", "path"),
            "the inbox can't be the store itself",
            'leave it out: it is then "inbox" in the store',
        )
    taken = {inbox: "the inbox"}
    for path, watch in draft.watches.items():
        if what := taken.get(watch.path):
            yield (*path, "path"), f"{watch.path} is already {what}", "watch each folder once"
        elif watch.path == draft.store or draft.store in watch.path.parents:
            yield (
                (*path, "path"),
                f"{watch.path} lies in the store",
                "put certificates into the inbox instead",
            )
        taken.setdefault(watch.path, "watched")
