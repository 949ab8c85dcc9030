"""Connections that are handed from worker to worker: to whom, when not, and what is never lost."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
import trio

from tlsproxy.net import mailbox
from tlsproxy.workers.siblings import Siblings

BUNDLE, KEY = "b" * 64, bytes(range(16))
HELLO = b"\x16\x03\x01 a hello"


class Crew:
    """Two workers with their mailboxes, and what each has adopted."""

    def __init__(self, stack: ExitStack) -> None:
        self.pairs = [mailbox.make() for _ in range(2)]
        for end in (end for pair in self.pairs for end in pair):
            stack.callback(end.close)
        posting = [pair[0] for pair in self.pairs]
        self.one, self.other = (Siblings(seat, self.pairs[seat][1], posting) for seat in range(2))
        self.one.meet([0, 1])
        self.one.learn(1, {KEY.hex(): BUNDLE})
        self.adopted: list[tuple[socket.socket, bytes, int]] = []
        self.stack = stack

    def adopt(self, sock: socket.socket, data: bytes, port: int) -> None:
        self.stack.callback(sock.close)
        self.adopted.append((sock, data, port))

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
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)
    accepted.close()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.other.take_in, crew.adopt)
            while not crew.adopted:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    ((sock, data, port),) = crew.adopted
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
    assert not crew.one.hand_on(accepted, HELLO, ticket, bundle, 8443)


def test_nothing_goes_to_whom_is_not_there(crew):
    _, accepted = crew.client()
    crew.one.meet([0])
    assert not crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)


def test_what_a_full_mailbox_does_not_take_is_served_here_and_what_it_took_is_there(crew):
    _, accepted = crew.client()
    posted = 0
    while crew.one.hand_on(accepted, HELLO + bytes(4000), KEY, BUNDLE, 8443):
        posted += 1
        assert posted < 10_000
    crew.other.part(crew.adopt, last=True)
    assert len(crew.adopted) == posted > 0


def test_what_lies_in_the_mailbox_of_one_that_ends_is_taken_in_and_nothing_comes_after_it(crew):
    _, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)
    crew.other.part(crew.adopt, last=True)
    assert [data for _, data, _ in crew.adopted] == [HELLO]
    assert not crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)


def test_who_is_replaced_leaves_the_mailbox_to_the_successor(crew):
    _, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)
    crew.other.part(crew.adopt, last=False)
    assert crew.adopted == []
    successor = Siblings(1, crew.pairs[1][1], [pair[0] for pair in crew.pairs])
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)
    successor.part(crew.adopt, last=True)
    assert len(crew.adopted) == 2


def test_who_ends_hands_nothing_on(crew):
    _, accepted = crew.client()
    crew.one.part(crew.adopt, last=False)
    assert not crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)


def test_the_largest_hello_fits_and_what_is_larger_is_served_here(crew):
    _, accepted = crew.client()
    assert crew.one.hand_on(accepted, bytes(mailbox.LARGEST_NOTE - 2), KEY, BUNDLE, 8443)
    assert not crew.one.hand_on(accepted, bytes(mailbox.LARGEST_NOTE), KEY, BUNDLE, 8443)
    crew.other.part(crew.adopt, last=True)
    assert len(crew.adopted[0][1]) == mailbox.LARGEST_NOTE - 2


def test_a_worker_does_not_learn_its_own_keys_or_those_of_seats_that_there_are_not(crew):
    crew.one.learn(0, {"00" * 16: BUNDLE})
    crew.one.learn(7, {"11" * 16: BUNDLE})
    _, accepted = crew.client()
    assert not crew.one.hand_on(accepted, HELLO, bytes(16), BUNDLE, 8443)
    assert not crew.one.hand_on(accepted, HELLO, b"\x11" * 16, BUNDLE, 8443)


def test_an_only_child_has_nobody():
    assert not Siblings(0).are_there


async def test_a_mailbox_that_a_sibling_has_shut_is_not_waited_on_for_ever(crew):
    _client, accepted = crew.client()
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)
    crew.pairs[1][0].shutdown(socket.SHUT_WR)
    with trio.fail_after(5):
        await crew.other.take_in(crew.adopt)
    assert [data for _, data, _ in crew.adopted] == [HELLO]


def test_a_descriptor_that_comes_without_a_note_is_closed(crew):
    client, accepted = crew.client()
    socket.send_fds(crew.pairs[1][0], [b""], [accepted.fileno()])
    accepted.close()
    assert list(mailbox.collect(crew.pairs[1][1])) == []
    client.settimeout(5)
    assert client.recv(1) == b""


async def test_who_gets_an_empty_note_goes_on_taking_in(crew):
    _client, accepted = crew.client()
    crew.pairs[1][0].send(b"")
    assert crew.one.hand_on(accepted, HELLO, KEY, BUNDLE, 8443)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.other.take_in, crew.adopt)
            while not crew.adopted:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert [data for _, data, _ in crew.adopted] == [HELLO]
