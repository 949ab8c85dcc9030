"""What one connection may take: so many requests, bodies at a rate, and no place that it only holds."""

from __future__ import annotations

import trio

from tests.forwarding import GET, OK, Peer, forwarding
from tlsproxy import policy
from tlsproxy.forward.site import Limits

HEAD = b"HEAD / HTTP/1.1\r\nHost: device.test\r\n\r\n"


async def hang(peer: Peer) -> None:
    """Read whatever comes, and never answer anything but HEAD."""
    while data := await peer.more():
        if data.startswith(b"HEAD"):
            await peer.send(OK[: OK.index(b"\r\n\r\n") + 4])


async def test_the_last_request_of_a_connection_ends_it_in_good_order():
    async with forwarding(limits=Limits(requests=2)) as rig:
        client = await rig.connect()
        assert "connection" not in (await client.ask()).headers
        assert (await client.ask()).headers["connection"] == "close"
        assert await client.everything() == b""


async def test_a_pipelined_request_beyond_the_last_is_not_answered():
    async with forwarding(limits=Limits(requests=1)) as rig:
        client = await rig.connect()
        await client.send(GET + GET)
        assert (await client.answer()).status == 200
        assert await client.everything() == b""


async def test_a_body_of_a_byte_a_minute_is_408():
    async with forwarding(hang) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\nx")
        await rig.sweep_later(policy.BODY_S - 10)
        await client.send(b"x")
        await rig.sweep_later(policy.BODY_S + 5)
        assert (await client.answer()).status == 408


async def test_a_slow_body_at_the_least_rate_may_take_its_time():
    async with forwarding(hang) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\nx")
        for turn in range(1, 6):
            await rig.sweep_later(turn * (policy.BODY_S - 10))
            await client.send(b"x" * int(policy.BODY_RATE * policy.BODY_S))
            await rig.settle()
        assert len(rig.accepted) == 1
        assert not rig.records


async def test_time_that_the_upstream_takes_is_not_the_clients():
    begun = trio.Event()

    async def slow(peer: Peer) -> None:
        await peer.head()
        await begun.wait()
        await hang(peer)

    async with forwarding(slow) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"x" * 50_000_000)
            for turn in range(1, 4):  # within what an upstream may take to read on
                await rig.sweep_later(turn * (policy.UPSTREAM_SEND_S - 2) / 3)
            begun.set()
        assert not rig.records


async def test_a_connection_that_only_waits_gives_way_and_one_in_an_exchange_does_not():
    async with forwarding(hang) as rig:
        idle, partial, busy = [await rig.connect() for _ in range(3)]
        await partial.send(b"GET / HT")
        await busy.send(GET)
        await rig.settle()
        assert [one.waits for one in rig.connections] == [True, True, False]
        known = await rig.connect()
        await known.send(HEAD)
        await known.answer(b"HEAD")
        await rig.settle()
        assert max(rig.connections, key=lambda one: one.standing) is rig.connections[3]
        for connection in rig.connections[:2]:
            connection.give_way()
        assert await idle.everything() == b""
        assert await partial.everything() == b""
