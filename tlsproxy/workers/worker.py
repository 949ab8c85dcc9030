"""The data plane: takes connections from accept to close.

Promises: each connection is served by the table that is active when its ClientHello is complete; one that
fails hurts no other; a drain lets exchanges end and then ends what is left. Refuses to know the store,
certificates and how they change.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Protocol

import trio

from tlsproxy import policy
from tlsproxy.errors import HandshakeError
from tlsproxy.forward.connection import Connection
from tlsproxy.forward.redirect import RedirectingClient
from tlsproxy.forward.site import ClientFacts, Site
from tlsproxy.http.replies import reply
from tlsproxy.net.accept import Acceptor, Tell
from tlsproxy.net.admission import Admission
from tlsproxy.net.stream import SocketStream
from tlsproxy.net.sweeper import NEVER, Sweeper
from tlsproxy.tls.engines import Context
from tlsproxy.tls.handshake import BUSY_ALERT, PlainHTTP, Tables, accept_tls
from tlsproxy.tls.selector import Table
from tlsproxy.workers.serving import Serving


@dataclass(frozen=True, slots=True)
class Listening:
    """A listening socket and what is spoken there; `https_port` is where plain HTTP is sent to."""

    sock: socket.socket
    kind: str
    https_port: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much a worker takes: connections in all and for one address, handshakes at once, their time (s)."""

    connections: int = policy.CONNECTIONS
    per_address: int = policy.CONNECTIONS_PER_ADDRESS
    handshakes: int = policy.HANDSHAKES
    handshake_s: float = policy.HANDSHAKE_S


class Waiting(Protocol):
    """What may give way to newcomers."""

    @property
    def standing(self) -> tuple[bool, float]:
        """Tell whether a request was ever served, and since when it waits; the least goes first."""
        ...

    def give_way(self) -> None:
        """End, in the next turns of the loop."""
        ...


class Worker:
    """Serves the connections of its listening sockets, which belong to its maker."""

    def __init__(self, serving: Serving, site: Site, capacity: Capacity, tell: Tell) -> None:
        self._serving, self._site, self._capacity = serving, site, capacity
        admission = Admission(capacity.connections, capacity.per_address, site.forwarded.trusts)
        self._acceptor = Acceptor(admission, self._make_room, tell)
        self._greetings: set[_Greeting] = set()
        self._redirects: set[RedirectingClient] = set()
        self._connections: set[Connection] = set()
        self._accepting = trio.CancelScope()

    async def run(
        self,
        listening: Sequence[Listening],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve; returns when drained. Cancellation ends every connection at once."""
        async with trio.open_nursery() as connections:
            with self._accepting:
                async with trio.open_nursery() as accepting:
                    for one in listening:
                        accepting.start_soon(self._accept, one, connections)
                    task_status.started()

    def drain(self, seconds: float, worker: trio.CancelScope) -> None:
        """Accept nothing more and let exchanges end; what is left of `worker` after `seconds` is cut.

        Who has not even said hello is closed; a handshake under way goes on, and one request may follow it.
        """
        self._accepting.cancel()
        for greeting in tuple(self._greetings):
            if not greeting.chosen:
                greeting.give_way()
        for connection in tuple(self._connections):
            connection.drain()
        for redirect in tuple(self._redirects):
            redirect.give_way()
        worker.deadline = trio.current_time() + seconds

    def _make_room(self) -> bool:
        """Ask a share of those who only wait to give way, strangers and the oldest first; False for none."""
        waiting: list[Waiting] = [*self._greetings, *self._redirects]
        waiting += [connection for connection in self._connections if connection.waits]
        _give_way(waiting)
        return bool(waiting)

    async def _accept(self, one: Listening, connections: trio.Nursery) -> None:
        async def serve(sock: socket.socket, peer: str) -> None:
            if one.kind == "tls":
                await self._serve_tls(sock, peer, one.https_port)
            else:
                await self._redirect(sock, one.https_port)

        last_word = BUSY_ALERT if one.kind == "tls" else reply(503, close=True)
        await self._acceptor.run(one.sock, serve, connections, last_word)

    async def _serve_tls(self, sock: socket.socket, peer: str, port: int) -> None:
        greeting = _Greeting(sock, self._site.sweeper, self._capacity.handshake_s)
        if len(self._greetings) >= self._capacity.handshakes:
            _give_way(self._greetings)
        self._greetings.add(greeting)
        try:
            stream = await accept_tls(sock, greeting.choose_from(self._serving))
        except PlainHTTP as plain:
            greeting.end()
            await self._redirect(sock, port, plain.data)
            return
        except (HandshakeError, trio.ClosedResourceError):
            return
        finally:
            self._greetings.discard(greeting)
            greeting.end()
        facts = ClientFacts(
            peer,
            "https",
            fingerprint=greeting.fingerprints.get(stream.bundle_id, ""),
            generation=greeting.generation,
        )
        connection = Connection(stream, facts, self._site)
        if self._accepting.cancel_called:
            connection.drain()
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    async def _redirect(self, sock: socket.socket, port: int, first: bytes = b"") -> None:
        client = RedirectingClient(SocketStream(sock), port, self._site.sweeper)
        self._redirects.add(client)
        try:
            await client.serve(first, once=bool(first))
        finally:
            self._redirects.discard(client)


def _give_way(waiting: Collection[Waiting]) -> None:
    share = max(1, len(waiting) // policy.ROOM_SHARE)
    for one in nsmallest(share, waiting, key=lambda one: one.standing):
        one.give_way()


class _Greeting:
    """A connection before its handshake is done: it has a deadline, and learns which generation it got."""

    __slots__ = (
        "_sock",
        "_sweeper",
        "chosen",
        "deadline",
        "fingerprints",
        "generation",
        "standing",
        "watch_fd",
    )

    def __init__(self, sock: socket.socket, sweeper: Sweeper, seconds: float) -> None:
        self._sock, self._sweeper = sock, sweeper
        # exact, not the sweeper's second: when many come at once, the order in which they came decides
        now = trio.current_time()
        self.standing = (False, now)
        self.deadline = now + seconds
        self.watch_fd = -1
        self.chosen = False  # its hello was read
        self.generation = 0
        self.fingerprints: Mapping[str, str] = {}
        sweeper.add(self)

    def choose_from(self, serving: Serving) -> Tables:
        def tables() -> Table[Context]:
            table = serving.table
            self.chosen, self.generation = True, table.number
            self.fingerprints = serving.fingerprints
            return table

        return tables

    def end(self) -> None:
        self.deadline = NEVER
        self._sweeper.discard(self)

    def expire(self) -> None:
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)

    hung_up = give_way = expire
