"""Retired workers: what is open there goes on, whatever becomes of the changes that come after them."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from tests.tlsproxy.test_workers_crew import Scene, der_of, scene_of
from tests.tlsproxy.tls_wire import Wire
from tlsproxy import policy, policy_service
from tlsproxy.workers.remote import RemoteWorker, Stage

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@asynccontextmanager
async def retired(scene: Scene) -> AsyncIterator[tuple[RemoteWorker, Wire, Wire]]:
    """Give a retired worker with one client that is served there and one that hasn't said its hello yet."""
    (worker,) = await scene.wait_stage(1, Stage.ACCEPTING)
    port = scene.doors.doors[0].port
    served, coming = [Wire(await trio.open_tcp_stream("127.0.0.1", port)) for _ in range(2)]
    async with served.stream, coming.stream:
        coming.handshake()
        await coming.stream.send_all(coming.take()[:50])
        await served.shake_hands()
        while worker.connections < 2:  # noqa: ASYNC110  it says so with its heartbeats
            await trio.sleep(0.01)
        os.kill(worker.pid, signal.SIGTERM)
        await scene.wait_stage(1, Stage.RETIRED)
        yield worker, served, coming


async def assert_served(client: Wire) -> None:
    await client.send(REQUEST)
    assert (await client.receive(12)).startswith(b"HTTP/1.1 502"), (
        "nobody stands behind, but the worker lives"
    )


async def assert_turned_away(client: Wire) -> None:
    with suppress(trio.BrokenResourceError):
        assert await client.stream.receive_some() == b""


async def test_a_retired_worker_that_cannot_build_a_new_generation_keeps_its_connections(
    tmp_path, pki, monkeypatch
) -> None:
    """It was killed, with its tunnels, though it accepts nothing."""
    monkeypatch.setattr(policy_service, "TURN_AWAY_S", 60.0)  # its word is waited for, however long
    async with scene_of(tmp_path, 1) as scene:
        scene.crew.open()
        first, second = pki.leaf(), pki.leaf()
        await scene.serve(first.bundle())
        async with retired(scene) as (worker, served, coming):
            resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (3, 3))  # nothing can be opened there
            await scene.serve(second.bundle())
            assert worker.stage is Stage.QUIET
            assert await scene.shown() == der_of(second)
            await assert_turned_away(coming)
            await assert_served(served)


async def test_a_retired_worker_that_is_slow_to_build_is_not_waited_for_twice_and_not_killed(
    tmp_path, pki, monkeypatch
) -> None:
    monkeypatch.setattr(policy, "WORKER_STUCK_S", 60.0)
    async with scene_of(tmp_path, 1) as scene:
        scene.crew.open()
        await scene.serve(pki.leaf().bundle())
        async with retired(scene) as (worker, served, coming):
            os.kill(worker.pid, signal.SIGSTOP)
            monkeypatch.setattr(policy, "PREPARE_S", 1.0)
            await scene.serve(pki.leaf().bundle())
            assert worker.stage is Stage.QUIET
            os.kill(worker.pid, signal.SIGCONT)
            await assert_turned_away(coming)
            await assert_served(served)


@pytest.fixture(autouse=True)
def quick_hearts(monkeypatch) -> None:
    monkeypatch.setattr(policy, "HEARTBEAT_S", 0.05)
