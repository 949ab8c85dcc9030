"""forward/: bodies both ways, large and slow, early answers, and streams that stay open."""

from __future__ import annotations

import hashlib
import os

import pytest
import trio

from tests.forwarding import GET, OK, Peer, TruncatedError, forwarding
from tlsproxy import policy
from tlsproxy.forward.site import Limits
from tlsproxy.net.stream import BROKEN

MB = 1 << 20
BLOCK = os.urandom(MB)
SIZE = 50 * MB
EXPECTED = hashlib.sha256(BLOCK * 50).hexdigest()


async def drain_digest(peer: Peer, size: int) -> str:
    digest = hashlib.sha256()
    while size:
        data = await peer.more()
        assert data
        if len(data) > size:
            data, peer.buffer = data[:size], data[size:]
        size -= len(data)
        digest.update(data)
    return digest.hexdigest()


async def dechunk_digest(peer: Peer) -> str:
    digest = hashlib.sha256()
    while size := int((await peer.until(b"\r\n"))[:-2], 16):
        digest.update(await peer.exactly(size))
        assert await peer.exactly(2) == b"\r\n"
    assert await peer.exactly(2) == b"\r\n"
    return digest.hexdigest()


@pytest.mark.parametrize("how", ["length", "chunked", "close"])
async def test_fifty_megabytes_come_down_unaltered(how):
    async def upstream(peer: Peer) -> None:
        await peer.head()
        if how == "length":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            for _ in range(50):
                await peer.send(BLOCK)
        elif how == "close":
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(50):
                await peer.send(BLOCK)
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(50):
                await peer.send(b"%x\r\n%b\r\n" % (MB, BLOCK))
            await peer.send(b"0\r\n\r\n")

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(GET)
        head = await client.head()
        if how == "length":
            assert b"Content-Length: %d\r\n" % SIZE in head
            assert await drain_digest(client, SIZE) == EXPECTED
        else:
            assert await dechunk_digest(client) == EXPECTED
        await rig.settle()
        assert rig.records[0].body_bytes == SIZE


@pytest.mark.parametrize("how", ["length", "chunked"])
async def test_fifty_megabytes_go_up_unaltered_and_the_connections_live_on(how):
    async def upstream(peer: Peer) -> None:
        while True:
            head = await peer.head()
            got = await (drain_digest(peer, SIZE) if b"Content-Length" in head else dechunk_digest(peer))
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + got.encode())

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        for _ in range(2):
            if how == "length":
                await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE)
                for _ in range(50):
                    await client.send(BLOCK)
            else:
                await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(50):
                    await client.send(b"%x;a=b\r\n%b\r\n" % (MB, BLOCK))
                await client.send(b"0\r\n\r\n")
            answer = await client.answer()
            assert answer.body.decode() == EXPECTED
        assert len(rig.accepted) == 1


async def test_a_small_body_that_comes_in_pieces_is_sent_whole_and_may_be_retried():
    seen = []

    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.exactly(6)
        await peer.send(OK)
        await peer.head()
        seen.append(await peer.exactly(6))

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        for _ in range(2):
            await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nfir")
            await rig.settle()
            await client.send(b"st!")
            assert (await client.answer()).status == 200
        assert len(rig.accepted) == 2
    assert seen == [b"first!"]


async def test_a_chunked_request_that_came_whole_keeps_its_trailers():
    seen = []

    async def upstream(peer: Peer) -> None:
        await peer.head()
        seen.append(await peer.until(b"\r\n\r\n"))
        await peer.send(OK)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        request = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await client.ask(request + b"1\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 9\r\n\r\n")).status == 200
    assert seen == [b"3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n"]


async def test_an_event_arrives_while_its_stream_stays_open():
    more = trio.Event()

    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await more.wait()
        await peer.send(b"b\r\ndata: one\n\n\r\n")
        await peer.more()

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(GET)
        assert (await client.answer(body=False)).headers["content-type"] == "text/event-stream"
        more.set()
        assert await client.until(b"\n\n\r\n") == b"b\r\ndata: one\n\n\r\n"
        await rig.sweep_later(100_000)
        assert rig.records == [], "an open stream has no deadline"


