"""Exchanges before an upstream that may be down: a fast 503, a trial now and then, nobody blamed."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from tests.devices import Device, a_device
from tests.forwarding import GET, Peer, Place, Rig, forwarding
from tlsproxy.errors import UpstreamError
from tlsproxy.forward.site import Limits, SocketUpstream, make_upstream
from tlsproxy.net.dial import Dialler
from tlsproxy.upstream.breaker import Breaker
from tlsproxy.upstream.guard import Checked, Circuit, Guard, Guards, Visit

FAILURES, DOWN_S = 2, 5.0
POST = b"POST / HTTP/1.1\r\nHost: device.test\r\nContent-Length: 3\r\n\r\nabc"


@dataclass
class Scene:
    """A guarded route before a device; time is the test's own."""

    rig: Rig
    device: Device
    checked: Checked
    now: float = 1000.0
    told: list[str] = field(default_factory=list)

    async def statuses(self, client: Peer, count: int) -> list[int]:
        return [(await client.ask()).status for _ in range(count)]


@asynccontextmanager
async def guarded(statuses: tuple[str, ...] = (), limits: Limits | None = None) -> AsyncIterator[Scene]:
    async with a_device() as device, forwarding(limits=limits) as rig:
        scene = Scene(rig, device, Checked())
        circuit = Circuit(
            Breaker(FAILURES, 10.0, DOWN_S), frozenset(statuses), lambda: scene.now, scene.told.append
        )
        guard = Guard("/", scene.checked, circuit, lambda: scene.now, lambda: 0.0)
        place = Place("http", "127.0.0.1", device.port)
        upstream: SocketUpstream = make_upstream("/", Dialler(place, connect_s=5.0), rig.site.sweeper)
        guards = Guards({"/": guard}, lambda: scene.now, {("/", "/healthz"): scene.checked})
        rig.site = replace(rig.site, upstreams={"/": upstream}, guards=guards)
        try:
            yield scene
        finally:
            upstream.close()


async def test_a_device_that_is_off_is_left_alone_and_served_again_when_it_is_back():
    async with guarded() as scene:
        client = await scene.rig.connect()
        assert await scene.statuses(client, 1) == [200]
        await scene.device.off()
        assert await scene.statuses(client, FAILURES + 2) == [502] * FAILURES + [503, 503]
        assert scene.told == ["unreachable"]
        await scene.device.on()
        assert (await client.ask()).status == 503  # it is not known yet
        scene.now += DOWN_S
        assert await scene.statuses(client, 3) == [200, 200, 200]
        assert scene.told == ["unreachable", ""]


async def test_the_fast_answer_says_when_to_come_again_and_keeps_the_connection():
    async with guarded() as scene:
        await scene.device.off()
        client = await scene.rig.connect()
        await scene.statuses(client, FAILURES)
        scene.now += 1.5
        answer = await client.ask()
        assert (answer.status, answer.headers["retry-after"]) == (503, "4")  # 3.5 s are left
        assert answer.headers["content-type"] == "application/problem+json"
        assert "connection" not in answer.headers
        problem = json.loads(answer.body)
        assert (problem["status"], problem["code"]) == (503, "upstream_down")
        head = await client.ask(GET.replace(b"GET", b"HEAD"), b"HEAD")
        assert (head.status, head.headers["retry-after"], head.body) == (503, "4", b"")
        page = await client.ask(GET.replace(b"\r\n\r\n", b"\r\nAccept: text/html\r\n\r\n"))
        assert page.headers["content-type"].startswith("text/html")
        assert b"may be starting, try again in a moment." in page.body
        await scene.rig.settle()
        assert [(one.status, one.code) for one in scene.rig.records[FAILURES:]] == [
            (503, "upstream_down")
        ] * 3


async def test_a_small_body_is_taken_and_the_connection_lives_on_while_a_large_one_ends_it():
    async with guarded() as scene:
        await scene.device.off()
        client = await scene.rig.connect()
        await scene.statuses(client, FAILURES)
        answer = await client.ask(POST, b"POST")
        assert (answer.status, "connection" in answer.headers) == (503, False)
        assert (await client.ask()).status == 503
        await client.send(POST.replace(b"Content-Length: 3", b"Content-Length: 1000000"))
        answer = await client.answer(b"POST")
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert answer.headers["retry-after"] == "5"


