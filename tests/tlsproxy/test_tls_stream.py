"""The TLS stream on real sockets: bytes, back-pressure, two tasks on one stream, and how it ends."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from tests.tlsproxy.tls_pair import client_context
from tests.tlsproxy.tls_wire import connected, sockets
from tlsproxy import policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import Context, make_context
from tlsproxy.tls.engines.port import TLSFacts
from tlsproxy.tls.stream import TLSStream

VERSIONS = ("TLSv1_2", "TLSv1_3")
BIG = random.Random(9).randbytes(8_000_000)


@pytest.fixture(params=["system", "bundled"])
def context(request, pki) -> Context:
    return make_context(pki.leaf().bundle(), TLSPolicy(), request.param)


@pytest.fixture
async def ends(context):
    with trio.fail_after(30):
        async with connected(context) as both:
            yield both


# --- bytes


@pytest.mark.parametrize("version", VERSIONS)
async def test_large_bodies_go_both_ways_at_once_unaltered(context, version):
    async def pump(stream: TLSStream) -> str:
        digest, left = hashlib.sha256(), len(BIG)
        while left:
            part = await stream.receive_some()
            digest.update(part)
            left -= len(part)
        return digest.hexdigest()

    with trio.fail_after(60):
        async with connected(context, client_context(version=version)) as (wire, stream):
            up: list[str] = []

            async def receive() -> None:
                up.append(await pump(stream))

            async def ask() -> None:
                for at in range(0, len(BIG), 50_000):
                    await wire.send(BIG[at : at + 50_000])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                nursery.start_soon(ask)
                nursery.start_soon(stream.send_all, BIG)
                assert await wire.receive(len(BIG)) == BIG
            assert up == [hashlib.sha256(BIG).hexdigest()]


async def test_the_facts_and_the_bundle_are_told(ends, context):
    wire, stream = ends
    assert stream.bundle_id == context.bundle_id
    assert stream.facts.version == wire.tls.version() == "TLSv1.3"


async def test_no_more_is_given_than_was_asked_for(ends):
    wire, stream = ends
    await wire.send(b"abcdef")
    assert await stream.receive_some(2) == b"ab"
    assert await stream.receive_some(100) == b"cdef"


async def test_a_client_that_does_not_read_makes_the_sender_wait_in_bounded_memory(ends):
    wire, stream = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, BIG)
        await trio.testing.wait_all_tasks_blocked()
        assert len(stream._owed) < policy.TLS_WRITE_BYTES + 4096
        assert await wire.receive(len(BIG)) == BIG


async def test_receiving_goes_on_while_a_sender_waits(ends):
    wire, stream = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, BIG)
        await trio.testing.wait_all_tasks_blocked()
        await wire.send(b"I am not reading, but asking")
        assert await stream.receive_some() == b"I am not reading, but asking"
        nursery.cancel_scope.cancel()


async def test_a_cancelled_send_leaves_whole_records_behind(ends):
    wire, stream = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, BIG)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"!end")
        got = b""
        while not got.endswith(b"!end"):
            assert await wire.more()
            got += wire.read_all()
    assert got == BIG[: len(got) - 4] + b"!end"


async def test_two_senders_at_once_are_refused(ends):
    _, stream = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, BIG)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.send_all(b"me too")
        with pytest.raises(trio.BusyResourceError):
            await stream.send_eof()
        nursery.cancel_scope.cancel()


# --- ends


async def test_close_notify_from_the_client_is_a_whole_end(ends):
    wire, stream = ends
    wire.write(b"last")
    wire.shut()
    await wire.flush()
    assert await stream.receive_some() == b"last"
    assert await stream.receive_some() == await stream.receive_some() == b""
    assert not stream.truncated


async def test_an_end_without_close_notify_is_an_end_and_is_told(ends):
    wire, stream = ends
    await wire.send(b"last")
    await wire.stream.send_eof()
    assert await stream.receive_some() == b"last"
    assert await stream.receive_some() == await stream.receive_some() == b""
    assert stream.truncated


async def test_a_record_cut_in_two_by_the_end_gives_none_of_its_bytes(ends):
    wire, stream = ends
    wire.write(b"never whole")
    await wire.stream.send_all(wire.take()[:-1])
    await wire.stream.send_eof()
    assert await stream.receive_some() == b""
    assert stream.truncated


async def test_our_end_leaves_the_other_direction_open(ends):
    wire, stream = ends
    await stream.send_all(b"last")
    await wire.send(b"before")
    await stream.send_eof()
    await stream.send_eof()
    assert await wire.receive(4) == b"last"
    while not wire.is_ended():
        assert await wire.more()
    await wire.send(b"after")
    assert await stream.receive_some(6) == b"before"
    assert await stream.receive_some() == b"after"
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"more")


async def test_the_other_direction_stays_open_after_the_clients_end(ends):
    wire, stream = ends
    wire.shut()
    await wire.flush()
    assert await stream.receive_some() == b""
    await stream.send_all(b"still here")
    assert await wire.more()
    assert wire.incoming.pending, "the client has our record, though its library reads no more"


async def test_closing_tells_the_client_a_whole_end(ends):
    wire, stream = ends
    await stream.send_all(b"body")
    stream.close()
    stream.close()
    assert await wire.receive(4) == b"body"
    while await wire.more():
        pass
    assert wire.is_ended()


async def test_aborting_shows_the_client_that_something_is_missing(ends):
    wire, stream = ends
    await stream.send_all(b"half a body")
    stream.abort()
    assert await wire.receive(11) == b"half a body"
    assert not await wire.more()
    wire.incoming.write_eof()
    with pytest.raises(ssl.SSLEOFError):
        wire.tls.read(1)


async def is_closed_under(use: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await use()


async def test_closing_wakes_a_waiting_receiver(ends):
    _, stream = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(is_closed_under, stream.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        stream.close()
    for use in (stream.receive_some, stream.send_eof, partial(stream.send_all, b"x")):
        await is_closed_under(use)


async def test_closing_while_a_sender_waits_is_no_whole_end(ends):
    wire, stream = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(is_closed_under, partial(stream.send_all, BIG))
        await trio.testing.wait_all_tasks_blocked()
        stream.close()
    while await wire.more():
        wire.read_all()
    assert not wire.is_ended()


async def test_a_forged_record_breaks_the_stream_and_the_client_is_told(ends):
    wire, stream = ends
    await wire.stream.send_all(b"\x17\x03\x03\x00\x30" + bytes(48))
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    await wire.more()
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        wire.tls.read(1)


async def test_a_reset_breaks_the_stream_for_reader_and_writer(ends):
    wire, stream = ends
    wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await wire.stream.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    stream.close()


# --- fairness and bounds, with an engine that does what a hostile client would make it do


class Scripted:
    """An engine that always has `given` to read and `owing` to send."""

    def client_chain(self) -> tuple[bytes, ...]:
        return ()

    def __init__(self, given: bytes | None, owing: bytes = b"") -> None:
        self.given, self.owing = given, owing

    def read(self, _size: int) -> bytes | None:
        return self.given

    def take(self) -> bytes:
        return self.owing

    def feed(self, data) -> None: ...

    def write(self, data) -> None: ...

    def shut(self) -> None: ...

    def handshake(self) -> bool:
        return True

    def facts(self) -> TLSFacts:
        return TLSFacts("TLSv1.3", "", None, None, resumed=False)


async def turns_of_others(work) -> int:
    """Count how often another task gets its turn while `work` is done."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await work()
            nursery.cancel_scope.cancel()
    return turns


