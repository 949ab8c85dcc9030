"""The channel between supervisor and worker: whole messages, in order, whoever comes and goes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import trio

from tlsproxy.handover import WorkerState
from tlsproxy.workers.channel import Channel
from tlsproxy.workers.messages import Ping, Pong, Prepare, Said, SiblingKeys, Started
from tlsproxy.workers.protocol import FromWorker, ToWorker, decode_from_worker, decode_to_worker, encode


@pytest.fixture
async def ends(nursery: trio.Nursery) -> AsyncIterator[tuple[Channel[FromWorker], Channel[ToWorker]]]:
    ours, theirs = socket.socketpair()
    supervisor: Channel[FromWorker] = Channel(ours, decode_from_worker)
    worker: Channel[ToWorker] = Channel(theirs, decode_to_worker)
    with trio.fail_after(20):
        nursery.start_soon(supervisor.run)
        nursery.start_soon(worker.run)
        yield supervisor, worker
        supervisor.close()
        worker.close()


async def test_messages_arrive_whole_and_in_order(ends) -> None:
    supervisor, worker = ends
    big = msgspec.Raw(b'{"rows": "' + b"x" * 3_000_000 + b'"}')
    for message in (Ping(1), Prepare(7, big), Ping(2)):
        supervisor.send(message)
    async with aclosing(worker.receive()) as messages:
        assert await anext(messages) == Ping(1)
        prepare = await anext(messages)
        assert bytes(prepare.generation) == bytes(big)
        assert await anext(messages) == Ping(2)


async def test_what_came_together_with_the_first_message_is_not_lost_between_two_readers(ends) -> None:
    supervisor, worker = ends
    supervisor.send(Ping(1))
    supervisor.send(Ping(2))
    await trio.testing.wait_all_tasks_blocked()
    for number in (1, 2):
        async with aclosing(worker.receive()) as messages:
            assert await anext(messages) == Ping(number)


async def test_the_end_of_one_side_ends_the_reading_of_the_other(ends) -> None:
    supervisor, worker = ends
    worker.send(Started(1))
    worker.finish()
    await trio.testing.wait_all_tasks_blocked()
    worker.close()
    assert [message async for message in supervisor.receive()] == [Started(1)]
    supervisor.send(Ping(1))  # to nobody: no error


async def test_events_are_dropped_before_answers_when_nobody_reads() -> None:
    ours, theirs = socket.socketpair()
    worker = Channel(theirs, decode_to_worker)
    for _ in range(2000):
        worker.send(Said("error", "flood", {}))
    worker.send(Pong(1))
    supervisor = Channel(ours, decode_from_worker)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry_to_the_end, worker)
            async with aclosing(supervisor.receive()) as messages:
                seen = [message async for message in messages]
    assert seen[-1] == Pong(1)
    assert 0 < len(seen) < 1000
    supervisor.close()


async def test_keys_of_siblings_are_dropped_before_a_worker_passes_for_stuck() -> None:
    """One that told keys without an end ended all others."""
    ours, theirs = socket.socketpair()
    supervisor = Channel(ours, decode_from_worker)
    for _ in range(2000):
        supervisor.send(SiblingKeys(1, {"0" * 32: "0" * 64}))
    supervisor.send(Ping(1))
    worker = Channel(theirs, decode_to_worker)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry_to_the_end, supervisor)
            async with aclosing(worker.receive()) as messages:
                seen = [message async for message in messages]
    assert seen[-1] == Ping(1)
    assert 0 < len(seen) < 1000
    worker.close()


async def carry_to_the_end(channel: Channel[Any]) -> None:
    channel.finish()
    await channel.run()
    channel.close()


async def test_who_never_reads_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    supervisor = Channel(ours, decode_from_worker)
    for number in range(1001):
        supervisor.send(Ping(number))
    with theirs:
        assert theirs.recv(1) == b""
    supervisor.send(Ping(1002))  # to nobody: no error
    supervisor.close()


async def test_a_channel_handed_over_in_the_midst_of_a_message_from_the_other_side_goes_on() -> None:
    ours, theirs = socket.socketpair()
    before = Channel(ours, decode_from_worker)
    whole = encode(Started(1)) + encode(Pong(2))
    with theirs, trio.fail_after(20):
        theirs.sendall(whole[:-5])
        async with aclosing(before.receive()) as messages:
            assert await anext(messages) == Started(1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(anext, messages)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        after = Channel(ours.dup(), decode_from_worker, unread=before.unread)
        before.close()
        theirs.sendall(whole[-5:])
        async with aclosing(after.receive()) as messages:
            assert await anext(messages) == Pong(2)
        after.close()


async def test_a_channel_handed_over_in_the_midst_of_messages_to_the_other_side_goes_on(nursery) -> None:
    ours, theirs = socket.socketpair()
    before, worker = Channel(ours, decode_from_worker), Channel(theirs, decode_to_worker)
    big = msgspec.Raw(b'"' + b"x" * 3_000_000 + b'"')
    with trio.fail_after(20):
        async with trio.open_nursery() as carrying:
            carrying.start_soon(before.run)
            before.send(Prepare(7, big))
            before.send(Ping(1))
            await trio.testing.wait_all_tasks_blocked()
            carrying.cancel_scope.cancel()
        assert 0 < len(before.unsent) < 3_000_000
        after = Channel(ours.dup(), decode_from_worker, unsent=before.unsent)
        before.close()
        after.send(Ping(2))
        nursery.start_soon(after.run)
        async with aclosing(worker.receive()) as messages:
            assert [await anext(messages) for _ in range(3)] == [Prepare(7, big), Ping(1), Ping(2)]
    after.close()
    worker.close()


def test_a_message_of_another_version_is_passed_by() -> None:
    assert decode_to_worker(b'{"type":"Dance","steps":3}') is None
    assert decode_to_worker(b'{"type":"Ping","number":3,"new":true}') == Ping(3)


@pytest.mark.parametrize("line", [b"", b"nonsense", b'{"type":"Ping","number":"three"}', b"[]"])
def test_nonsense_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_to_worker(line)


def test_a_message_survives_the_wire() -> None:
    said = Said("warning", "exchange_failed", {"status": 502, "path": "/a\nb"})
    line = encode(said)
    assert line.count(b"\n") == 1
    assert decode_from_worker(line) == said


async def test_an_exec_in_the_middle_of_messages_cuts_none_in_two(nursery: trio.Nursery) -> None:
    """The supervisor's end is made anew when it has read half a message, and could send but a part of one."""
    ours, theirs = socket.socketpair()
    before: Channel[FromWorker] = Channel(ours, decode_from_worker)
    big = msgspec.Raw(b'{"rows": "' + b"x" * 3_000_000 + b'"}')
    said = encode(Said("error", "long", {"text": "y" * 1000}))
    with trio.fail_after(20):
        async with trio.open_nursery() as first:
            first.start_soon(before.run)
            first.start_soon(anext, before.receive(), None)
            for message in (Prepare(7, big), Ping(2)):
                before.send(message)
            theirs.send(said[:500])
            await trio.testing.wait_all_tasks_blocked()
            state = WorkerState(1, 0, 1, 0, before.fd, 0, before.unread, before.unsent)
            handed = msgspec.json.decode(msgspec.json.encode(state), type=WorkerState)
            first.cancel_scope.cancel()
        after: Channel[FromWorker] = Channel(
            ours, decode_from_worker, unread=handed.unread, unsent=handed.unsent
        )
        worker: Channel[ToWorker] = Channel(theirs, decode_to_worker)
        nursery.start_soon(after.run)
        async with aclosing(worker.receive()) as messages:
            prepare = await anext(messages)
            assert isinstance(prepare, Prepare)
            assert bytes(prepare.generation) == bytes(big)
            assert await anext(messages) == Ping(2)
        theirs.send(said[500:])
        async with aclosing(after.receive()) as answers:
            assert await anext(answers) == Said("error", "long", {"text": "y" * 1000})
        after.close()
        worker.close()
