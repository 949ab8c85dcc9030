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
"""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from tlsproxy import policy
from tlsproxy.net import mailbox

__all__ = ["Adopt", "Siblings"]

Adopt = Callable[[socket.socket, bytes, int], None]
"""Serves a connection that another worker has read from: its socket, the bytes, where plain HTTP is sent."""

_PORT = struct.Struct(">H")


class Siblings:
    """What one worker knows of the others. `seat` is its own; without mailboxes it has no siblings."""

    def __init__(
        self, seat: int, own: socket.socket | None = None, mailboxes: Sequence[socket.socket] = ()
    ) -> None:
        """Take our end of our mailbox, and those where the others' connections are posted, by seat."""
        self._seat, self._own, self._mailboxes = seat, own, tuple(mailboxes)
        self._keys: OrderedDict[bytes, tuple[int, str]] = OrderedDict()
        self._there: Collection[int] = ()
        self._is_ending = False

    @property
    def are_there(self) -> bool:
        """Whether there may be anybody to hand a connection to, or to get one from."""
        return self._own is not None

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

    def hand_on(self, sock: socket.socket, data: bytes, ticket: bytes, bundle: str, port: int) -> bool:
        """Post a connection to whom its ticket belongs; False where it is to be served here."""
        holder = self._keys.get(ticket)
        if holder is None or self._is_ending:
            return False
        seat, of = holder
        if of != bundle or seat not in self._there:
            return False
        return mailbox.post(self._mailboxes[seat], sock, _PORT.pack(port) + data)

    async def take_in(self, adopt: Adopt) -> None:
        """Take in what others hand on, until cancelled or the mailbox is shut: any of us can do that."""
        assert self._own is not None, "nobody hands anything to an only child"
        is_over = False
        while not is_over:
            await mailbox.wait_post(self._own)
            is_over = mailbox.is_over(self._own)  # asked first: what was posted before it ended is there
            self._take_in_all(self._own, adopt)

    def part(self, adopt: Adopt, *, last: bool) -> None:
        """Hand nothing on any more; `last`: nobody takes our mailbox over, so take in what is there."""
        self._is_ending = True
        if last and self._own is not None:
            mailbox.shut(self._own)
            self._take_in_all(self._own, adopt)

    def _take_in_all(self, own: socket.socket, adopt: Adopt) -> None:
        for sock, data, port in _posted(own):
            adopt(sock, data, port)


def _posted(own: socket.socket) -> Iterator[tuple[socket.socket, bytes, int]]:
    for sock, note in mailbox.collect(own):
        if len(note) <= _PORT.size:
            sock.close()
            continue
        (port,) = _PORT.unpack_from(note)
        yield sock, note[_PORT.size :], port
