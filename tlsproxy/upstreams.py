"""Whether the services behind us are up: checks them, hears of workers' breakers, and tells of changes once.

Promises: each distinct check is made once, here, however many workers and routes there are; what it says
reaches every worker, also one that is born later, and goes over a reload; a worker that dies stops nothing.
A change is logged and told once. Refuses to know what a worker does with it (upstream/guard.py), and when a
check passes (upstream/probe.py, upstream/streak.py).

Theory. *Why here.* A check in each worker would be as many times the load, and workers would disagree; one in
a chosen worker would need an election whenever that one dies or is replaced. The supervisor is always there
and is alone. It talks to the device's own service, never to a client, and of the answer only a status line of
a few digits is read (its fence restricts writing to files, not connecting). *Never locked out.* Nothing is
down before checks have said so; workers believe "down" for a while only (`policy_health.CHECK_HOLDS`), so it
is said again with every check; and what we lack ourselves (descriptors) counts for nothing. *What a worker
says* of its breaker is only shown, never passed on to another worker, and only for upstreams that it was born
with: one that is no longer itself can make us say something wrong, and take nothing down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from certstore import Finding
from tlsproxy import policy_health as policy
from tlsproxy.config import HealthCheckConfig, RouteConfig, UpstreamAddress, host_and_port
from tlsproxy.net.dial import Dialler
from tlsproxy.observe.log import logger
from tlsproxy.observe.metrics import Key
from tlsproxy.observe.upstreams import UpstreamStatus, terms_findings
from tlsproxy.terms import NO_TERMS, Terms
from tlsproxy.upstream.probe import Outcome, probe, request_for
from tlsproxy.upstream.streak import Streak
from tlsproxy.workers.messages import Checked
from tlsproxy.workers.remote import Stage

if TYPE_CHECKING:
    from tlsproxy.forward.dialling import Dial

__all__ = ["Upstreams"]

_log = logger("upstreams")

_OF_KIND: Final = {
    "unreachable": "it can't be reached",
    "tls": "no TLS connection to it comes about",
    "timeout": "it takes too long to answer",
    "broken": "it ends connections without an answer",
    "status": "it answers with a status that counts as a failure",
}


class Worker(Protocol):
    """What must be known of a worker: workers.remote.RemoteWorker."""

    stage: Stage
    tripped: dict[str, str]

    def tell(self, message: Checked) -> None:
        """Send it something."""
        ...


@dataclass(slots=True)
class _Check:
    """A check that is made, for all routes that want the same."""

    address: UpstreamAddress
    config: HealthCheckConfig
    streak: Streak
    why: str = ""
    failed_at: datetime | None = None

    @property
    def said(self) -> Checked:
        """What workers are told."""
        key = str(self.address), self.config.path
        if self.streak.is_up:
            return Checked(*key)
        every = self.config.interval_s
        holds = max(policy.CHECK_HOLDS * (every + self.config.timeout_s), policy.CHECK_HOLDS_LEAST_S)
        return Checked(*key, retry_s=self.streak.to_go * every, holds_s=holds)


class Upstreams:
    """All upstreams that somebody watches. `run` once, inside trio.

    on_change: hears of each that is up, or down, from now on; count: counts one, by a metric's name and
    labels.
    """

    def __init__(
        self,
        routes: Iterable[RouteConfig],
        clock: Callable[[], datetime],
        before: Sequence[UpstreamStatus] = (),
        terms: Mapping[str, Terms] = NO_TERMS,
    ) -> None:
        """Take what the image before a reload knew, and the terms of those that speak TLS."""
        self._terms = terms
        self._clock = clock
        self.on_change: Callable[[UpstreamStatus], None] = lambda _status: None
        self.count: Callable[[str, str, str], None] = lambda *_labels: None
        known = {_key_of(one): one for one in before}
        self._statuses: dict[tuple[str, str, bool], UpstreamStatus] = {}
        self._checks: dict[tuple[str, str], _Check] = {}
        self._workers: Callable[[], Iterable[Worker]] = tuple
        for route in routes:
            if route.health_check is not None or route.breaker is not None:
                self._watch(route, known)

    def _watch(self, route: RouteConfig, known: Mapping[tuple[str, str, bool], UpstreamStatus]) -> None:
        upstream, config = str(route.upstream), route.health_check
        key = upstream, config.path if config is not None else "", route.breaker is not None
        status = self._statuses.get(key)
        if status is None:
            fresh = UpstreamStatus(upstream, (), up=True, since=self._clock(), check=key[1], breaker=key[2])
            status = replace(known.get(key, fresh), routes=())
        self._statuses[key] = replace(status, routes=(*status.routes, route.path))
        if config is not None and key[:2] not in self._checks:
            streak = Streak(config.rise, config.fall, is_up=status.check_up)
            self._checks[key[:2]] = _Check(route.upstream, config, streak, status.why, status.failed_at)

    # --- what is known

    def statuses(self) -> tuple[UpstreamStatus, ...]:
        """Say how each is."""
        return tuple(self._statuses.values())

    def checked(self) -> list[Checked]:
        """Say which are down by their checks: for a worker that is about to be born."""
        return [check.said for check in self._checks.values() if not check.streak.is_up]

    @property
    def standing(self) -> Iterator[Finding]:
        """Give what is to be told of their terms for as long as they are so (`terms_findings`)."""
        return terms_findings(self._terms)

    def measured(self) -> Iterable[tuple[Key, float]]:
        """Say it for metrics."""
        for one in self._statuses.values():
            for route in one.routes:
                yield ("tlsproxy_upstream_up", one.upstream, route), float(one.up)

    # --- work

    async def run(
        self,
        workers: Callable[[], Iterable[Worker]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Check for ever, if there is anything to check. workers: gives all that live.

        Begin before any is started: old ones want to be told on after a reload, new ones shall know at birth.
        """
        self._workers = workers
        task_status.started()
        for finding in self.standing:
            _log.warning(finding.code, why=finding.words, hint=finding.hint)
        if not self._statuses:
            return
        async with trio.open_nursery() as nursery:
            for check in self._checks.values():
                nursery.start_soon(self._check_for_ever, check)
            while True:
                self.look()
                await trio.sleep(policy.LOOK_S)

    async def _check_for_ever(self, check: _Check) -> None:
        address, config = check.address, check.config
        host = "localhost" if address.scheme == "unix" else host_and_port(address.host, address.port)
        name = str(address)
        dial: Dial = Dialler(address, connect_s=config.timeout_s)
        if address.scheme == "https":
            from tlsproxy.forward.dialling import dial_by  # nobody else at rest carries it

            dial = dial_by(name, address, config.timeout_s, self._terms.get(name))
        make = partial(probe, dial, request_for(host, config.path), config.timeout_s, config.status)
        while True:
            next_at = trio.current_time() + config.interval_s
            self._note(check, await make())
            await trio.sleep_until(next_at)

    def _note(self, check: _Check, outcome: Outcome) -> None:
        self.count("tlsproxy_upstream_checks_total", str(check.address), outcome.result)
        if outcome.result == "skipped":
            return
        passed = outcome.result == "passed"
        if not passed:
            check.why, check.failed_at = outcome.words, self._clock()
        changed = check.streak.note(passed=passed)
        if changed or not check.streak.is_up:
            said = check.said
            for worker in self._workers():
                worker.tell(said)
        self.look()

    def look(self) -> None:
        """See how each is by now, and tell of what has changed."""
        serving = [worker for worker in self._workers() if worker.stage is Stage.ACCEPTING]
        for key, before in tuple(self._statuses.items()):
            now = self._looked_at(before, serving)
            if now.up is not before.up:
                now = replace(now, since=self._clock())
            self._statuses[key] = now
            if now.up is not before.up:
                self._tell(now)

    def _looked_at(self, one: UpstreamStatus, serving: Sequence[Worker]) -> UpstreamStatus:
        check = self._checks.get((one.upstream, one.check))
        kinds = (
            [kind for worker in serving if (kind := worker.tripped.get(one.upstream))] if one.breaker else []
        )
        check_up = check is None or check.streak.is_up
        now = replace(one, check_up=check_up, breakers_open=len(kinds), up=check_up and not kinds)
        if (
            check is not None
            and check.failed_at is not None
            and (one.failed_at or check.failed_at) <= check.failed_at
        ):
            now = replace(now, why=check.why, failed_at=check.failed_at)
        if check_up and len(kinds) > one.breakers_open:
            how = f": {_OF_KIND[kinds[0]]}" if kinds[0] in _OF_KIND else ""
            now = replace(now, why=f"requests to it fail{how}", failed_at=self._clock())
        return now

    def _tell(self, now: UpstreamStatus) -> None:
        routes = list(now.routes)
        if now.up:
            _log.info("upstream_up", upstream=now.upstream, routes=routes)
        else:
            hint = "see whether that service runs; its clients are answered 503 meanwhile"
            _log.warning("upstream_down", upstream=now.upstream, routes=routes, why=now.why, hint=hint)
        self.on_change(now)


def _key_of(one: UpstreamStatus) -> tuple[str, str, bool]:
    return one.upstream, one.check, one.breaker