@pytest.mark.parametrize("size", [1, 16_384])
async def test_a_client_that_always_has_data_lets_the_others_run(size):
    client, server = await sockets()
    stream = TLSStream(server, Scripted(b"x" * size), "")
    calls = 5000

    async def work() -> None:
        for _ in range(calls):
            await stream.receive_some()

    expected = calls * (size + policy.YIELD_CALL_BYTES) // policy.YIELD_BYTES
    assert await turns_of_others(work) >= expected - 4 > 30
    stream.close()
    await client.aclose()


async def test_sending_to_a_client_that_takes_all_lets_the_others_run():
    client, server = await sockets()
    stream = TLSStream(server, Scripted(None), "")

    async def work() -> None:
        await stream.send_all(bytes(20 * policy.YIELD_BYTES))

    assert await turns_of_others(work) >= 15
    stream.close()
    await client.aclose()


async def test_a_client_that_provokes_answers_and_reads_none_is_cut_off():
    """As with key updates, each of which TLS 1.3 must answer."""
    client, server = await sockets()
    stream = TLSStream(server, Scripted(None, owing=bytes(50_000)), "")

    async def provoke() -> None:
        while True:
            await client.send_all(b"update your keys" * 1000)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provoke)
            with pytest.raises(trio.BrokenResourceError, match="doesn't read"):
                await stream.receive_some()
            nursery.cancel_scope.cancel()
    assert len(stream._owed) < 2 * policy.MAX_OWED_BYTES
    stream.close()
    await client.aclose()
