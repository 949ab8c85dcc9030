"""Connections that are handed from worker to worker: to whom, when not, and what is never lost."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import struct
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tlsproxy import policy
from tlsproxy.net import mailbox
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.workers.greetings import Greetings
from tlsproxy.workers.siblings import Siblings

BUNDLE, KEY = "b" * 64, bytes(range(16))
HELLO = b"\x16\x03\x01 a hello"
TERMS: dict[str, Any] = {"port": 8443, "left_s": 10.0}


class Crew:
    """Two workers with their mailboxes, and what each has adopted."""

    def __init__(self, stack: ExitStack) -> None:
        self.pairs = [mailbox.make() for _ in range(2)]
        for end in (end for pair in self.pairs for end in pair):
            stack.callback(end.close)
        posting, collecting = ([pair[end] for pair in self.pairs] for end in (0, 1))
        self.one, self.other = (Siblings(seat, collecting, posting, lambda: self.now) for seat in range(2))
        self.now = 1000.0
        self.one.meet([0, 1])
        self.one.learn(1, {KEY.hex(): BUNDLE})
        self.adopted: list[tuple[socket.socket, bytes, int, float]] = []
        self.stack = stack

    def successor(self) -> Siblings:
        posting, collecting = ([pair[end] for pair in self.pairs] for end in (0, 1))
        return Siblings(1, collecting, posting, lambda: self.now)

    def adopt(self, sock: socket.socket, data: bytes, port: int, left_s: float) -> None:
        self.stack.callback(sock.close)
        self.adopted.append((sock, data, port, left_s))

    def client(self) -> tuple[socket.socket, socket.socket]:
        ends = socket.socketpair()
        for end in ends:
            self.stack.callback(end.close)
        return ends


@pytest.fixture
def crew():
    with ExitStack() as stack:
        yield Crew(stack)


async def test_a_connection_goes_with_its_bytes_to_whom_its_ticket_belongs(crew):
    client, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    accepted.close()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.other.take_in, crew.adopt)
            while not crew.adopted:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    ((sock, data, port, _),) = crew.adopted
    assert (data, port) == (HELLO, 8443)
    assert not sock.getblocking()
    sock.send(b"answer")
    assert client.recv(10) == b"answer"


@pytest.mark.parametrize(
    ("ticket", "bundle"),
    [(b"\xff" * 16, BUNDLE), (KEY, "c" * 64), (b"", BUNDLE)],
    ids=["an unknown key", "another bundle's", "none"],
)
def test_a_ticket_that_resumes_nowhere_is_served_here(crew, ticket, bundle):
    _, accepted = crew.client()
    assert not crew.one.hand_on(accepted, HELLO, ticket, bundle, **TERMS)


def test_nothing_goes_to_whom_is_not_there(crew):
    _, accepted = crew.client()
    crew.one.meet([0])
    assert not crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)


def test_what_a_full_mailbox_does_not_take_is_served_here_and_what_it_took_is_there(crew):
    _, accepted = crew.client()
    posted = 0
    while crew.one.hand_on(accepted, HELLO + bytes(4000), KEY, BUNDLE, **TERMS):
        posted += 1
        assert posted < 10_000
    crew.other.part(crew.adopt, last=True)
    assert len(crew.adopted) == posted > 0


def test_what_lies_in_the_mailbox_of_one_that_ends_is_taken_in_and_nothing_comes_after_it(crew):
    _, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    crew.other.part(crew.adopt, last=True)
    assert [data for _, data, _, _ in crew.adopted] == [HELLO]
    assert not crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)


def test_who_is_replaced_leaves_the_mailbox_to_the_successor(crew):
    _, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    crew.other.part(crew.adopt, last=False)
    assert crew.adopted == []
    successor = crew.successor()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    successor.part(crew.adopt, last=True)
    assert len(crew.adopted) == 2


def test_who_ends_hands_nothing_on(crew):
    _, accepted = crew.client()
    crew.one.part(crew.adopt, last=False)
    assert not crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)


def test_the_largest_hello_fits_and_what_is_larger_is_served_here(crew):
    _, accepted = crew.client()
    assert crew.one.hand_on(accepted, bytes(mailbox.LARGEST_NOTE - 10), KEY, BUNDLE, **TERMS)
    assert not crew.one.hand_on(accepted, bytes(mailbox.LARGEST_NOTE), KEY, BUNDLE, **TERMS)
    crew.other.part(crew.adopt, last=True)
    assert len(crew.adopted[0][1]) == mailbox.LARGEST_NOTE - 10


def test_a_worker_does_not_learn_its_own_keys_or_those_of_seats_that_there_are_not(crew):
    crew.one.learn(0, {"00" * 16: BUNDLE})
    crew.one.learn(7, {"11" * 16: BUNDLE})
    _, accepted = crew.client()
    assert not crew.one.hand_on(accepted, HELLO, bytes(16), BUNDLE, **TERMS)
    assert not crew.one.hand_on(accepted, HELLO, b"\x11" * 16, BUNDLE, **TERMS)


def test_an_only_child_has_nobody():
    assert not Siblings(0).are_there


async def test_a_mailbox_that_a_sibling_has_shut_is_not_waited_on_for_ever(crew):
    _client, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    crew.pairs[1][0].shutdown(socket.SHUT_WR)
    with trio.fail_after(5):
        await crew.other.take_in(crew.adopt)
    assert [data for _, data, _, _ in crew.adopted] == [HELLO]


def test_a_descriptor_that_comes_without_a_note_is_closed(crew):
    client, accepted = crew.client()
    socket.send_fds(crew.pairs[1][0], [b""], [accepted.fileno()])
    accepted.close()
    assert list(mailbox.collect(crew.pairs[1][1], 10)) == []
    client.settimeout(5)
    assert client.recv(1) == b""


async def test_who_gets_an_empty_note_goes_on_taking_in(crew):
    _client, accepted = crew.client()
    crew.pairs[1][0].send(b"")
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.other.take_in, crew.adopt)
            while not crew.adopted:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert [data for _, data, _, _ in crew.adopted] == [HELLO]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process have none but those that it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = os.dup(0)
    os.close(last)
    resource.setrlimit(resource.RLIMIT_NOFILE, (last, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_for_which_no_descriptor_is_left_stays_where_it_is(crew):
    client, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    accepted.close()
    held = crew.stack.enter_context(socket.socket())  # so that there is one place, but never a second
    with no_descriptor_left():
        held.close()
        with pytest.raises(OSError, match="Too many open files"):
            list(mailbox.collect(crew.pairs[1][1], 10))
    ((sock, _),) = mailbox.collect(crew.pairs[1][1], 10)
    crew.stack.callback(sock.close)
    sock.send(b"answer")
    assert client.recv(10) == b"answer"


async def test_who_has_no_descriptor_left_takes_in_what_waited_as_soon_as_there_is_one(crew, autojump_clock):
    _client, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    async with trio.open_nursery() as nursery:
        with no_descriptor_left():
            nursery.start_soon(crew.other.take_in, crew.adopt)
            await trio.sleep(3)
            assert crew.adopted == []
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert [data for _, data, _, _ in crew.adopted] == [HELLO]


async def test_what_nobody_fetches_is_taken_back_by_whom_it_was_posted(crew, autojump_clock):
    """The sibling hangs, or has died and has no successor yet."""
    client, accepted = crew.client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crew.one.take_back, crew.adopt)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
            await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert [data for _, data, _, _ in crew.adopted] == [HELLO, HELLO]
    accepted.close()
    crew.adopted[0][0].send(b"answer")
    assert client.recv(10) == b"answer"


def test_the_time_that_a_connection_lies_there_is_its_own(crew):
    _client, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, port=8443, left_s=7.0)
    crew.now += 3
    crew.other.part(crew.adopt, last=True)
    assert [left_s for *_, left_s in crew.adopted] == [pytest.approx(4.0)]


async def test_a_flood_of_what_is_handed_on_lets_others_have_their_turn(crew):
    _client, accepted = crew.client()
    while crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS):
        pass

    def adopt(sock: socket.socket, data: bytes, port: int, left_s: float) -> None:
        crew.adopt(sock, data, port, left_s)
        if len(crew.adopted) < 10 * policy.ACCEPT_BURST:
            crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.other.take_in, adopt)
            while not crew.adopted:
                await trio.lowlevel.checkpoint()
            first = len(crew.adopted)
            nursery.cancel_scope.cancel()
    assert first <= 2 * policy.ACCEPT_BURST, "one burst for each turn of ours, though more and more comes"


def test_what_is_no_connection_is_closed_and_harms_nobody(crew):
    read, write = os.pipe()
    crew.stack.callback(os.close, read)
    socket.send_fds(crew.pairs[1][0], [bytes(20)], [write])
    os.close(write)
    crew.other.part(crew.adopt, last=True)
    assert crew.adopted == []
    assert os.read(read, 1) == b"", "nobody holds the other end any more"


@pytest.mark.parametrize(
    ("family", "kind"), [(socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_NETLINK, socket.SOCK_RAW)]
)
def test_a_socket_by_which_no_client_comes_is_closed(crew, family, kind):
    with socket.socket(family, kind) as strange:
        socket.send_fds(crew.pairs[1][0], [bytes(20)], [strange.fileno()])
    crew.other.part(crew.adopt, last=True)
    assert crew.adopted == []


def test_at_the_end_what_lies_with_a_sibling_that_hangs_is_taken_in_too(crew):
    _client, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, **TERMS)
    crew.one.part(crew.adopt, last=True)
    assert [data for _, data, _, _ in crew.adopted] == [HELLO]


@pytest.mark.parametrize(
    ("said", "gets"), [(3.0, 3.0), (-5.0, 0.0), (1e9, 10.0), (float("inf"), 10.0), (float("nan"), 0.0)]
)
async def test_who_is_handed_a_connection_gives_it_what_is_left_of_its_time_and_no_more(
    crew, autojump_clock, said, gets
):
    _client, accepted = crew.client()
    greeting = Greetings(Sweeper(), 10, 10.0).begin(accepted, said)
    assert greeting.deadline - trio.current_time() == gets


def _unread_bytes(sock: socket.socket) -> int:
    """Say how many bytes wait in all messages of a SOCK_SEQPACKET socket (SIOCINQ, unix(7))."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0])


async def test_a_flood_of_notes_without_connections_lets_others_have_their_turn(crew):
    """A worker that somebody has taken over posts what is no connection, faster than it can be read."""
    posting, collecting = crew.pairs[1]
    notes = 3 * policy.ACCEPT_BURST  # it has at most two turns between two looks, however trio orders us
    for _ in range(notes):
        posting.send(b"x")
    seen = set()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.other.take_in, crew.adopt)
            while left := _unread_bytes(collecting):
                seen.add(left)
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert seen - {notes}
    assert not crew.adopted
