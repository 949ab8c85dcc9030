"""Connections of a bundle that must go: each ends as what it is, in time; those of others live on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio

from certstore import Bundle
from tests.forwarding import GET
from tests.pki import Pki
from tests.planes import SWITCH, Plane, serving, swap
from tests.tlsproxy.test_workers_crew import scene_of
from tests.tlsproxy.tls_pair import client_context
from tests.tlsproxy.tls_wire import Wire
from tlsproxy.net.stream import BROKEN
from tlsproxy.tls.engines import EngineName
from tlsproxy.workers.remote import Stage

UPGRADE = b"GET /feed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
RESTART = b"\x88\x02\x03\xf4"  # a Close frame with 1012
SECONDS = 1000.0


@pytest.fixture
async def plane(pki, old, new) -> AsyncIterator[Plane]:
    async with serving(old) as plane:
        plane.serving.load_from({one.id: one for one in (old, new)}.__getitem__)
        yield plane


@pytest.fixture(scope="module")
def old(pki: Pki) -> Bundle:
    return pki.leaf().bundle()


@pytest.fixture(scope="module")
def new(pki: Pki) -> Bundle:
    return pki.leaf().bundle()


async def ended(client: Wire) -> bytes:
    """Give what still comes until the end of TCP."""
    got = client.read_all()
    with suppress(*BROKEN):
        while await client.more():
            got += client.read_all()
    return got


async def test_who_has_nothing_under_way_is_closed_at_once_and_only_where_it_has_the_bundle(
    plane, old, new
) -> None:
    idle, other = await plane.client(), Wire(await trio.open_tcp_stream("127.0.0.1", plane.tls))
    async with idle.stream, other.stream:
        await idle.shake_hands()
        await idle.send(GET)
        assert (await idle.receive(1)).startswith(b"HTTP/1.1 200")
        await plane.settle()
        swap(plane.serving, 2, new)
        await other.shake_hands()
        await plane.settle()
        plane.worker.end_bundles([old.id], SECONDS)
        assert await ended(idle) == b""
        await plane.settle()
        assert plane.worker.generations() == [(2, 1)]
        await other.send(GET)
        assert (await other.receive(1)).startswith(b"HTTP/1.1 200")


async def test_an_exchange_ends_first_and_tells_its_client_to_close(plane, old, new) -> None:
    client = await plane.client()
    async with client.stream:
        await client.shake_hands()
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n") + b"o")
        await plane.settle()
        swap(plane.serving, 2, new)
        plane.worker.end_bundles([old.id], SECONDS)
        await plane.settle()
        assert plane.worker.generations() == [(1, 1)], "its body is not whole yet"
        await client.send(b"k")
        got = await ended(client)
        assert got.startswith(b"HTTP/1.1 200")
        assert b"\r\nConnection: close\r\n" in got


async def test_a_websocket_is_closed_with_1012(plane, old, new) -> None:
    client = await plane.client()
    async with client.stream:
        await client.shake_hands()
        await client.send(UPGRADE)
        assert (await client.receive(len(SWITCH))).startswith(b"HTTP/1.1 101")
        await plane.settle()
        client.read_all()
        swap(plane.serving, 2, new)
        plane.worker.end_bundles([old.id], SECONDS)
        assert await client.receive(len(RESTART)) == RESTART


async def test_what_is_under_way_at_the_deadline_is_cut(plane, old, new) -> None:
    client = await plane.client()
    async with client.stream:
        await client.shake_hands()
        await client.send(GET.replace(b"/", b"/never", 1))
        await plane.asked.wait()
        swap(plane.serving, 2, new)
        plane.worker.end_bundles([old.id], SECONDS)
        plane.sweep_later(SECONDS - 1)
        await plane.settle()
        assert plane.worker.generations() == [(1, 1)]
        for late in (10, 20, 30):  # told so, then lingered for, then cut
            plane.sweep_later(SECONDS + late)
            await plane.settle()
        assert (await ended(client)).startswith(b"HTTP/1.1 504")
        assert plane.worker.generations() == []


async def test_who_had_chosen_the_bundle_and_shook_hands_later_is_ended_too(plane, old, new) -> None:
    early, late = await plane.client(), await plane.client()
    async with early.stream, late.stream:
        early.handshake()
        await early.flush()
        await plane.settle()
        swap(plane.serving, 2, new)
        plane.worker.end_bundles([old.id], SECONDS)
        await early.shake_hands()
        assert early.tls.getpeercert(binary_form=True) != b""
        await early.send(GET + GET)
        got = await ended(early)
        assert got.count(b"HTTP/1.1 200") == 1, "there was time for one request"
        await late.shake_hands()  # its hello came after
        for _ in range(2):
            await late.send(GET)
            assert (await late.receive(1)).startswith(b"HTTP/1.1 200")


async def test_a_retired_worker_ends_its_tunnels_too(plane, old, new) -> None:
    client = await plane.client()
    async with client.stream:
        await client.shake_hands()
        await client.send(UPGRADE)
        await client.receive(len(SWITCH))
        await plane.settle()
        client.read_all()
        plane.worker.retire()
        await plane.settle()
        assert plane.worker.generations() == [(1, 1)], "a tunnel lives on"
        plane.worker.end_bundles([old.id], SECONDS)
        assert await client.receive(len(RESTART)) == RESTART


@pytest.mark.parametrize("engine", ["system", "bundled"])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_tickets_of_a_bundle_that_left_resume_nothing_not_even_when_it_is_back(
    old: Bundle, new: Bundle, engine: EngineName, version: str
) -> None:
    asking = client_context(version=version)

    async def reused(plane: Plane, session: object = None) -> tuple[bool, object]:
        client = await plane.client(asking, session=session)
        async with client.stream:
            await client.shake_hands()
            await client.send(GET)
            await client.receive(1)
            return bool(client.tls.session_reused), client.tls.session

    async with serving(old, engine) as plane:
        plane.serving.load_from({one.id: one for one in (old, new)}.__getitem__)
        _, session = await reused(plane)
        again, session = await reused(plane, session)
        assert again, "while the bundle is served its tickets resume"
        swap(plane.serving, 2, new)
        assert not (await reused(plane, session))[0]
        swap(plane.serving, 3, old)
        assert not (await reused(plane, session))[0], "its context is another, with keys of its own"


async def test_every_process_that_has_such_connections_ends_them_the_retired_ones_too(
    tmp_path, old, new
) -> None:
    async with scene_of(tmp_path, 1) as scene:
        port = scene.doors.doors[0].port
        await scene.serve(old)
        scene.crew.open()
        (first,) = await scene.wait_stage(1, Stage.ACCEPTING)
        idle = Wire(await trio.open_tcp_stream("127.0.0.1", port))
        await idle.shake_hands()
        first.retire()
        (second,) = await scene.wait_stage(1, Stage.ACCEPTING)
        assert second is not first
        other = Wire(await trio.open_tcp_stream("127.0.0.1", port))
        await other.shake_hands()
        await scene.serve(new)
        await trio.to_thread.run_sync(scene.publishing.end, [old.id], "key-compromise")
        assert (await ended(idle), await ended(other)) == (b"", b"")
        await first.ended.wait()
        assert first.exit_code == 0
        for client in (idle, other):
            await client.stream.aclose()