async def test_a_client_that_doesn_t_read_stops_its_upstream_and_memory_stays_bounded():
    sent = 0

    async def upstream(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        while True:
            await peer.send(BLOCK)
            sent += MB

    async with forwarding(upstream) as rig:
        client = await rig.connect(small_buffers=True)
        await client.send(GET)
        await rig.settle()
        stuck = sent
        assert stuck < 16 * MB, "what the kernel buffers, and one read of ours"
        await rig.settle()
        assert sent == stuck
        await drain_digest(client, 20 * MB)
        assert sent > stuck


async def test_a_reader_without_any_progress_is_cut_and_a_slow_one_is_not():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(50):
            await peer.send(BLOCK)

    async with forwarding(upstream) as rig:
        client = await rig.connect(small_buffers=True)
        await client.send(GET)
        for _ in range(5):
            await rig.sweep_later(policy.SEND_S + 5)
            assert rig.records == []
            await client.exactly(MB // 2)
        await rig.sweep_later(policy.SEND_S + 5)
        await rig.sweep_later(2 * policy.SEND_S + 10)
        await rig.sweep_later(3 * policy.SEND_S + 15)
        await rig.settle()
        assert len(rig.records) == 1
        with pytest.raises((TruncatedError, *BROKEN)):
            await client.exactly(SIZE)


# --- early answers


async def test_an_early_413_arrives_although_the_upload_goes_on():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE + bytes(MB))
        answer = await client.answer()
        assert (answer.status, answer.body, answer.headers["connection"]) == (413, b"no!", "close")
        with pytest.raises(BROKEN):  # what is read past is bounded
            await client.send(BLOCK * 50)


async def test_an_upstream_may_answer_while_it_reads():
    """A response that streams back what is uploaded: neither way waits for the end of the other."""

    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            chunk = await peer.exactly(len(b"4\r\nping\r\n"))
            await peer.send(chunk)
        assert await peer.until(b"\r\n\r\n") == b"0\r\n\r\n"
        await peer.send(b"0\r\n\r\n")

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.head()
        for _ in range(3):
            await client.send(b"4\r\nping\r\n")
            assert await client.exactly(9) == b"4\r\nping\r\n"
        await client.send(b"0\r\n\r\n")
        assert await client.everything() == b"0\r\n\r\n"


async def test_the_upstream_s_100_continue_reaches_the_client_and_the_body_the_upstream():
    async def upstream(peer: Peer) -> None:
        head = await peer.head()
        assert b"Expect: 100-continue\r\n" in head
        assert peer.buffer == b""
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.exactly(4) == b"body"
        await peer.send(OK)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        for _ in range(2):
            await client.send(
                b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
            )
            assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"body")
            assert (await client.answer()).body == b"ok"


async def test_an_upstream_that_refuses_an_expected_body_is_heard():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        await peer.more()

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.interim, answer.headers["connection"]) == (401, [], "close")
        assert await client.everything() == b""


# --- limits on bodies


async def test_a_body_said_to_be_too_large_is_413_before_any_upstream_is_asked():
    async with forwarding(limits=Limits(max_body_bytes=10)) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
        assert (await client.answer()).status == 413
        assert rig.accepted == []


async def test_a_chunked_body_that_grows_too_large_is_413_and_the_upstream_never_gets_its_end():
    got = []

    async def upstream(peer: Peer) -> None:
        await peer.head()
        got.append(await peer.everything())

    async with forwarding(upstream, limits=Limits(max_body_bytes=10)) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n")
        await rig.settle()
        await client.send(b"6\r\nghijkl\r\n")
        assert (await client.answer()).status == 413
        await rig.settle()
    assert got == [b"6\r\nabcdef\r\n"]


async def test_a_badly_chunked_body_is_400_and_the_upstream_never_gets_its_end():
    got = []

    async def upstream(peer: Peer) -> None:
        await peer.head()
        got.append(await peer.everything())

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await rig.settle()
        await client.send(b"0x2\r\nab\r\n")
        assert (await client.answer()).status == 400
        await rig.settle()
    assert got == [b"2\r\nab\r\n"]


async def test_a_client_that_leaves_in_the_middle_of_its_body_takes_the_upstream_with_it():
    ended = []

    async def upstream(peer: Peer) -> None:
        await peer.head()
        ended.append(await peer.everything())

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf")
        await rig.settle()
        client.close()
        await rig.settle()
        assert ended == [b"half"]
        assert len(rig.site.sweeper) == 1
