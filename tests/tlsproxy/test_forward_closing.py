"""forward/tunnel.py: a WebSocket that we close, seen byte by byte from both its ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import trio

from tests.forwarding import Peer, Rig, forwarding
from tlsproxy import policy
from tlsproxy.net.stream import BROKEN

UPGRADE = b"GET /feed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
KEY = b"abcd"
DOWN = b"\x82\x05hello"
UP = b"\x82\x85" + KEY + b"HELLO"
AWAY = b"\x88\x02\x03\xe9"
CLOSE_UP = b"\x88\x82" + KEY + b"\x62\x8a"  # 1000, masked
CLOSE_DOWN = b"\x88\x02\x03\xe8"
MASKED_CLOSE_BYTES = 8


def unmasked(frame: bytes) -> bytes:
    """Give a client's small frame as a server would write it."""
    assert frame[1] & 0x80, "RFC 6455 section 5.1: a client must mask"
    payload = bytes(byte ^ frame[2 + i % 4] for i, byte in enumerate(frame[6:]))
    return bytes((frame[0], frame[1] & 0x7F)) + payload


@dataclass
class Ends:
    """Both ends of an open WebSocket, and the proxy between them."""

    rig: Rig
    client: Peer
    upstream: Peer
    hold: trio.Event = field(default_factory=trio.Event)

    def close(self, code: int = 1001) -> None:
        self.rig.connections[0].drain(code)

    async def expect_closes(self, code: bytes = AWAY) -> None:
        """Receive a Close at both ends, and nothing before it."""
        assert await self.client.exactly(len(code)) == code
        assert unmasked(await self.upstream.exactly(MASKED_CLOSE_BYTES)) == code

    async def answer_both(self) -> None:
        await self.client.send(CLOSE_UP)
        await self.upstream.send(CLOSE_DOWN)

    async def expect_ends(self) -> None:
        assert await self.client.everything() == b""
        assert await self.upstream.everything() == b""
        await self.rig.settle()
        assert len(self.rig.site.sweeper) == 1


@asynccontextmanager
async def websocket(
    upgrade: bytes = UPGRADE, switch: bytes = SWITCH, *, small_buffers: bool = False
) -> AsyncIterator[Ends]:
    upstreams: list[Peer] = []
    done = trio.Event()

    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(switch)
        upstreams.append(peer)
        await done.wait()

    async with forwarding(upstream) as rig:
        client = await rig.connect(small_buffers=small_buffers)
        await client.send(upgrade)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        await rig.settle()
        yield Ends(rig, client, upstreams[0])
        done.set()


async def test_both_sides_of_a_quiet_websocket_get_a_close_and_its_end_once_they_have_answered():
    async with websocket() as ends:
        ends.close()
        await ends.expect_closes()
        await ends.answer_both()
        await ends.expect_ends()
        assert [record.status for record in ends.rig.records] == [101]


async def test_the_code_is_the_one_that_was_asked_for_first():
    async with websocket() as ends:
        ends.close(1012)
        ends.close(1001)
        await ends.expect_closes(b"\x88\x02\x03\xf4")


async def test_what_had_come_from_either_side_arrives_before_the_close():
    async with websocket() as ends:
        # no turn of the loop: nobody has read it when the close begins
        ends.upstream.stream.sock.send(DOWN * 3)
        ends.client.stream.sock.send(UP * 3)
        ends.close()
        assert await ends.client.exactly(3 * len(DOWN)) == DOWN * 3
        assert await ends.upstream.exactly(3 * len(UP)) == UP * 3
        await ends.expect_closes()
        await ends.answer_both()
        await ends.expect_ends()


async def test_more_than_one_read_that_had_come_arrives_before_the_close(monkeypatch):
    monkeypatch.setattr(policy, "DOWN_READ_BYTES", 10)
    async with websocket() as ends:
        ends.upstream.stream.sock.send(DOWN * 100)
        ends.close()
        assert await ends.client.exactly(100 * len(DOWN)) == DOWN * 100
        await ends.expect_closes()


