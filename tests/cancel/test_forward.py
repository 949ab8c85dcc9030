"""Every owner in forward/ and net/, cancelled wherever it waits: nothing stays open, nothing looks whole."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from tests.forwarding import GET, OK, Peer, TruncatedError, forwarding
from tlsproxy.net.dial import dial
from tlsproxy.net.stream import BROKEN

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

# what the client sends, and what the upstream answers before it waits
WAITS = {
    "for a request": (b"", b""),
    "for the rest of a head": (b"GET / HT", b""),
    "for the rest of a small body": (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", b""),
    "for a response": (GET, b""),
    "for the rest of a response head": (GET, b"HTTP/1.1 200"),
    "for a body with a length": (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
    "for chunks": (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"),
    "for an end": (GET.replace(b"1.1", b"1.0"), b"HTTP/1.1 200 OK\r\n\r\nx"),
    "for an upload": (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\nx", b""),
    "for both": (
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
    ),
    "for a reader": (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + bytes(20_000_000)),
    "in a tunnel": (GET[:-2] + b"Connection: upgrade\r\nUpgrade: echo\r\n\r\n", SWITCH),
    "for a refused client": (b"GET / HTTP/9.9\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", WAITS)
async def test_a_connection_cancelled_where_it_waits_closes_both_its_sides(name):
    request, response = WAITS[name]

    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(response)
        await peer.everything()

    async with forwarding(upstream) as rig:
        scope = trio.CancelScope()
        client = await rig.connect(scope=scope)
        await client.send(request)
        await rig.settle()
        scope.cancel()
        await rig.settle()
        assert rig.connections[0]._client.stream.sock.fileno() == -1
        assert len(rig.site.sweeper) == 1
        assert len(rig.site.upstreams["/"].pool) == 0
        for peer in rig.accepted:
            assert peer.stream.sock.fileno() == -1, "the upstream saw the end"
        if response and name != "in a tunnel":
            with pytest.raises((TruncatedError, *BROKEN)):
                await client.answer()


async def test_a_websocket_cancelled_while_it_waits_for_the_answers_to_its_close_closes_both_its_sides():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCH.replace(b"echo", b"websocket"))
        await peer.everything()

    async with forwarding(upstream) as rig:
        scope = trio.CancelScope()
        client = await rig.connect(scope=scope)
        await client.send(GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await client.head()
        await rig.settle()
        rig.connections[0].drain()
        await rig.settle()
        scope.cancel()
        await rig.settle()
        assert rig.connections[0]._client.stream.sock.fileno() == -1
        assert len(rig.site.sweeper) == 1
        assert rig.accepted[0].stream.sock.fileno() == -1, "the upstream saw the end"


async def test_a_cancelled_dial_leaves_no_socket(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, trio.fail_after(5):
        listener.bind(path)
        listener.listen(0)
        first = await dial(((socket.AF_UNIX, path),))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial, ((socket.AF_UNIX, path),))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        first.close()  # an unclosed socket is a ResourceWarning, and warnings are errors


async def test_a_connection_cancelled_while_it_dials_is_closed():
    async def never():
        await trio.sleep_forever()

    async with forwarding() as rig:
        rig.site.upstreams["/"]._dial = never
        scope = trio.CancelScope()
        client = await rig.connect(scope=scope)
        await client.send(GET)
        await rig.settle()
        scope.cancel()
        with pytest.raises((TruncatedError, *BROKEN)):
            await client.answer()


async def test_a_cancelled_connection_between_two_requests_gives_its_upstream_back_whole():
    async with forwarding() as rig:
        scope = trio.CancelScope()
        client = await rig.connect(scope=scope)
        assert (await client.ask()).status == 200
        scope.cancel()
        assert await client.everything() == b""
        other = await rig.connect()
        assert (await other.ask()).body == OK[-2:]
        assert len(rig.accepted) == 1