async def test_who_asks_whether_to_send_a_body_is_told_not_to():
    async with guarded() as scene:
        await scene.device.off()
        client = await scene.rig.connect()
        await scene.statuses(client, FAILURES)
        await client.send(
            b"PUT / HTTP/1.1\r\nHost: device.test\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = await client.answer(b"PUT")
        assert (answer.status, answer.interim) == (503, [])


async def test_a_websocket_is_answered_alike():
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: device.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with guarded() as scene:
        await scene.device.off()
        client = await scene.rig.connect()
        await scene.statuses(client, FAILURES)
        answer = await client.ask(upgrade)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert (await client.ask()).status == 503


async def test_one_trial_goes_through_and_its_failure_keeps_the_others_out():
    async with guarded() as scene:
        client = await scene.rig.connect()
        await scene.device.off()
        await scene.statuses(client, FAILURES)
        for _ in range(3):
            scene.now += DOWN_S
            assert await scene.statuses(client, 3) == [502, 503, 503]
        assert scene.told == ["unreachable"]


async def test_a_trial_whose_client_leaves_makes_room_for_the_next():
    async with guarded() as scene:
        client = await scene.rig.connect()
        await scene.device.off()
        await scene.statuses(client, FAILURES)
        scene.device.hangs = True
        await scene.device.on()
        scene.now += DOWN_S
        leaver = await scene.rig.connect()
        await leaver.send(GET)
        await scene.device.wait_asked(1)
        assert (await client.ask()).status == 503
        leaver.close()
        await scene.rig.sweep_later(0)
        await scene.rig.settle()
        scene.device.hangs = False
        assert (await client.ask()).status == 200


async def test_a_service_that_is_too_slow_is_left_alone_and_clients_that_leave_say_nothing_against_it():
    async with guarded(limits=Limits(response_s=10.0)) as scene:
        scene.device.hangs = True
        for number in range(FAILURES + 2):  # who leaves
            leaver = await scene.rig.connect()
            await leaver.send(GET)
            await scene.device.wait_asked(number + 1)
            leaver.close()
            await scene.rig.sweep_later(0)
        await scene.rig.settle()
        assert scene.told == []
        waiting = [await scene.rig.connect() for _ in range(FAILURES)]
        for number, client in enumerate(waiting):
            await client.send(GET)
            await scene.device.wait_asked(FAILURES + 3 + number)
        await scene.rig.sweep_later(12)
        assert [(await client.answer()).status for client in waiting] == [504] * FAILURES
        assert scene.told == ["timeout"]
        assert (await (await scene.rig.connect()).ask()).status == 503


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_an_answer_is_a_sign_of_life_whatever_it_says(status):
    async with guarded() as scene:
        scene.device.status = status
        client = await scene.rig.connect()
        assert await scene.statuses(client, FAILURES + 2) == [status] * (FAILURES + 2)
        assert scene.told == []


async def test_an_answer_that_is_configured_as_a_failure_is_one_and_is_passed_on():
    async with guarded(("503",)) as scene:
        client = await scene.rig.connect()
        scene.device.status = 500
        assert await scene.statuses(client, 3) == [500] * 3
        scene.device.status = 503
        assert await scene.statuses(client, FAILURES) == [503] * FAILURES
        assert scene.told == ["status"]
        assert len(scene.device.asked) == 3 + FAILURES
        assert (await client.ask()).headers["retry-after"] == "5"
        assert len(scene.device.asked) == 3 + FAILURES


async def test_what_a_check_says_holds_for_a_while_and_no_longer():
    async with guarded() as scene:
        client = await scene.rig.connect()
        guards = scene.rig.site.guards
        assert guards is not None
        guards.note("/", "/healthz", retry_s=7.0, holds_s=20.0)
        guards.note("/", "/other", retry_s=7.0, holds_s=0.0)  # of a check that isn't ours
        answer = await client.ask()
        assert (answer.status, answer.headers["retry-after"]) == (503, "7")
        scene.now += 15.0
        assert (await client.ask()).headers["retry-after"] == "1"
        scene.now += 5.0
        assert (await client.ask()).status == 200
        guards.note("/", "/healthz", retry_s=7.0, holds_s=20.0)
        assert (await client.ask()).status == 503
        guards.note("/", "/healthz", retry_s=0.0, holds_s=0.0)
        assert (await client.ask()).status == 200


async def test_an_exchange_that_is_under_way_is_never_touched():
    async with guarded() as scene:
        scene.device.hangs = True
        patient = await scene.rig.connect()
        await patient.send(GET)
        await scene.device.wait_asked(1)
        guards = scene.rig.site.guards
        assert guards is not None
        guards.note("/", "/healthz", retry_s=7.0, holds_s=20.0)
        assert (await (await scene.rig.connect()).ask()).status == 503
        await scene.rig.sweep_later(0)
        await scene.rig.settle()
        assert [one.status for one in scene.rig.records] == [503]
        await scene.device.off()
        assert (await patient.answer()).status == 502


def visit() -> tuple[Visit, list[str]]:
    told: list[str] = []
    entered = Circuit(Breaker(1, 10.0, 5.0), (), lambda: 0.0, told.append).enter()
    assert entered is not None
    return entered, told


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL])
def test_a_shortage_of_our_own_says_nothing_against_an_upstream(code):
    one, told = visit()
    error = UpstreamError("u", "connect")
    error.__cause__ = OSError(code, "none left")
    one.failed(error, late=False)
    one.close()
    assert told == []


def test_a_connection_of_the_pool_that_was_stale_says_nothing_but_one_that_hangs_does():
    one, told = visit()
    one.failed(UpstreamError("u", "head", reused=True), late=False)
    assert told == []
    one.failed(UpstreamError("u", "head", reused=True), late=True)
    assert told == ["timeout"]


def test_only_the_first_word_of_a_visit_counts():
    one, told = visit()
    one.answered(200)
    one.failed(UpstreamError("u", "body"), late=False)
    one.close()
    assert told == []