@pytest.mark.parametrize("cut", [1, 2, 5, 10, 11, 50_000, 69_999])
async def test_a_frame_under_way_is_read_to_its_end_and_no_further(cut):
    frame = b"\x82\x7f" + (70_000).to_bytes(8, "big") + bytes(70_000)
    async with websocket() as ends:
        await ends.upstream.send(DOWN + frame[:cut])
        await ends.rig.settle()
        ends.close()
        await ends.rig.settle()
        assert await ends.client.exactly(len(DOWN) + cut) == DOWN + frame[:cut]
        assert unmasked(await ends.upstream.exactly(MASKED_CLOSE_BYTES)) == AWAY
        for part in (frame[cut : cut + 7], frame[cut + 7 :] + DOWN, DOWN + CLOSE_DOWN):
            await ends.upstream.send(part)
            await ends.rig.settle()
        assert await ends.client.exactly(len(frame) - cut) == frame[cut:]
        assert await ends.client.exactly(len(AWAY)) == AWAY
        await ends.client.send(CLOSE_UP)
        await ends.expect_ends()


async def test_a_frame_of_the_client_is_ended_too():
    frame = b"\x82\xfe" + (1000).to_bytes(2, "big") + KEY + bytes(1000)
    async with websocket() as ends:
        await ends.client.send(frame[:500])
        await ends.rig.settle()
        ends.close()
        assert await ends.client.exactly(len(AWAY)) == AWAY
        await ends.client.send(frame[500:] + UP + CLOSE_UP)
        assert await ends.upstream.exactly(len(frame)) == frame
        assert unmasked(await ends.upstream.exactly(MASKED_CLOSE_BYTES)) == AWAY
        await ends.upstream.send(CLOSE_DOWN)
        await ends.expect_ends()


async def test_a_frame_that_never_ends_stays_cut_off_without_a_close(autojump_clock):
    async with websocket() as ends:
        await ends.upstream.send(b"\x82\x7eab")
        await ends.rig.settle()
        started = trio.current_time()
        ends.close()
        assert unmasked(await ends.upstream.exactly(MASKED_CLOSE_BYTES)) == AWAY
        with pytest.raises(BROKEN):  # a reset: the end of the connection must not look like one in order
            await ends.client.exactly(5)
        assert trio.current_time() - started == pytest.approx(policy.TUNNEL_CLOSE_S, abs=0.1)


@pytest.mark.parametrize("who", ["client", "upstream", "nobody"])
async def test_who_never_answers_the_close_is_waited_for_no_longer_than_that(autojump_clock, who):
    async with websocket() as ends:
        started = trio.current_time()
        ends.close()
        await ends.expect_closes()
        if who == "client":
            await ends.client.send(CLOSE_UP)
        elif who == "upstream":
            await ends.upstream.send(CLOSE_DOWN)
        await ends.expect_ends()
        assert trio.current_time() - started == pytest.approx(policy.TUNNEL_CLOSE_S, abs=0.1)


async def test_who_is_gone_before_it_answers_does_not_keep_the_other_from_its_close():
    async with websocket() as ends:
        ends.client.stream.abort()
        ends.close()
        assert unmasked(await ends.upstream.exactly(MASKED_CLOSE_BYTES)) == AWAY


async def test_a_client_that_has_sent_its_close_is_answered_and_the_upstream_gets_no_second():
    async with websocket() as ends:
        await ends.client.send(CLOSE_UP)
        assert await ends.upstream.exactly(len(CLOSE_UP)) == CLOSE_UP
        ends.close()
        assert await ends.client.exactly(len(AWAY)) == AWAY
        await ends.upstream.send(DOWN + CLOSE_DOWN)
        await ends.expect_ends()


async def test_an_upstream_that_has_sent_its_close_is_answered_and_the_client_gets_no_second():
    async with websocket() as ends:
        await ends.upstream.send(DOWN + CLOSE_DOWN)
        assert await ends.client.exactly(len(DOWN + CLOSE_DOWN)) == DOWN + CLOSE_DOWN
        ends.close()
        assert unmasked(await ends.upstream.exactly(MASKED_CLOSE_BYTES)) == AWAY
        await ends.client.send(CLOSE_UP)
        await ends.expect_ends()


