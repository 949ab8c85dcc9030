"""net/stream.py, net/dial.py: plain sockets that tell the truth, on real sockets."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from tlsproxy import policy
from tlsproxy.net.dial import Dialler, dial, resolve
from tlsproxy.net.stream import SocketStream, delivered_bytes, linger, set_keepalive


@dataclass
class Place:
    scheme: str = "http"
    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""


def tcp_pair() -> tuple[SocketStream, SocketStream]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return SocketStream(one), SocketStream(other)


@pytest.fixture
async def pair():
    one, other = tcp_pair()
    yield one, other
    one.close()
    other.close()


async def test_fifty_megabytes_arrive_unaltered_through_a_reader_that_lags(pair):
    one, other = pair
    data = os.urandom(1 << 20) * 50
    digest = hashlib.sha256()

    async def read():
        while part := await other.receive_some(policy.DOWN_READ_BYTES):
            digest.update(part)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await one.send_all(data)
            await one.send_eof()
    assert digest.digest() == hashlib.sha256(data).digest()


async def test_half_closed_the_other_direction_goes_on(pair):
    one, other = pair
    with trio.fail_after(5):
        await one.send_eof()
        assert await other.receive_some() == b""
        await other.send_all(b"still here")
        assert await one.receive_some() == b"still here"


async def test_receive_some_brings_what_arrives_after_it_began_to_wait(pair):
    one, other = pair
    got = []

    async def read():
        got.append(await other.receive_some())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await one.send_all(memoryview(b"late"))
    assert got == [b"late"]


async def test_closing_wakes_the_reader_and_the_writer_with_closed(pair):
    one, _other = pair
    seen = []

    async def expect(action, *args):
        try:
            await action(*args)
        except trio.ClosedResourceError:
            seen.append(action.__name__)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, one.receive_some)
            nursery.start_soon(expect, one.send_all, bytes(64 << 20))
            await trio.testing.wait_all_tasks_blocked(0.02)
            one.close()
    assert sorted(seen) == ["receive_some", "send_all"]


@pytest.mark.parametrize("action", ["receive_some", "send_eof"])
async def test_a_closed_stream_says_closed_whatever_is_asked_of_it(pair, action):
    one, _ = pair
    one.close()
    one.close()
    with trio.fail_after(5), pytest.raises(trio.ClosedResourceError):
        await getattr(one, action)()
    with trio.fail_after(5), pytest.raises(trio.ClosedResourceError):
        await one.send_all(b"x")


async def test_an_aborted_connection_is_seen_as_broken_not_as_ended(pair):
    one, other = pair
    one.abort()
    one.abort()
    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await other.receive_some()


async def test_a_stream_that_always_has_bytes_lets_others_run(pair):
    one, other = pair
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await trio.lowlevel.checkpoint()
            for _ in range(4 * policy.YIELD_BYTES // policy.YIELD_CALL_BYTES):
                one.sock.send(b"x")
                await other.receive_some()
            nursery.cancel_scope.cancel()
    assert turns >= 3


async def test_quiet_means_no_byte_and_no_end(pair):
    one, other = pair
    assert one.is_quiet()
    other.sock.send(b"unasked")
    assert not one.is_quiet()
    one.sock.recv(100)
    assert one.is_quiet()
    other.close()
    assert not one.is_quiet()


async def test_delivered_bytes_counts_what_the_peer_acknowledged(pair):
    one, other = pair
    before = delivered_bytes(one.sock)
    with trio.fail_after(5):
        await one.send_all(b"x" * 1000)
        await other.receive_some()
        while (after := delivered_bytes(one.sock)) == before:
            await trio.lowlevel.checkpoint()
    assert before is not None
    assert after == before + 1000
    unix, peer = socket.socketpair()
    with unix, peer:
        assert delivered_bytes(unix) is None
        set_keepalive(unix)
    set_keepalive(one.sock)
    assert one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


async def test_lingering_reads_past_what_comes_so_that_the_last_words_arrive(pair):
    one, other = pair
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await one.send_all(b"last words")
            nursery.start_soon(linger, one.sock)
            await other.send_all(bytes(policy.LINGER_BYTES // 2))
            assert await other.receive_some() == b"last words"
            assert await other.receive_some() == b""
            other.close()


async def test_lingering_ends_when_enough_was_read(pair):
    one, other = pair
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.send_all, bytes(policy.LINGER_BYTES + 1))
            await linger(one.sock)


async def test_dialling_tries_every_address_of_a_name():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with trio.fail_after(5):
            sock = await dial(((socket.AF_INET6, ("::1", port)), (socket.AF_INET, ("127.0.0.1", port))))
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            sock.close()
            stream = await Dialler(Place(host="localhost", port=port))()
            stream.close()


async def test_ip_literals_and_paths_are_not_looked_up():
    threads = trio.CapacityLimiter(1)
    assert await resolve(Place(host="::1", port=5), threads) == ((socket.AF_INET6, ("::1", 5)),)
    assert await resolve(Place(host="10.1.2.3", port=5), threads) == ((socket.AF_INET, ("10.1.2.3", 5)),)
    assert await resolve(Place(scheme="unix", path="/run/x"), threads) == ((socket.AF_UNIX, "/run/x"),)


async def test_a_resolver_that_hangs_leaves_the_threads_to_others(monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: go_on.wait(10) and [])
    dialler = Dialler(Place(host="upstream.test", port=5), connect_s=0.01)
    shared = trio.to_thread.current_default_thread_limiter()

    async def in_vain() -> None:
        with pytest.raises(TimeoutError):
            await dialler()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(in_vain)
        assert dialler._resolving.borrowed_tokens == policy.RESOLVERS
        assert shared.borrowed_tokens == 0
        go_on.set()
        while dialler._resolving.borrowed_tokens:
            await trio.lowlevel.checkpoint()


async def test_a_unix_socket_is_dialled_and_a_full_backlog_is_waited_out(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, trio.fail_after(5):
        listener.bind(path)
        listener.listen(0)
        place = ((socket.AF_UNIX, path),)
        first = await dial(place)
        made = []

        async def second():
            made.append(await dial(place))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked(0.001)
            assert not made, "the backlog of one is full"
            listener.accept()[0].close()
        first.close()
        made[0].close()


async def test_nobody_there_is_an_error_that_says_so(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with trio.fail_after(5):
        with pytest.raises(ConnectionRefusedError):
            await dial(((socket.AF_INET, ("127.0.0.1", port)),))
        with pytest.raises(FileNotFoundError):
            await Dialler(Place(scheme="unix", path=str(tmp_path / "none")))()


async def test_an_address_that_never_answers_times_out(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, trio.fail_after(5):
        listener.bind(path)
        listener.listen(0)
        first = await dial(((socket.AF_UNIX, path),))
        with pytest.raises(TimeoutError):
            await Dialler(Place(scheme="unix", path=path), connect_s=0.05)()
        first.close()


async def test_an_address_that_never_answers_uses_up_only_its_share_of_the_time(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as deaf, socket.create_server(("127.0.0.1", 0)) as listener:
        deaf.bind(path)
        deaf.listen(0)
        first = await dial(((socket.AF_UNIX, path),))
        there = (socket.AF_INET, listener.getsockname())
        with trio.fail_after(2):
            sock = await dial(((socket.AF_UNIX, path), (socket.AF_UNIX, path), there))
        assert sock.getpeername() == listener.getsockname()
        sock.close()
        first.close()
