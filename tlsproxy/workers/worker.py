"""The data plane: takes connections from accept to close.

Promises: each connection is served by the table that is active when its ClientHello is complete; one that
fails hurts no other; a drain lets exchanges end and then ends what is left. Refuses to know the store,
certificates and how they change.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from tlsproxy.errors import HandshakeError
from tlsproxy.forward.connection import Connection
from tlsproxy.forward.redirect import RedirectingClient
from tlsproxy.forward.site import ClientFacts, Site
from tlsproxy.net.accept import Gauge, Tell, accept_forever
from tlsproxy.net.stream import SocketStream
from tlsproxy.net.sweeper import NEVER, Sweeper
from tlsproxy.tls.engines import Context
from tlsproxy.tls.handshake import PlainHTTP, Tables, accept_tls
from tlsproxy.tls.selector import Table
from tlsproxy.workers.serving import Serving


@dataclass(frozen=True, slots=True)
class Listening:
    """A listening socket and what is spoken there; `https_port` is where plain HTTP is sent to."""

    sock: socket.socket
    kind: str
    https_port: int


class Worker:
    """Serves the connections of its listening sockets, which belong to its maker."""

    def __init__(self, serving: Serving, site: Site, gauge: Gauge, handshake_s: float, tell: Tell) -> None:
        self._serving, self._site, self._gauge = serving, site, gauge
        self._handshake_s, self._tell = handshake_s, tell
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
        """Accept nothing more, let what is under way end, and cancel the rest of `worker` after `seconds`."""
        self._accepting.cancel()
        for connection in tuple(self._connections):
            connection.drain()
        worker.deadline = trio.current_time() + seconds

    async def _accept(self, one: Listening, connections: trio.Nursery) -> None:
        async def serve(sock: socket.socket, peer: tuple) -> None:  # type: ignore[type-arg]  # as socket gives it
            address = _plain_address(peer)
            if one.kind == "tls":
                await self._serve_tls(sock, address, one.https_port)
            else:
                await self._redirect(sock, one.https_port)

        await accept_forever(one.sock, serve, self._gauge, self._tell, connections)

    async def _serve_tls(self, sock: socket.socket, peer: str, port: int) -> None:
        greeting = _Greeting(sock, self._site.sweeper, self._handshake_s)
        try:
            stream = await accept_tls(sock, greeting.choose_from(self._serving), greeting.due_in)
        except PlainHTTP as plain:
            greeting.end()
            await self._redirect(sock, port, plain.data)
            return
        except (HandshakeError, trio.ClosedResourceError):
            return
        finally:
            greeting.end()
        facts = ClientFacts(
            peer,
            "https",
            fingerprint=self._serving.fingerprint(stream.bundle_id),
            generation=greeting.generation,
        )
        connection = Connection(stream, facts, self._site)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    async def _redirect(self, sock: socket.socket, port: int, first: bytes = b"") -> None:
        await RedirectingClient(SocketStream(sock), port, self._site.sweeper).serve(first, once=bool(first))


class _Greeting:
    """A connection before its handshake is done: it has a deadline, and learns which generation it got."""

    __slots__ = ("_sock", "_sweeper", "deadline", "generation", "watch_fd")

    def __init__(self, sock: socket.socket, sweeper: Sweeper, seconds: float) -> None:
        self._sock, self._sweeper = sock, sweeper
        self.deadline = sweeper.after(seconds)
        self.watch_fd = -1
        self.generation = 0
        sweeper.add(self)

    def choose_from(self, serving: Serving) -> Tables:
        def tables() -> Table[Context]:
            table = serving.table
            self.generation = table.number
            return table

        return tables

    def due_in(self, _seconds: float) -> None:
        """Keep the deadline that the configuration set."""

    def end(self) -> None:
        self.deadline = NEVER
        self._sweeper.discard(self)

    def expire(self) -> None:
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)

    hung_up = expire


def _plain_address(peer: tuple) -> str:  # type: ignore[type-arg]  # as socket gives it
    """Give a peer's address as text; an IPv4 client of a dual-stack socket gets its IPv4 form."""
    address = str(peer[0]).partition("%")[0] if peer else ""
    mapped = address.removeprefix("::ffff:")
    return mapped if "." in mapped else address