async def test_a_close_stands_between_the_fragments_of_a_message():
    first, rest = b"\x02\x03one", b"\x80\x03two"
    async with websocket() as ends:
        await ends.upstream.send(first)
        assert await ends.client.exactly(len(first)) == first
        ends.close()
        await ends.expect_closes()
        await ends.upstream.send(rest + CLOSE_DOWN)
        await ends.client.send(CLOSE_UP)
        await ends.expect_ends()


async def test_a_slow_reader_gets_the_send_under_way_whole_before_the_close():
    frame = b"\x82\x7f" + (3_000_000).to_bytes(8, "big") + bytes(range(250)) * 12_000
    async with websocket(small_buffers=True) as ends, trio.open_nursery() as nursery:
        nursery.start_soon(ends.upstream.send, frame)
        await ends.rig.settle()
        ends.close()
        await ends.rig.settle()
        assert await ends.client.exactly(len(frame)) == frame
        assert await ends.client.exactly(len(AWAY)) == AWAY


async def test_a_websocket_half_closed_by_its_client_still_gets_its_close():
    async with websocket() as ends:
        await ends.client.eof()
        assert await ends.upstream.everything() == b""
        ends.close()
        assert await ends.client.exactly(len(AWAY)) == AWAY
        await ends.upstream.send(CLOSE_DOWN)
        await ends.expect_ends()


async def still_echoes(ends: Ends, up: bytes, down: bytes) -> None:
    await ends.client.send(up)
    assert await ends.upstream.exactly(len(up)) == up
    await ends.upstream.send(down)
    assert await ends.client.exactly(len(down)) == down


async def test_another_protocol_goes_on(autojump_clock):
    upgrade, switch = (
        head.replace(b"ebsocket", b"rong").replace(b"ebSocket", b"rong") for head in (UPGRADE, SWITCH)
    )
    async with websocket(upgrade, switch) as ends:
        ends.close()
        await trio.sleep(10 * policy.TUNNEL_CLOSE_S)
        await still_echoes(ends, UP, DOWN)


@pytest.mark.parametrize("what", ["up", "down"])
async def test_what_only_calls_itself_a_websocket_goes_on_without_a_close(autojump_clock, what):
    async with websocket() as ends:
        stream = b"SSH-2.0-x\r\n"
        await still_echoes(ends, *((stream, DOWN) if what == "up" else (UP, stream)))
        ends.close()
        await trio.sleep(10 * policy.TUNNEL_CLOSE_S)
        await still_echoes(ends, UP, DOWN)


async def test_a_websocket_opened_while_we_end_is_closed_at_once():
    go, upstreams = trio.Event(), list[Peer]()

    async def upstream(peer: Peer) -> None:
        upstreams.append(peer)
        await peer.head()
        await go.wait()
        await peer.send(SWITCH + DOWN)
        assert unmasked(await peer.exactly(MASKED_CLOSE_BYTES)) == AWAY
        await peer.send(CLOSE_DOWN)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(UPGRADE)
        await rig.settle()
        rig.connections[0].drain()
        go.set()
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert await client.exactly(len(DOWN + AWAY)) == DOWN + AWAY
        await client.send(CLOSE_UP)
        assert await client.everything() == b""


async def test_a_close_while_both_sides_send_without_pause_tears_no_frame():
    async def send(peer: Peer, frame: bytes) -> None:
        with suppress(*BROKEN):
            while True:
                await peer.send(frame)
                await trio.lowlevel.checkpoint()

    async def receive(peer: Peer, frame: bytes, flows: trio.Event) -> None:
        got = 0
        while (one := await peer.exactly(2))[0] != AWAY[0]:
            assert one + await peer.exactly(len(frame) - 2) == frame
            got += 1
            if got == 10:
                flows.set()

    flowing = [trio.Event(), trio.Event()]
    async with websocket() as ends, trio.open_nursery() as sending:
        async with trio.open_nursery() as receiving:
            for peer, sent, got, flows in zip(
                (ends.client, ends.upstream), (UP, DOWN), (DOWN, UP), flowing, strict=True
            ):
                sending.start_soon(send, peer, sent)
                receiving.start_soon(receive, peer, got, flows)
            for flows in flowing:
                await flows.wait()
            ends.close()
        sending.cancel_scope.cancel()
