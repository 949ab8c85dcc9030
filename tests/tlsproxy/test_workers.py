"""The data plane between its sockets: who is served, what is left behind, and how it drains."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio

from tests.forwarding import GET
from tests.planes import NOTHING, Plane, serving, swap
from tests.tlsproxy.tls_wire import Wire
from tlsproxy.net.stream import BROKEN

CLOSED = b"\r\nConnection: close\r\n"


@pytest.fixture
async def plane(pki) -> AsyncIterator[Plane]:
    async with serving(pki.leaf().bundle()) as plane:
        yield plane


async def say_nothing(client: Wire) -> None:
    pass


async def say_half_a_hello(client: Wire) -> None:
    client.handshake()
    await client.stream.send_all(client.take()[:100])


async def say_hello(client: Wire) -> None:
    client.handshake()
    await client.flush()


async def shake_hands(client: Wire) -> None:
    await client.shake_hands()


async def ask_in_vain(client: Wire) -> None:
    await client.shake_hands()
    await client.send(GET.replace(b"/", b"/never", 1))


async def speak_plainly(client: Wire) -> None:
    await client.stream.send_all(GET[:20])


PHASES = [say_nothing, say_half_a_hello, say_hello, shake_hands, ask_in_vain, speak_plainly]


async def close(client: Wire, _plane: Plane) -> None:
    await client.stream.aclose()


async def reset(client: Wire, _plane: Plane) -> None:
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await client.stream.aclose()


async def cancel(_client: Wire, plane: Plane) -> None:
    plane.scope.cancel()


async def be_late(_client: Wire, plane: Plane) -> None:
    for seconds in (300, 600, 900):  # late, then told so, then lingered for
        await plane.settle()
        plane.sweep_later(seconds)


@pytest.mark.parametrize("end", [close, reset, cancel, be_late])
@pytest.mark.parametrize("phase", PHASES)
async def test_wherever_a_client_ends_nothing_of_it_stays(plane, phase, end):
    client = await plane.client()
    async with client.stream:
        await phase(client)
        await plane.settle()
        assert plane.left != NOTHING
        await end(client, plane)
        await plane.settle()
        if end in {close, reset} and phase is ask_in_vain:
            plane.sweep_later(0)  # nobody reads from a client whose request is complete
            await plane.settle()
        assert plane.left == NOTHING


async def test_a_client_is_served_by_tls_and_a_plain_one_is_sent_there(plane):
    client = await plane.client()
    async with client.stream:
        await client.shake_hands()
        await client.send(GET)
        assert (await client.receive(1)).startswith(b"HTTP/1.1 200")
    for port in (plane.tls, plane.http):
        async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
            await plain.send_all(GET)
            assert b"Location: https://device.test:8443/\r\n" in await plain.receive_some()


async def test_draining_closes_at_once_who_only_waits(plane):
    waiting = [await plane.client() for _ in range(3)]
    await say_half_a_hello(waiting[1])
    await waiting[2].shake_hands()
    plain = await plane.plain()
    await plain.send_all(GET)
    assert await plain.receive_some()
    await plane.settle()
    plane.worker.stop(1000)
    for client in waiting:
        with suppress(trio.BrokenResourceError):  # a reset: what it said was not read to its end
            while await client.more():
                pass
    assert await plain.receive_some() == b""
    await plane.settle()
    assert plane.left == NOTHING, "and the worker has ended without its deadline"
    for stream in (plain, *(client.stream for client in waiting)):
        await stream.aclose()


async def test_a_handshake_under_way_when_draining_begins_may_be_followed_by_one_request(plane):
    client = await plane.client()
    async with client.stream:
        await say_hello(client)
        await plane.settle()
        plane.worker.stop(1000)
        await client.shake_hands()
        await plane.settle()
        await client.send(GET + GET)
        got = b""
        with suppress(EOFError):
            while True:
                got += await client.receive(1)
        assert got.count(b"HTTP/1.1 200") == 1
        assert CLOSED in got


async def test_who_shook_hands_slowly_while_bundles_were_swapped_is_known_by_the_one_that_it_got(pki):
    bundles = {bundle.id: bundle for bundle in (pki.leaf().bundle() for _ in range(4))}
    first, *later = bundles.values()
    async with serving(first) as plane:
        plane.serving.load_from(bundles.__getitem__)
        client = await plane.client()
        async with client.stream:
            await say_hello(client)
            await plane.settle()
            for number, bundle in enumerate(later, 2):
                swap(plane.serving, number, bundle)
            await client.shake_hands()
            await plane.settle()
            (connection,) = plane.worker._connections
            facts = connection._client.facts
            assert (facts.fingerprint, facts.generation) == (first.fingerprint, 1)


async def test_at_the_deadline_of_a_drain_what_still_runs_is_cut(plane):
    client = await plane.client()
    async with client.stream:
        await ask_in_vain(client)
        await plane.asked.wait()
        plane.worker.stop(1000)
        await plane.settle()
        assert plane.left != NOTHING
        plane.worker.stop(0)
        with suppress(*BROKEN):
            while await client.more():
                pass
        await plane.settle()
        assert plane.left == NOTHING
