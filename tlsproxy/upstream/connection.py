"""One upstream service: connections are opened to it, lent to exchanges, and kept warm between them.

Promises: a lent connection belongs to its borrower, who gives it back (`give_back`) or closes it; nothing
that has unasked bytes or an end of file waiting is ever lent.
Refuses to know HTTP, routes, clients and sockets: how a stream is opened is handed in.

Theory. Between two exchanges an upstream may close an idle connection, or (broken, or attacked) send a
response that nobody asked for. Either makes the connection readable, so a readable idle one is never used:
the first would cost a failed request, the second would be taken for the answer to the *next* client's
request. One poll(2) of 0.5 us before each use finds both. What remains is the moment between that look and
the upstream's reading of the request; a request that must not be sent twice therefore takes only a
connection used a moment ago (`policy.POOL_UNREPEATABLE_S`), else a new one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from tlsproxy import policy
from tlsproxy.errors import UpstreamError
from tlsproxy.upstream.pool import Pool
from tlsproxy.upstream.room import Room


class Lendable(Protocol):
    """What an upstream must know of a stream to lend it."""

    def is_quiet(self) -> bool:
        """Say whether nothing waits to be read: no byte, no end, no error."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Clock(Protocol):
    """Who tells the time, in float seconds: net.sweeper.Sweeper, whose time costs nothing to read."""

    @property
    def now(self) -> float:
        """A time that is never more than about a second old."""
        ...


S = TypeVar("S", bound=Lendable)


class UpstreamConnection(Generic[S]):
    """A stream to an upstream, and whether an exchange has used it before (`reused`)."""

    __slots__ = ("reused", "stream", "upstream_name")

    def __init__(self, stream: S, upstream_name: str) -> None:
        self.stream = stream
        self.upstream_name = upstream_name
        self.reused = False


class Upstream(Generic[S]):
    """A service at one address. Its maker registers it with the sweeper (it is `Overdue`) and closes it.

    room: who uses a connection must be in there, None where all may.
    """

    __slots__ = ("_clock", "_dial", "name", "pool", "room")

    def __init__(
        self, name: str, dial: Callable[[], Awaitable[S]], clock: Clock, room: Room | None = None
    ) -> None:
        self.name = name
        self.room = room
        self.pool: Pool[UpstreamConnection[S]] = Pool(policy.POOL_MAX_IDLE, policy.POOL_IDLE_S)
        self._dial = dial
        self._clock = clock

    def take_idle(self, *, repeatable: bool) -> UpstreamConnection[S] | None:
        """Lend a warm connection that is quiet, or None; stale ones met on the way are closed."""
        age = None if repeatable else policy.POOL_UNREPEATABLE_S
        while (connection := self.pool.take(self._clock.now, age)) is not None:
            if connection.stream.is_quiet():
                connection.reused = True
                return connection
            connection.stream.close()
        return None

    async def open(self) -> UpstreamConnection[S]:
        """Open a new connection.

        Raises UpstreamError: 502 where it is refused or the name has no address, 504 where it took too long.
        """
        if self.room is not None:
            self._close_surplus(self.room)
        try:
            return UpstreamConnection(await self._dial(), self.name)
        except TimeoutError as error:
            raise UpstreamError(self.name, "connect", status=504) from error
        except OSError as error:
            raise UpstreamError(self.name, "connect", status=502) from error

    def _close_surplus(self, room: Room) -> None:
        """Close idle connections beyond what there is room for: each of those inside has one, or gets one."""
        while len(self.pool) + room.taken > room.places and (oldest := self.pool.take_oldest()) is not None:
            oldest.stream.close()

    def give_back(self, connection: UpstreamConnection[S]) -> None:
        """Keep a connection whose exchange is wholly over, for the next one."""
        surplus = self.pool.give_back(connection, self._clock.now)
        if surplus is not None:
            surplus.stream.close()

    def close(self) -> None:
        """Close what is idle; what is lent is closed as soon as it is given back."""
        self.pool.max_idle = 0
        for connection in self.pool.empty():
            connection.stream.close()

    # --- Overdue: the sweeper ends what has been idle for too long

    @property
    def deadline(self) -> float:
        """When the oldest idle connection has to go."""
        return self.pool.next_expiry

    @property
    def watch_fd(self) -> int:
        """Nobody's hang-up is looked for here: `take_idle` looks when it matters."""
        return -1

    def expire(self) -> None:
        """Close what has been idle for too long."""
        for connection in self.pool.expire(self._clock.now):
            connection.stream.close()

    def hung_up(self) -> None:
        """Do nothing: no descriptor is watched."""
