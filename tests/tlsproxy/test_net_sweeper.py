"""net/sweeper.py: deadlines and hang-ups, found by one loop."""

from __future__ import annotations

import socket
from math import inf

import pytest
import trio

from tlsproxy import policy
from tlsproxy.net.sweeper import Sweeper


class Thing:
    def __init__(self, deadline: float = inf, watch_fd: int = -1, log: list[str] | None = None) -> None:
        self.deadline, self.watch_fd = deadline, watch_fd
        self.log: list[str] = [] if log is None else log

    def expire(self) -> None:
        self.deadline = inf
        self.log.append("expired")

    def hung_up(self) -> None:
        self.watch_fd = -1
        self.log.append("hung up")


async def test_a_deadline_is_kept_within_two_sweeps_and_never_early(autojump_clock):
    sweeper = Sweeper()
    thing, start = Thing(), trio.current_time()
    thing.deadline = sweeper.after(10)
    sweeper.add(thing)
    async with trio.open_nursery() as nursery:
        await nursery.start(sweeper.run)
        await trio.sleep(10)
        assert thing.log == []
        await trio.sleep(2.5 * policy.SWEEP_S)
        assert thing.log == ["expired"]
        nursery.cancel_scope.cancel()
    assert trio.current_time() - start <= 10 + 3 * policy.SWEEP_S


@pytest.mark.parametrize("end", ["close", "half", "reset"])
async def test_a_peer_that_hangs_up_is_noticed_once_and_one_that_sends_is_not(end):
    ours, theirs = socket.socketpair()
    quiet, other = socket.socketpair()
    with ours, theirs, quiet, other:
        gone, there = Thing(watch_fd=ours.fileno()), Thing(watch_fd=quiet.fileno())
        sweeper = Sweeper()
        sweeper.add(gone)
        sweeper.add(there)
        other.send(b"pipelined")
        if end == "half":
            theirs.shutdown(socket.SHUT_WR)
        else:
            if end == "reset":
                ours.send(b"unread, so that closing resets")
            theirs.close()
        sweeper.sweep(1)
        sweeper.sweep(2)
        assert gone.log == ["hung up"]
        assert there.log == []


async def test_what_one_hang_up_ends_is_not_told_again_in_the_same_sweep():
    one, peer = socket.socketpair()
    two, peer2 = socket.socketpair()
    with one, two:
        peer.close()
        peer2.close()
        log: list[str] = []
        first, second = Thing(watch_fd=one.fileno(), log=log), Thing(watch_fd=two.fileno(), log=log)

        def end_both():
            first.watch_fd = second.watch_fd = -1
            log.append("both")

        first.hung_up = second.hung_up = end_both  # type: ignore[method-assign]
        sweeper = Sweeper()
        sweeper.add(first)
        sweeper.add(second)
        sweeper.sweep(1)
        assert log == ["both"]


async def test_what_was_discarded_is_left_alone():
    sweeper, thing = Sweeper(), Thing(deadline=0)
    sweeper.add(thing)
    sweeper.discard(thing)
    sweeper.discard(thing)
    sweeper.sweep(5)
    assert thing.log == []
    assert len(sweeper) == 0
