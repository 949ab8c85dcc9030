"""What the supervisor knows of upstreams: one check for all, and a change is told once, to all."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import trio

from tests.devices import a_device
from tlsproxy.config import BreakerConfig, HealthCheckConfig, RouteConfig, parse_upstream
from tlsproxy.observe.upstreams import UpstreamStatus, findings_of
from tlsproxy.upstreams import Upstreams
from tlsproxy.workers.messages import Checked
from tlsproxy.workers.remote import Stage

# a busy machine is no outage
CHECK = HealthCheckConfig("/healthz", interval_s=0.1, timeout_s=30.0, rise=2, fall=2)
HASTY = HealthCheckConfig("/healthz", interval_s=0.1, timeout_s=0.1, rise=2, fall=2)
AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@dataclass
class FakeWorker:
    """A worker as it is seen from here."""

    stage: Stage = Stage.ACCEPTING
    tripped: dict[str, str] = field(default_factory=dict)
    heard: list[Checked] = field(default_factory=list)

    def tell(self, message: Checked) -> None:
        self.heard.append(message)

    @property
    def is_told_down(self) -> bool:
        return bool(self.heard) and self.heard[-1].holds_s > 0


@dataclass
class Scene:
    """Upstreams that are watched, and who hears of them."""

    upstreams: Upstreams
    workers: list[FakeWorker]
    told: list[UpstreamStatus] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def tell(self, status: UpstreamStatus) -> None:
        self.told.append(status)
        self.changed.set()
        self.changed = trio.Event()

    def count(self, *key: str) -> None:
        self.counts[key] += 1

    async def wait_told(self, count: int) -> UpstreamStatus:
        while len(self.told) < count:
            await self.changed.wait()
        return self.told[count - 1]


class Clock:
    """A clock that goes on by a second each time it is looked at."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@asynccontextmanager
async def watching(*routes: RouteConfig, before: tuple[UpstreamStatus, ...] = ()) -> AsyncIterator[Scene]:
    with trio.fail_after(60):
        scene = Scene(Upstreams(routes, Clock(), before), [FakeWorker(), FakeWorker()])
        scene.upstreams.on_change, scene.upstreams.count = scene.tell, scene.count
        async with trio.open_nursery() as nursery:
            await nursery.start(scene.upstreams.run, lambda: scene.workers)
            yield scene
            nursery.cancel_scope.cancel()


def route(upstream: str, path: str = "/", **kinds: object) -> RouteConfig:
    return RouteConfig(path, parse_upstream(upstream), **kinds)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_device_that_goes_and_comes_is_told_of_once_each_time_and_to_every_worker(tmp_path, kind):
    unix = tmp_path / "api.sock" if kind == "unix" else None
    async with a_device(unix) as device, watching(route(device.upstream, health_check=CHECK)) as scene:
        await device.wait_asked(3)
        assert scene.told == []
        assert [worker.heard for worker in scene.workers] == [[], []]
        await device.off()
        down = await scene.wait_told(1)
        assert (down.up, down.check_up, down.routes) == (False, False, ("/",))
        assert down.why.startswith("it can't be reached: ")
        assert all(worker.is_told_down for worker in scene.workers)
        assert scene.upstreams.checked() == [scene.workers[0].heard[-1]]
        await device.on()
        up = await scene.wait_told(2)
        assert up.up
        assert up.since > down.since
        assert not any(worker.is_told_down for worker in scene.workers)
        assert scene.upstreams.checked() == []
        assert len(scene.told) == 2
        assert scene.counts["tlsproxy_upstream_checks_total", device.upstream, "unreachable"] >= 2
        assert scene.counts["tlsproxy_upstream_checks_total", device.upstream, "passed"] >= 3


async def test_a_check_that_hangs_ends_in_time_and_says_so():
    async with a_device(hangs=True) as device, watching(route(device.upstream, health_check=HASTY)) as scene:
        down = await scene.wait_told(1)
        assert (down.up, down.why) == (False, "no answer within 0.1 s")
        device.hangs = False
        assert (await scene.wait_told(2)).up


async def test_what_is_down_is_said_again_and_again_so_that_it_may_be_forgotten_otherwise():
    async with a_device(status=503) as device, watching(route(device.upstream, health_check=CHECK)) as scene:
        await scene.wait_told(1)
        heard = len(scene.workers[0].heard)
        await device.wait_asked(len(device.asked) + 4)
        assert len(scene.workers[0].heard) >= heard + 3
        assert all(one.holds_s > 10 for one in scene.workers[0].heard)
        assert len(scene.told) == 1


