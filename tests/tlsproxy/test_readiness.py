"""Readiness on real sockets: no edge is missed, whatever was read before and whoever waited when."""

from __future__ import annotations

import random
import socket

import pytest
import trio
import trio.testing

from tlsproxy.net.stream import SocketStream
from tlsproxy.readiness import Readiness, notify_closing, wait_writable


@pytest.fixture
def pair():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
async def reader(pair):
    """A reader that is registered, on an empty socket."""
    ours = Readiness(pair[0])
    with trio.move_on_after(0):
        await ours.wait()
    return ours


def read(ours: Readiness, sock: socket.socket, size: int = 100) -> bytes:
    data = sock.recv(size)
    ours.emptied = len(data) < size
    return data


async def test_what_was_there_before_anybody_waited_is_told(pair):
    one, other = pair
    other.send(b"early")
    with trio.fail_after(5):
        await Readiness(one).wait()


async def test_bytes_that_come_while_nobody_waits_end_the_next_wait(pair, reader):
    one, other = pair
    other.send(b"x")
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(5):
        assert not await reader.wait()
    assert read(reader, one) == b"x"


async def test_a_wait_after_a_read_that_left_bytes_returns_at_once(pair, reader):
    one, other = pair
    other.send(b"ab")
    with trio.fail_after(5):
        await reader.wait()
        assert read(reader, one, 1) == b"a"
        assert not await reader.wait()
    assert read(reader, one, 1) == b"b"


async def test_after_an_emptied_socket_a_wait_lasts_until_more_comes(pair, reader):
    one, other = pair
    other.send(b"a")
    with trio.fail_after(5):
        await reader.wait()
        read(reader, one)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.wait)
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            other.send(b"b")


async def test_an_end_that_came_with_the_last_bytes_ends_every_later_wait(pair, reader):
    one, other = pair
    other.send(b"last")
    other.close()
    with trio.fail_after(5):
        await reader.wait()
        assert read(reader, one) == b"last"
        for _ in range(3):
            await reader.wait()
            assert read(reader, one) == b""


async def test_notify_closing_wakes_the_reader_and_an_open_socket_is_read_on(pair, reader):
    one, other = pair
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await reader.wait()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            notify_closing(one)
        await reader.wait()  # in doubt it returns for nothing
        with pytest.raises(BlockingIOError):
            one.recv(1)
        other.send(b"on")
        await reader.wait()
        assert read(reader, one) == b"on"


async def test_a_cancelled_wait_misses_nothing(pair, reader):
    one, other = pair
    with trio.fail_after(5):
        for word in (b"1", b"2"):
            with trio.CancelScope() as scope:
                scope.cancel()
                await reader.wait()
            assert scope.cancelled_caught
            other.send(word)
            await reader.wait()
            assert read(reader, one) == word


async def test_two_readers_at_once_are_refused(reader):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await reader.wait()
        nursery.cancel_scope.cancel()


async def test_a_closed_socket_is_not_waited_for(pair, reader):
    one, _ = pair
    notify_closing(one)
    one.close()
    for ours in (reader, Readiness(one)):
        with trio.fail_after(5), pytest.raises(trio.ClosedResourceError):
            await ours.wait()
    with trio.fail_after(5), pytest.raises(trio.ClosedResourceError):
        await wait_writable(one)


async def test_a_descriptor_that_is_used_again_belongs_to_its_new_reader(pair, reader):
    one, _ = pair
    number = one.fileno()
    one.close()  # without a word, as somebody might
    fresh, peer = socket.socketpair()
    with fresh, peer:
        again = fresh if fresh.fileno() == number else peer
        assert again.fileno() == number
        again.setblocking(False)
        ours = Readiness(again)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.wait)
                await trio.testing.wait_all_tasks_blocked()
                (peer if again is fresh else fresh).send(b"new")
        assert read(ours, again) == b"new"


def fill(sock: socket.socket) -> None:
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):  # noqa: PT012  until it is full
        while True:
            sock.send(bytes(65_536))


async def closed_under(sock: socket.socket) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await wait_writable(sock)


async def test_closing_wakes_a_writer_and_then_the_next_one_with_its_descriptor(pair):
    one, _other = pair
    number = one.fileno()
    fill(one)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(closed_under, one)
            await trio.testing.wait_all_tasks_blocked()
            notify_closing(one)
            one.close()
            fresh, peer = socket.socketpair()
            with fresh, peer:
                again = fresh if fresh.fileno() == number else peer
                assert again.fileno() == number
                fill(again)
                nursery.start_soon(closed_under, again)
                await trio.testing.wait_all_tasks_blocked()
                notify_closing(again)
                await trio.testing.wait_all_tasks_blocked()
                assert not nursery.child_tasks


@pytest.mark.parametrize("seed", range(20))
async def test_no_byte_is_waited_for_in_vain_however_they_are_cut(pair, seed):
    """Random pieces, pauses and read sizes; a missed edge would hang, and time out."""
    chance = random.Random(seed)
    one, other = (SocketStream(end) for end in pair)
    sent = chance.randbytes(chance.choice((1, 1000, 300_000)))
    got = bytearray()

    async def write() -> None:
        at = 0
        while at < len(sent):
            size = chance.choice((1, 7, 4096, 16_384, 70_000))
            await other.send_all(sent[at : at + size])
            at += size
            for _ in range(chance.randrange(4)):
                await trio.lowlevel.checkpoint()
        other.close()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while data := await one.receive_some(chance.choice((1, 100, 4096, 16_384, 65_536))):
                got += data
                for _ in range(chance.randrange(3)):
                    await trio.lowlevel.checkpoint()
    assert bytes(got) == sent
