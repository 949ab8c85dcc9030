"""Accepting: a connection that fails hurts no other, limits hold, and a shortage of descriptors passes."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from tlsproxy import policy
from tlsproxy.errors import ListenError
from tlsproxy.net.accept import Acceptor, plain_address
from tlsproxy.net.admission import Admission, Verdict
from tlsproxy.net.listeners import open_listeners
from tlsproxy.net.stream import SocketStream


@dataclass
class Door:
    """An accept loop whose connections wait until they are let go, or give way."""

    address: tuple[str, int]
    limit: int
    per_address: int = 100
    give_way: bool = False
    told: list[str] = field(default_factory=list)
    let_go: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.admission = Admission(self.limit, self.per_address, lambda _: False)
        self.acceptor = Acceptor(self.admission, self.make_room, self.tell)

    async def serve(self, sock: socket.socket, _address: str) -> None:
        if await SocketStream(sock).receive_some(1) == b"!":
            raise RuntimeError("a fault of ours")
        await self.let_go.wait()

    async def be_done(self, _sock: socket.socket, _address: str) -> None:
        await trio.sleep(1)

    def make_room(self) -> bool:
        if self.give_way:
            self.let_go.set()
        return self.give_way

    def tell(self, code: str, _error: BaseException | None) -> None:
        self.told.append(code)


@asynccontextmanager
async def door(listener: socket.socket | None = None, **how: Any) -> AsyncIterator[Door]:
    opened = listener or open_listeners("127.0.0.1", 0)[0][0]
    one = Door(opened.getsockname(), **{"limit": 100, **how})
    with opened, trio.fail_after(10):
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
            accepting.start_soon(one.acceptor.run, opened, one.serve, connections, b"busy")
            yield one
            accepting.cancel_scope.cancel()
            connections.cancel_scope.cancel()


async def test_a_client_above_its_addresss_share_gets_a_last_word_and_an_end():
    async with door(per_address=1) as one, await trio.open_tcp_stream(*one.address) as first:
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with await trio.open_tcp_stream(*one.address) as second:
            assert await second.receive_some() == b"busy"
        assert one.told == ["address_full"]
        await first.send_all(b"?")
        one.let_go.set()
        assert await first.receive_some() == b""


async def test_who_only_waits_gives_way_when_all_places_are_taken():
    async with door(limit=1, give_way=True) as one, await trio.open_tcp_stream(*one.address) as waiting:
        await waiting.send_all(b"?")
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with await trio.open_tcp_stream(*one.address) as new:
            assert await waiting.receive_some() == b""
            await new.send_all(b"?")
            assert await new.receive_some() == b""
    assert (one.admission.open, sum(one.admission.turned_away.values()), one.told) == (0, 0, [])


async def test_above_the_limit_a_connection_is_closed_at_once_and_told_once():
    async with door(limit=1) as one:
        first = await trio.open_tcp_stream(*one.address)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for _ in range(3):
            async with await trio.open_tcp_stream(*one.address) as turned_away:
                assert await turned_away.receive_some() == b"busy"
        assert one.told == ["connections_full"]
        assert (one.admission.open, one.admission.entered) == (1, 1)
        assert one.admission.turned_away == {Verdict.FULL: 3, Verdict.ADDRESS_FULL: 0}
        async with first:
            await first.send_all(b"?")
            one.let_go.set()
            assert await first.receive_some() == b""
        async with await trio.open_tcp_stream(*one.address) as admitted:
            await admitted.send_all(b"?")
            assert await admitted.receive_some() == b""
        assert one.admission.open == 0


async def test_a_fault_in_one_connection_ends_only_that_one():
    async with door() as one:
        good = await trio.open_tcp_stream(*one.address)
        async with await trio.open_tcp_stream(*one.address) as bad:
            await bad.send_all(b"!")
            assert await bad.receive_some() == b""
        assert one.told == ["connection_fault"]
        await good.send_all(b"?")
        one.let_go.set()
        assert await good.receive_some() == b""
        await good.aclose()


class Exhausted(socket.socket):
    """A listening socket for which there are no descriptors left, for a while."""

    shortage = 3

    def accept(self) -> tuple[socket.socket, object]:
        if self.shortage:
            self.shortage -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_a_shortage_of_descriptors_is_told_once_and_passes(autojump_clock):
    listener = Exhausted()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    async with door(listener=listener) as one:
        one.let_go.set()
        async with await trio.open_tcp_stream(*one.address) as client:
            await client.send_all(b"?")
            assert await client.receive_some() == b""
        assert listener.shortage == 0
        assert one.told == ["accept_exhausted"]


async def test_a_lasting_shortage_is_told_once_a_minute_however_few_connections_are_open(autojump_clock):
    listener = Exhausted()
    listener.shortage = 10_000
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    one = Door(listener.getsockname(), limit=4096)
    with listener:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(one.acceptor.run, listener, one.serve, accepting)
            for minute in range(1, 4):
                one.admission.enter("192.0.2.7")
                ours, theirs = socket.socketpair()
                with theirs:
                    await one.acceptor._isolate(ours, "192.0.2.7", one.be_done(ours, "192.0.2.7"))
                assert one.told == ["accept_exhausted"] * minute
                await trio.sleep(policy.TELL_AGAIN_S)
            accepting.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("::ffff:192.0.2.7", 5, 0, 0), "192.0.2.7"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::1"),
        ("", ""),
    ],
)
def test_a_peer_is_known_by_one_form_of_its_address(peer, address):
    assert plain_address(peer) == address


def test_an_ipv6_client_is_counted_by_its_network_and_a_trusted_proxy_not_at_all():
    admission = Admission(10, 2, lambda address: address == "192.0.2.1")
    for address in ("2001:db8::1", "2001:db8::2"):
        admission.enter(address)
    assert admission.judge("2001:db8::3") is Verdict.ADDRESS_FULL
    assert admission.judge("2001:db8:0:1::3") is Verdict.ADMIT
    admission.leave("2001:db8::1")
    assert admission.judge("2001:db8::3") is Verdict.ADMIT
    for _ in range(9):
        admission.enter("192.0.2.1")
    assert admission.judge("192.0.2.1") is Verdict.FULL
    for _ in range(9):
        admission.leave("192.0.2.1")
    assert admission.judge("192.0.2.1") is Verdict.ADMIT


def test_all_addresses_of_a_name_listen_on_one_port():
    listeners = [sock for (sock,) in open_listeners("localhost", 0)]
    try:
        assert len({sock.getsockname()[1] for sock in listeners}) == 1
        assert len(listeners) == len({sock.getsockname()[0] for sock in listeners})
    finally:
        for sock in listeners:
            sock.close()


@pytest.mark.parametrize("host", ["::", "*", ""])
def test_everywhere_takes_ipv4_and_ipv6(host):
    ((listener,),) = open_listeners(host, 0)
    port = listener.getsockname()[1]
    with listener:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if family is socket.AF_INET6 and listener.family is not family:
                continue  # a machine without IPv6
            with socket.socket(family) as client:
                client.connect((address, port))


def test_a_taken_port_is_an_error_that_says_who_could_help():
    ((taken,),) = open_listeners("127.0.0.1", 0)
    with taken, pytest.raises(ListenError, match="another program listens there") as caught:
        open_listeners("127.0.0.1", taken.getsockname()[1])
    assert caught.value.hint


def test_a_name_without_an_address_is_an_error_in_words():
    with pytest.raises(ListenError, match="no address is known for that name"):
        open_listeners("nowhere.invalid", 0)


def test_a_strange_address_is_an_error_in_words():
    with pytest.raises(ListenError, match="this machine has no such address"):
        open_listeners("192.0.2.99", 0)


def test_who_comes_back_may_gather_where_the_tickets_are_but_not_without_bound():
    admission = Admission(100, 2, lambda _address: False)
    for _ in range(2):
        admission.enter("192.0.2.1")
    assert admission.judge("192.0.2.1") is Verdict.ADDRESS_FULL
    assert admission.judge("192.0.2.1", shares=2) is Verdict.ADMIT
    for _ in range(2):
        admission.enter("192.0.2.1")
    assert admission.judge("192.0.2.1", shares=2) is Verdict.ADDRESS_FULL