async def test_routes_that_want_the_same_check_share_it_and_others_do_not():
    other = HealthCheckConfig("/deep", interval_s=0.1, timeout_s=30.0, rise=2, fall=2)
    async with a_device() as device:
        routes = (
            route(device.upstream, "/", health_check=CHECK),
            route(device.upstream, "/api", health_check=CHECK),
            route(device.upstream, "/deep", health_check=other),
            route(device.upstream, "/free"),
        )
        async with watching(*routes) as scene:
            await device.wait_asked(8)
            asked = Counter(line.split()[1] for line in device.asked)
            assert abs(asked["/healthz"] - asked["/deep"]) <= 2  # twice as often were each route its own
            assert [one.routes for one in scene.upstreams.statuses()] == [("/", "/api"), ("/deep",)]
            await device.off()
            await scene.wait_told(2)
            assert {one.check for one in scene.told} == {"/healthz", "/deep"}


async def test_breakers_of_workers_are_told_as_one_outage_and_the_dead_do_not_count():
    upstream = "http://127.0.0.1:9"
    async with watching(route(upstream, breaker=BreakerConfig())) as scene:
        one, other = scene.workers
        one.tripped[upstream] = "timeout"
        scene.upstreams.look()
        other.tripped[upstream] = "unreachable"
        scene.upstreams.look()
        (status,) = scene.upstreams.statuses()
        assert (status.up, status.check_up, status.breakers_open) == (False, True, 2)
        assert [told.why for told in scene.told] == ["requests to it fail: it takes too long to answer"]
        one.tripped[upstream] = ""
        scene.upstreams.look()
        assert not scene.upstreams.statuses()[0].up
        other.stage = Stage.GONE
        scene.upstreams.look()
        assert [told.up for told in scene.told] == [False, True]


async def test_a_worker_of_ill_will_can_say_no_more_than_that():
    upstream = "http://127.0.0.1:9"
    async with watching(route(upstream, breaker=BreakerConfig())) as scene:
        scene.workers[0].tripped[upstream] = 'evil"\n' * 1000
        scene.upstreams.look()
        assert scene.told[0].why == "requests to it fail"
        assert scene.workers[1].heard == []


async def test_who_wants_no_breaker_is_not_told_down_by_one():
    async with a_device() as device:
        routes = (
            route(device.upstream, "/", health_check=CHECK, breaker=BreakerConfig()),
            route(device.upstream, "/plain", health_check=CHECK),
        )
        async with watching(*routes) as scene:
            scene.workers[0].tripped[device.upstream] = "broken"
            scene.upstreams.look()
            assert [(one.routes, one.up) for one in scene.upstreams.statuses()] == [
                (("/",), False),
                (("/plain",), True),
            ]
            assert dict(scene.upstreams.measured()) == {
                ("tlsproxy_upstream_up", device.upstream, "/"): 0.0,
                ("tlsproxy_upstream_up", device.upstream, "/plain"): 1.0,
            }


async def test_a_reload_forgets_nothing_and_tells_nothing_twice():
    async with a_device(status=503) as device:
        routes = (route(device.upstream, health_check=CHECK),)
        async with watching(*routes) as scene:
            down = await scene.wait_told(1)
            before = scene.upstreams.statuses()
        after = Upstreams(routes, Clock(), before)
        assert len(after.checked()) == 1  # workers that are born now know it
        async with watching(*routes, before=before) as scene:
            await device.wait_asked(len(device.asked) + 3)
            assert scene.told == []
            assert scene.upstreams.statuses()[0].since == down.since
            device.status = 200
            assert (await scene.wait_told(1)).up


def test_nothing_is_down_before_a_check_has_said_so():
    found = Upstreams([route("http://127.0.0.1:9", health_check=CHECK)], Clock())
    assert [one.up for one in found.statuses()] == [True]
    assert found.checked() == []
    assert list(findings_of(found.statuses())) == []


def test_where_nobody_watches_there_is_nothing():
    found = Upstreams([route("http://127.0.0.1:9")], Clock())
    assert found.statuses() == ()
    assert list(found.measured()) == []


def test_a_status_says_it_in_a_line():
    up = UpstreamStatus("http://127.0.0.1:3000", ("/", "/api"), up=True, since=AT)
    assert up.words == "http://127.0.0.1:3000 (/, /api): up since 2026-11-26 12:00:00 UTC"
    down = UpstreamStatus("unix:/run/a", ("/",), up=False, since=AT, why="no answer within 2 s", failed_at=AT)
    assert down.words == "unix:/run/a (/): DOWN since 2026-11-26 12:00:00 UTC; no answer within 2 s"
    (finding,) = findings_of([up, down])
    assert (finding.code, finding.words) == (
        "upstream_down",
        "unix:/run/a is down for /: no answer within 2 s",
    )
