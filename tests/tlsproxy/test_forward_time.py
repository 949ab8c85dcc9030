"""forward/: who waits for whom until when, and clients that leave while they are waited for."""

from __future__ import annotations

import pytest
import trio

from tests.forwarding import GET, OK, Peer, always_ok, forwarding
from tlsproxy import policy
from tlsproxy.forward.site import Limits
from tlsproxy.net.stream import BROKEN


async def hang(peer: Peer) -> None:
    await peer.head()
    await peer.everything()


async def test_a_hanging_upstream_is_504_and_its_connection_is_closed():
    closed = trio.Event()

    async def upstream(peer: Peer) -> None:
        await peer.head()
        assert await peer.more() == b""
        closed.set()

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(GET)
        await rig.sweep_later(policy.RESPONSE_S - 1)
        assert rig.records == []
        await rig.sweep_later(policy.RESPONSE_S + 2)
        assert (await client.answer()).status == 504
        await closed.wait()
        client.close()
        await rig.settle()
        [record] = rig.records
        assert record.status == 504


async def test_an_upstream_that_doesn_t_read_an_upload_is_504():
    async def upstream(peer: Peer) -> None:
        await trio.sleep_forever()

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")

        async def upload() -> None:
            try:
                while True:
                    await client.send(bytes(100_000))
            except BROKEN:
                pass

        rig.nursery.start_soon(upload)
        await rig.sweep_later(policy.UPSTREAM_SEND_S + 2)
        assert (await client.answer()).status == 504


async def test_half_a_head_is_408_in_time_and_no_later_byte_helps():
    async with forwarding() as rig:
        client = await rig.connect()
        await client.send(b"GET / HT")
        await rig.settle()
        await client.send(b"TP/1.1\r\nHost")
        await rig.sweep_later(policy.HEADER_S - 1)
        await rig.sweep_later(policy.HEADER_S + 2)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")


async def test_an_idle_client_is_closed_without_a_word():
    async with forwarding() as rig:
        client, fresh = await rig.connect(), await rig.connect()
        await client.ask()
        await rig.sweep_later(policy.IDLE_S - 1)
        await rig.sweep_later(policy.IDLE_S + 2)
        assert await client.everything() == b""
        assert await fresh.everything() == b""


@pytest.mark.parametrize("size", [100, 10_000_000])
async def test_a_body_that_stops_coming_is_408(size):
    async with forwarding(hang) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nsome" % size)
        await rig.sweep_later(policy.BODY_S + 2)
        assert (await client.answer()).status == 408


async def test_a_head_that_has_no_end_is_431_and_a_line_that_has_none_414():
    async with forwarding() as rig:
        client = await rig.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Y: z\r\n" * 20_000)
        assert (await client.answer()).status == 431
        client = await rig.connect()
        await client.send(b"GET /" + b"x" * 40_000)
        assert (await client.answer()).status == 414


@pytest.mark.parametrize("how", ["close", "half-close"])
async def test_a_client_that_leaves_while_the_upstream_thinks_is_noticed_and_the_upstream_told(how):
    told = trio.Event()

    async def upstream(peer: Peer) -> None:
        await peer.head()
        assert await peer.more() == b""
        told.set()

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(GET)
        await rig.settle()
        rig.sweep()
        assert not told.is_set()
        if how == "close":
            client.close()
        else:
            await client.eof()
        await rig.settle()
        rig.sweep()
        await told.wait()
        await rig.settle()
        assert [(record.status, record.code) for record in rig.records] == [(0, "client_gone")]
        assert len(rig.site.sweeper) == 1


async def test_a_client_that_leaves_an_event_stream_is_noticed_although_nothing_is_sent():
    told = trio.Event()

    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert await peer.more() == b""
        told.set()

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(GET)
        await client.head()
        client.close()
        await rig.settle()
        rig.sweep()
        await told.wait()


async def test_a_response_cut_because_its_client_half_closed_never_looks_whole():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await peer.more()

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await client.until(b"part")
        await client.eof()
        await rig.settle()
        rig.sweep()
        with pytest.raises(BROKEN):
            await client.everything()


async def test_a_pipelining_client_is_not_taken_for_one_that_left():
    go = trio.Event()

    async def upstream(peer: Peer) -> None:
        await peer.head()
        await go.wait()
        await peer.send(OK)
        await always_ok(peer)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(GET)
        await rig.settle()
        await client.send(GET)
        rig.sweep()
        go.set()
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 200


async def test_a_refused_client_that_keeps_sending_is_let_go_in_bounded_time():
    async with forwarding(limits=Limits(max_body_bytes=1)) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nfirst")
        assert (await client.answer()).status == 413
        await client.send(b"more")
        await rig.sweep_later(policy.LINGER_S + 2)
        await rig.settle()
        assert len(rig.site.sweeper) == 1
