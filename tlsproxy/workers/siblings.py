"""The workers beside this one: who holds the key of a client's ticket, and how a connection gets there.

Promises: a client that comes back is handed to the worker whose context gave its ticket, where that one
accepts and has room in its mailbox; else it is served here, by a full handshake, and nobody waits. A
connection is handed on once at the most, and loses nothing. Refuses to know TLS (handshake.py has read the
hello) and who is alive: the supervisor says that.

Theory. The kernel spreads connections over the workers by their ports, so with N of them a client would
meet its own ticket's key only one time in N. Its hello is read before TLS begins, and nothing was answered
yet: so the connection itself can go to the sibling, as a descriptor with the bytes that were read. Only a
ticket of the bundle that would be served here is worth that: one of a former bundle resumes nowhere.
*What could be lost.* A connection lies in a mailbox while nobody reads there. A worker that is replaced
leaves its mailbox to its successor. One that has no successor with the same mailbox (a reload, the end) shuts
it, so that nothing more is posted, and then takes in what is there; who is asked to end hands nothing on.
A worker that hangs, has died or has no descriptor left reads nothing for a while: so whoever has posted looks
after `policy.HANDED_ON_S` whether it was fetched, and takes back what wasn't: the client makes a full
handshake here. Where that meets one that reads again by now, each connection still goes to one of the two.
*Its time* goes on meanwhile: the moment at which the handshake must be done goes along, by a clock that all
processes of this machine share, and whoever takes a connection in gives it no more than what is left.
Known limit: a worker that has no descriptor left at its very end leaves what is in the mailboxes to the
others, and with the last of them it is reset.
"""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress

import trio

from tlsproxy import policy
from tlsproxy.net import mailbox

__all__ = ["Adopt", "Siblings"]

Adopt = Callable[[socket.socket, bytes, int, float], None]
"""Serves a connection that another worker has read from.

Gets its socket, the bytes, the port where plain HTTP is sent, and how much of its time (s) is left.
"""

# The port, and when the handshake must be done, by the clock that is shared.
_TERMS = struct.Struct(">Hd")


class Siblings:
    """What one worker knows of the others. `seat` is its own; without mailboxes it has no siblings."""

    def __init__(
        self,
        seat: int,
        collecting: Sequence[socket.socket] = (),
        posting: Sequence[socket.socket] = (),
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """Take both ends of all mailboxes, by seat; `clock` is one that tells all workers the same (s)."""
        self._seat, self._collecting, self._mailboxes = seat, tuple(collecting), tuple(posting)
        self._clock = clock
        self._unseen: set[int] = set()  # seats to which something was posted since we last looked
        self._has_posted = trio.Event()
        self._keys: OrderedDict[bytes, tuple[int, str]] = OrderedDict()
        self._there: Collection[int] = ()
        self._is_ending = False

    @property
    def are_there(self) -> bool:
        """Whether there may be anybody to hand a connection to, or to get one from."""
        return bool(self._collecting)

    @property
    def _own(self) -> socket.socket:
        assert self._collecting, "nobody hands anything to an only child"
        return self._collecting[self._seat]

    @property
    def count(self) -> int:
        """How many workers share what is configured, this one among them."""
        return max(1, len(self._mailboxes))

    def meet(self, seats: Collection[int]) -> None:
        """Take note of who accepts now."""
        self._there = frozenset(seats) - {self._seat}

    def learn(self, seat: int, keys: Mapping[str, str]) -> None:
        """Take note of a sibling's ticket keys: their names in hex, and the bundles that they are for."""
        if seat == self._seat or not 0 <= seat < len(self._mailboxes):
            return
        for name, bundle in keys.items():
            self._keys[bytes.fromhex(name)] = seat, bundle
        while len(self._keys) > policy.CONTEXTS_KEPT * len(self._mailboxes):
            self._keys.popitem(last=False)

    def hand_on(
        self, sock: socket.socket, data: bytes, ticket: bytes, bundle: str, *, port: int, left_s: float
    ) -> bool:
        """Post a connection to whom its ticket belongs; False where it is to be served here."""
        holder = self._keys.get(ticket)
        if holder is None or self._is_ending:
            return False
        seat, of = holder
        if of != bundle or seat not in self._there:
            return False
        if not mailbox.post(self._mailboxes[seat], sock, _TERMS.pack(port, self._clock() + left_s) + data):
            return False
        self._unseen.add(seat)
        self._has_posted.set()
        return True

    async def take_in(self, adopt: Adopt) -> None:
        """Take in what others hand on, until cancelled or the mailbox is shut: any of us can do that."""
        is_over = False
        while not is_over:
            await mailbox.wait_post(self._own)
            is_over = mailbox.is_over(self._own)  # asked first: what was posted before it ended is there
            try:
                self._take_in_some(self._own, adopt, policy.MAILBOX_MOST if is_over else policy.ACCEPT_BURST)
            except OSError:  # it stays there, and who has posted it takes it back where this lasts
                is_over = False
                await trio.sleep(policy.ACCEPT_PAUSE_S)

    async def take_back(self, adopt: Adopt) -> None:
        """Take back what we have handed on and nobody has fetched, until cancelled."""
        waiting: set[int] = set()
        while True:
            if not self._unseen and not waiting:
                self._has_posted = trio.Event()
                await self._has_posted.wait()
            seen, self._unseen = self._unseen | waiting, set()
            await trio.sleep(policy.HANDED_ON_S)
            filled = {seat for seat in seen if mailbox.has_post(self._collecting[seat])}
            for seat in filled & waiting:  # at both looks: nobody reads there, or more comes than it can read
                with suppress(OSError):  # no descriptor is left here either: the next look tries again
                    self._take_in_some(self._collecting[seat], adopt, policy.ACCEPT_BURST)
            waiting = {seat for seat in filled if not mailbox.is_over(self._collecting[seat])}

    def part(self, adopt: Adopt, *, last: bool) -> None:
        """Hand nothing on any more; `last`: nobody takes our mailbox over, so take in what is there.

        And what is in the others', since a sibling that hangs may be about to end as well.
        """
        self._is_ending = True
        if last and self.are_there:
            mailbox.shut(self._own)
            for one in self._collecting:
                with suppress(OSError):
                    self._take_in_some(one, adopt, policy.MAILBOX_MOST)

    def _take_in_some(self, own: socket.socket, adopt: Adopt, most: int) -> None:
        for sock, data, port, by in _posted(own, most):
            adopt(sock, data, port, by - self._clock())


def _posted(own: socket.socket, most: int) -> Iterator[tuple[socket.socket, bytes, int, float]]:
    for sock, note in mailbox.collect(own, most):
        if len(note) <= _TERMS.size:
            sock.close()
            continue
        port, by = _TERMS.unpack_from(note)
        yield sock, note[_TERMS.size :], port, by
