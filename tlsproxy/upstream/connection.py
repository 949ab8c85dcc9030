"""One upstream service: connections are opened to it, lent to exchanges, and kept warm between them.

Promises: a lent connection belongs to its borrower, who gives it back (`give_back`) or closes it; nothing
that has unasked bytes or an end of file waiting is ever lent. Refuses to know HTTP, routes and clients.

Theory. Between two exchanges an upstream may close an idle connection, or (broken, or attacked) send a
response that nobody asked for. Either makes the socket readable, so a readable idle connection is never
used: the first would cost a failed request, the second would be taken for the answer to the *next* client's
request. One poll(2) of 0.5 us before each use finds both. What remains is the moment between that look and
the upstream's reading of the request; a request that must not be sent twice therefore takes only a
connection used a moment ago (`policy.POOL_UNREPEATABLE_S`), else a new one.
"""

from __future__ import annotations

import select
import socket

import trio

from tlsproxy import policy
from tlsproxy.errors import UpstreamError
from tlsproxy.net.dial import Address, Place, dial, resolve
from tlsproxy.net.stream import SocketStream
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.upstream.pool import Pool


class UpstreamConnection:
    """A connection to an upstream, with whether an exchange has used it before (`reused`)."""

    __slots__ = ("_poll", "reused", "stream")

    def __init__(self, sock: socket.socket) -> None:
        self.stream = SocketStream(sock)
        self.reused = False
        self._poll: select.poll | None = None

    def is_quiet(self) -> bool:
        """Say whether nothing at all waits to be read: no byte, no end, no error."""
        if self._poll is None:  # made at the first reuse: most connections of a burst never see one
            self._poll = select.poll()
            self._poll.register(self.stream.sock, select.POLLIN | select.POLLRDHUP)
        return not self._poll.poll(0)

    def close(self) -> None:
        """Close it, waking whoever waits on it."""
        self.stream.close()


class Upstream:
    """A service at one address. Register it with the sweeper (it is `Overdue`); `close` ends what is idle."""

    __slots__ = ("_places", "_places_until", "_sweeper", "address", "connect_s", "name", "pool")

    def __init__(
        self, name: str, address: Address, sweeper: Sweeper, *, connect_s: float = policy.UPSTREAM_CONNECT_S
    ) -> None:
        self.name = name
        self.address = address
        self.connect_s = connect_s
        self.pool: Pool[UpstreamConnection] = Pool(policy.POOL_MAX_IDLE, policy.POOL_IDLE_S)
        self._sweeper = sweeper
        self._places: tuple[Place, ...] = ()
        self._places_until = 0.0
        sweeper.add(self)

    def take_idle(self, *, repeatable: bool) -> UpstreamConnection | None:
        """Lend a warm connection that is quiet, or None; stale ones met on the way are closed."""
        age = None if repeatable else policy.POOL_UNREPEATABLE_S
        while (connection := self.pool.take(self._sweeper.now, age)) is not None:
            if connection.is_quiet():
                connection.reused = True
                return connection
            connection.close()
        return None

    async def open(self) -> UpstreamConnection:
        """Open a new connection within `connect_s`.

        Raises UpstreamError: 502 where it is refused or the name has no address, 504 where it took too long.
        """
        try:
            with trio.fail_after(self.connect_s):
                return UpstreamConnection(await dial(await self._resolve()))
        except trio.TooSlowError as error:
            raise UpstreamError(self.name, "connect", status=504) from error
        except OSError as error:
            self._places = ()  # the name may have moved: ask again next time
            raise UpstreamError(self.name, "connect", status=502) from error

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose exchange is wholly over, for the next one."""
        surplus = self.pool.give_back(connection, self._sweeper.now)
        if surplus is not None:
            surplus.close()

    def close(self) -> None:
        """Close what is idle; what is lent is closed as soon as it is given back."""
        self._sweeper.discard(self)
        self.pool.max_idle = 0
        for connection in self.pool.empty():
            connection.close()

    async def _resolve(self) -> tuple[Place, ...]:
        if not self._places or self._sweeper.now >= self._places_until:
            self._places = await resolve(self.address)
            self._places_until = self._sweeper.now + policy.RESOLVE_KEEP_S
        return self._places

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
        for connection in self.pool.expire(self._sweeper.now):
            connection.close()

    def hung_up(self) -> None:
        """Do nothing: no descriptor is watched."""
