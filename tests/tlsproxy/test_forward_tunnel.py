"""forward/tunnel.py: bytes both ways after an upgrade, with a real WebSocket and with raw peers."""

from __future__ import annotations

import contextlib
import hashlib
import os

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, serve_websocket
from trio_websocket import wrap_client_stream as wrap

from tests.forwarding import OK, Peer, Place, Rig, forwarding
from tlsproxy import policy
from tlsproxy.net.dial import Dialler
from tlsproxy.net.stream import BROKEN

UPGRADE = b"GET /feed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


async def switching(peer: Peer) -> None:
    head = await peer.head()
    assert b"upgrade: echo\r\n" in head.lower()
    await peer.send(SWITCH)


async def open_tunnel(rig: Rig, ahead: bytes = b"") -> Peer:
    client = await rig.connect()
    await client.send(UPGRADE + ahead)
    head = await client.head()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"upgrade: echo\r\n" in head.lower()
    return client


async def test_a_websocket_echoes_through_the_tunnel():
    async def echo(request) -> None:
        socket = await request.accept()
        try:
            while True:
                await socket.send_message(await socket.get_message())
        except ConnectionClosed:
            pass

    async with forwarding() as rig, trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, None)
        rig.site.upstreams["/"]._dial = Dialler(Place("http", "127.0.0.1", server.port))
        client = await rig.connect()
        async with trio.open_nursery() as inner:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(client.stream.sock.dup()))
            socket: WebSocketConnection = await wrap(inner, stream, "device.test", "/feed")
            for message in ("hello", "x" * 200_000, b"\x00\xff"):
                await socket.send_message(message)
                assert await socket.get_message() == message
            await socket.aclose()
        await rig.settle()
        nursery.cancel_scope.cancel()
    assert [record.status for record in rig.records] == [101]


async def test_bytes_sent_ahead_on_either_side_are_not_lost():
    got = []

    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH + b"from upstream")
        got.append(await peer.exactly(11))

    async with forwarding(upstream) as rig:
        client = await open_tunnel(rig, b"from client")
        assert await client.exactly(13) == b"from upstream"
        await rig.settle()
    assert got == [b"from client"]


@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_half_closed_the_other_direction_goes_on(first):
    far: list[Peer] = []
    done = trio.Event()

    async def upstream(peer: Peer) -> None:
        await switching(peer)
        far.append(peer)
        await done.wait()

    async with forwarding(upstream) as rig:
        client = await open_tunnel(rig)
        await rig.settle()
        near, other = (client, far[0]) if first == "client" else (far[0], client)
        await near.send(b"last")
        await near.eof()
        assert await other.everything() == b"last"
        for _ in range(3):
            await other.send(b"still")
            assert await near.exactly(5) == b"still"
        await other.eof()
        assert await near.everything() == b""
        await rig.settle()
        assert len(rig.site.sweeper) == 1
        assert rig.records[0].body_bytes == 4 + 15
        done.set()


async def test_fifty_megabytes_cross_in_both_directions_at_once():
    data = os.urandom(1 << 20)
    expected = hashlib.sha256(data * 50).digest()

    async def exchange(peer: Peer) -> bytes:
        digest = hashlib.sha256()

        async def write() -> None:
            for _ in range(50):
                await peer.send(data)
            await peer.eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while part := await peer.more():
                digest.update(part)
        return digest.digest()

    digests = []

    async def upstream(peer: Peer) -> None:
        await switching(peer)
        digests.append(await exchange(peer))

    async with forwarding(upstream) as rig:
        client = await open_tunnel(rig)
        digests.append(await exchange(client))
        await rig.settle()
    assert digests == [expected, expected]


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_a_side_that_breaks_takes_the_other_with_it(who):
    far: list[Peer] = []
    done = trio.Event()

    async def upstream(peer: Peer) -> None:
        await switching(peer)
        far.append(peer)
        await done.wait()

    async with forwarding(upstream) as rig:
        client = await open_tunnel(rig)
        await rig.settle()
        breaking, other = (client, far[0]) if who == "client" else (far[0], client)
        breaking.stream.abort()
        with contextlib.suppress(*BROKEN):
            assert await other.everything() == b""
        await rig.settle()
        assert len(rig.site.sweeper) == 1
        done.set()


async def test_a_quiet_tunnel_has_no_deadline():
    async def upstream(peer: Peer) -> None:
        await switching(peer)
        await peer.send(await peer.exactly(4))

    async with forwarding(upstream) as rig:
        client = await open_tunnel(rig)
        await rig.sweep_later(1_000_000)
        rig.sweep()
        await client.send(b"ping")
        assert await client.exactly(4) == b"ping"


async def test_a_half_closed_tunnel_that_moves_nothing_ends(autojump_clock):
    async def upstream(peer: Peer) -> None:
        await switching(peer)
        await trio.sleep_forever()

    async with forwarding(upstream, deadline_s=10 * policy.HALF_CLOSED_S) as rig:
        client = await open_tunnel(rig)
        started = trio.current_time()
        await client.eof()
        with pytest.raises(BROKEN):
            await client.exactly(1)
        assert trio.current_time() - started == pytest.approx(policy.HALF_CLOSED_S, abs=1)


async def test_a_refused_upgrade_is_a_response_like_any_other():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        await peer.head()
        await peer.send(OK)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        assert (await client.ask(UPGRADE)).status == 403
        assert (await client.ask()).status == 200
        assert len(rig.accepted) == 1


async def test_a_switch_that_nobody_asked_for_is_502():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH)

    async with forwarding(upstream) as rig:
        assert (await (await rig.connect()).ask()).status == 502
