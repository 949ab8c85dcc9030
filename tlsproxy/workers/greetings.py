"""Connections before their handshake is done: how many there may be, and who may yet get which bundle.

Promises: over the limit, those who have waited longest give way; `unread` counts those whose ClientHello is
still to be completed, from the moment of accept on. Refuses to know what TLS makes of a hello.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from math import inf
from typing import Protocol

import trio

from tlsproxy import policy
from tlsproxy.forward.site import ClientFacts
from tlsproxy.net.sweeper import NEVER, Sweeper
from tlsproxy.readiness import notify_closing
from tlsproxy.tls.engines import Context
from tlsproxy.tls.handshake import Tables
from tlsproxy.tls.selector import Table
from tlsproxy.workers.serving import Serving


class Waiting(Protocol):
    """What may give way to newcomers."""

    @property
    def standing(self) -> tuple[bool, float]:
        """Tell whether a request was ever served, and since when it waits; the least goes first."""
        ...

    def give_way(self) -> None:
        """End, in the next turns of the loop."""
        ...


def give_way(waiting: Collection[Waiting]) -> None:
    """Ask a share of them, at least one, to make room."""
    share = max(1, len(waiting) // policy.ROOM_SHARE)
    for one in nsmallest(share, waiting, key=lambda one: one.standing):
        one.give_way()


@dataclass(frozen=True, slots=True)
class Ending:
    """Which bundles' connections end, by when (trio time), and by which code their WebSockets.

    refuses: which clients' end, whatever their bundle.
    """

    bundles: frozenset[str]
    by: float
    code: int
    refuses: Callable[[ClientFacts], bool] = lambda _facts: False

    def means(self, facts: ClientFacts) -> bool:
        """Whether a connection ends by it."""
        return facts.bundle in self.bundles or self.refuses(facts)


class Greetings:
    """All greetings of one worker; at most `limit` of them, each for `seconds`."""

    def __init__(self, sweeper: Sweeper, limit: int, seconds: float) -> None:
        self._sweeper, self._limit, self._seconds = sweeper, limit, seconds
        self._all: set[Greeting] = set()
        self._waiters = trio.lowlevel.ParkingLot()
        self.unread = 0
        """How many may still complete a ClientHello here, and be served by the table of that moment."""

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Greeting]:
        return iter(self._all)

    def begin(self, sock: socket.socket, left_s: float = inf) -> Greeting:
        """Take note of a connection that was just accepted; whoever serves it calls `end`.

        left_s: how much of its time is left, where a sibling has accepted it; it never gets more than ours.
        """
        if len(self._all) >= self._limit:
            give_way(self._all)
        greeting = Greeting(sock, self, min(self._seconds, max(0.0, left_s)))
        self._all.add(greeting)
        self._sweeper.add(greeting)
        self.unread += 1
        return greeting

    def note_read(self) -> None:
        """Take note that one more hello is complete, or will never be."""
        self.unread -= 1
        if not self.unread:
            self._waiters.unpark_all()

    def forget(self, greeting: Greeting) -> None:
        """Look no more after `greeting`."""
        self._all.discard(greeting)
        self._sweeper.discard(greeting)

    def end(self, ending: Ending) -> None:
        """Have those that have chosen by now, and chose one of these bundles, end after their handshake."""
        for greeting in self._all:
            if greeting.chosen:
                greeting.endings += (ending,)

    async def wait_read(self) -> None:
        """Wait until no hello is unread."""
        while self.unread:
            await self._waiters.park()


class Greeting:
    """A connection before its handshake is done: it has a deadline, and learns which generation it got."""

    __slots__ = (
        "_greetings",
        "_sock",
        "chosen",
        "deadline",
        "endings",
        "fingerprints",
        "generation",
        "leaving",
        "standing",
        "watch_fd",
    )

    def __init__(self, sock: socket.socket, greetings: Greetings, seconds: float) -> None:
        self._sock, self._greetings = sock, greetings
        # exact, not the sweeper's second: when many come at once, the order in which they came decides
        now = trio.current_time()
        self.standing = (False, now)
        self.deadline = now + seconds
        self.watch_fd = -1
        self.leaving = False  # it was asked to end, perhaps before anybody reads from it
        self.chosen = False  # its hello was read
        self.generation = 0
        self.fingerprints: Mapping[str, str] = {}
        self.endings: tuple[Ending, ...] = ()  # asked for between its hello and the end of its handshake

    @property
    def begun(self) -> float:
        """When it was accepted (trio time)."""
        return self.standing[1]

    def choose_from(self, serving: Serving) -> Tables:
        """Give what the handshake asks for the table once, when the hello is complete."""

        def tables() -> Table[Context]:
            table = serving.table
            self.chosen, self.generation = True, table.number
            self.fingerprints = serving.fingerprints
            self._greetings.note_read()
            return table

        return tables

    def end(self) -> None:
        """Be forgotten: the handshake is done, or will never be. Idempotent."""
        if self.deadline == NEVER:
            return
        self.deadline = NEVER
        self._greetings.forget(self)
        if not self.chosen:
            self._greetings.note_read()

    def expire(self) -> None:
        """End it: its handshake sees trio.ClosedResourceError."""
        self.leaving = True
        if self._sock.fileno() >= 0:
            notify_closing(self._sock)

    hung_up = give_way = expire
