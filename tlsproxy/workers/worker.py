"""The data plane: takes connections from accept to close.

Promises: each connection is served by the table that is active when its ClientHello is complete; one that
fails hurts no other; it ends in order, whether it is stopped or replaced. Refuses to know the store,
certificates and how they change, other processes, and who owns the listening sockets.

Theory. A worker ends for one of two reasons, and they want opposite things of an idle connection. *Stopped*:
nobody accepts any more, so an idle connection is closed at once: its client, if it wants anything, can
only come to whoever starts next. *Replaced*: a successor accepts already and nothing presses, but the next
request of an idle connection may be on its way when we close, and is lost to a client that may not send it
twice (nginx's reload has this trouble). So it is closed only by its response, or by the deadline that it has
anyway. For the same reason nothing that was accepted is dropped, and once `retire` or `stop` has returned
nothing more is accepted here. What was accepted may have a ClientHello still to come, and whatever
generation is live then must be known here: `wait_greeted` says when that is over.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from tlsproxy import policy
from tlsproxy.errors import HandshakeError
from tlsproxy.forward.clientgate import ClientGate
from tlsproxy.forward.connection import Connection
from tlsproxy.forward.redirect import RedirectingClient
from tlsproxy.forward.site import ClientFacts, Site
from tlsproxy.http.replies import reply
from tlsproxy.http.websocket import GOING_AWAY, SERVICE_RESTART
from tlsproxy.net.accept import Acceptor, Tell
from tlsproxy.net.admission import Admission
from tlsproxy.net.stream import SocketStream, linger
from tlsproxy.observe.counters import Counters
from tlsproxy.tls.handshake import (
    BUSY_ALERT,
    CLIENT_REFUSED,
    HandedOn,
    HandOn,
    PlainHTTP,
    Proved,
    accept_tls,
    local_port,
)
from tlsproxy.tls.stream import TLSStream
from tlsproxy.upstream.guard import Guards
from tlsproxy.workers.challenges import Challenges
from tlsproxy.workers.greetings import Ending, Greeting, Greetings, Waiting, give_way
from tlsproxy.workers.serving import Serving
from tlsproxy.workers.siblings import Siblings


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


class Worker:
    """Serves the connections of its listening sockets, which belong to its maker; `run` once."""

    def __init__(  # noqa: PLR0913, PLR0917  each has another owner
        self,
        serving: Serving,
        site: Site,
        capacity: Capacity,
        tell: Tell,
        counters: Counters | None = None,
        siblings: Siblings | None = None,
        challenges: Challenges | None = None,
    ) -> None:
        self.challenges = challenges or Challenges("auto")
        """What it answers to ACME authorities."""
        self._serving, self._site, self._counters = serving, site, counters
        self._siblings = siblings if siblings is not None and siblings.are_there else None
        admission = Admission(capacity.connections, capacity.per_address, site.forwarded.trusts)
        self._acceptor = Acceptor(admission, self._make_room, tell)
        self._greetings = Greetings(site.sweeper, capacity.handshakes, capacity.handshake_s)
        self._redirects: set[RedirectingClient] = set()
        self._connections: set[Connection] = set()
        self._accepting: dict[Listening, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None  # of the accept loops, and what they accept
        self._scope = trio.CancelScope()  # of all that runs
        self._open_ended = trio.CancelScope()  # of what keeps `run` from returning while nothing is open
        self._take_leave: Callable[[Connection], None] | None = None
        """What is done to each connection since this worker began to end."""

    @property
    def open(self) -> int:
        """How many connections are open, in whatever phase."""
        return self._acceptor.admission.open

    def generations(self) -> list[tuple[int, int]]:
        """Count the connections that have made their handshake, by the generation that it was made with."""
        return list(Counter(connection.generation for connection in self._connections).items())

    @property
    def guards(self) -> Guards | None:
        """Who stands before its upstreams."""
        return self._site.guards

    @property
    def admission(self) -> Admission:
        """Who was let in, and who was not: to be looked at."""
        return self._acceptor.admission

    @property
    def connections(self) -> Iterable[Connection]:
        """Those whose handshake is done; to be gone through at once."""
        return self._connections

    @property
    def greetings(self) -> int:
        """How many connections may still complete a ClientHello here."""
        return self._greetings.unread

    async def wait_greeted(self) -> None:
        """Wait until no ClientHello can be completed here any more; call it after `retire` or `stop`."""
        await self._greetings.wait_read()

    async def run(
        self,
        listening: Sequence[Listening] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until stopped or retired and the last connection has ended, whether or not we accept.

        Cancellation ends every connection at once.
        """
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.accept_on(listening)
                task_status.started()
                with self._open_ended:
                    if self._siblings is not None:
                        await self._share_with(self._siblings)
                    await trio.sleep_forever()
        self._nursery = None  # who is told to end once more has nobody to take in

    def accept_on(self, listening: Sequence[Listening]) -> None:
        """Accept on exactly these from now on: sockets that are new are adopted, others left.

        Leaving one closes neither it nor what was accepted from it; what waits in it is for those who share
        it. To be called while `run` runs; nothing happens once this worker has begun to end.
        """
        if self._take_leave is not None:
            return
        assert self._nursery is not None, "accept_on comes after the start of run"
        for one in self._accepting.keys() - set(listening):
            self._accepting.pop(one).cancel()
        for one in listening:
            if one not in self._accepting:
                scope = self._accepting[one] = trio.CancelScope()
                self._nursery.start_soon(self._accept, one, scope, self._nursery)

    async def _share_with(self, siblings: Siblings) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(siblings.take_back, self.adopt)
            await siblings.take_in(self.adopt)

    def adopt(self, sock: socket.socket, data: bytes, port: int, left_s: float) -> None:
        """Serve a connection from which a sibling has read `data`; plain HTTP is sent to `port`.

        left_s: how much of the time for its handshake is left.
        """
        assert self._nursery is not None, "siblings are met when run runs"

        def serve(sock: socket.socket, peer: str) -> Coroutine[None, None, None]:
            return self._serve_tls(self._greetings.begin(sock, left_s), sock, peer, port, data)

        shares = self._siblings.count if self._siblings is not None else 1
        self._acceptor.adopt(sock, serve, self._nursery, BUSY_ALERT, shares)

    def retire(self, *, last: bool = False) -> None:
        """Accept nothing more, and let everything end by itself: another worker has taken over.

        last: it has not taken our mailbox over.

        Handshakes go on, whether or not they have begun. Each connection ends with its next response, or
        at its usual deadline; tunnels and event streams have none. `run` returns after the last of them.
        """
        if self._take_leave is None:
            self._begin_to_end(Connection.retire)
            for redirect in self._redirects:
                redirect.retire()
            self._part(last=last)

    def stop(self, seconds: float, code: int = GOING_AWAY) -> None:
        """Accept nothing more, let exchanges end and WebSockets be closed with `code`; then cut what is left.

        Who has not even said hello is closed, and who has nothing under way; a handshake under way goes on,
        and one request may follow it. After `seconds` everything is cut; a second call can only shorten them.
        """
        self._begin_to_end(partial(Connection.drain, code=code))
        self.turn_away()
        for redirect in self._redirects:
            redirect.give_way()
        self._part(last=True)  # those have said hello: a handshake, and one request, as others under way
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)

    def turn_away(self) -> None:
        """Close whoever hasn't said hello yet; what is open goes on."""
        for greeting in tuple(self._greetings):
            if not greeting.chosen:
                greeting.give_way()

    def close_tunnels(self, code: int = SERVICE_RESTART) -> None:
        """End a retired worker that has become too old: WebSockets are closed with `code`, the rest is cut.

        Takes as long as a WebSocket may take to be closed, and no exchange or event stream gets more.
        """
        self.stop(policy.TUNNEL_CLOSE_S + policy.SWEEP_S, code)

    def end_bundles(self, bundles: Collection[str], seconds: float, code: int = SERVICE_RESTART) -> None:
        """End the connections that were made with these bundles, though this worker goes on.

        Each as by `stop`: at once where nothing is under way, else with its response, WebSockets with `code`;
        what is left after `seconds` is cut. To be called when no new hello gets one of these bundles: a
        handshake that has one already is ended after it, later ones are not looked at.
        """
        self._end(Ending(frozenset(bundles), self._site.sweeper.after(seconds), code))

    def end_clients(self, refuses: Callable[[ClientFacts], bool], seconds: float, code: int) -> None:
        """End the connections of clients that are refused from now on; in all else as `end_bundles`."""
        self._end(Ending(frozenset(), self._site.sweeper.after(seconds), code, refuses))

    def _end(self, ending: Ending) -> None:
        self._greetings.end(ending)
        for connection in self._connections:
            _end_if_meant(connection, ending)

    def _part(self, *, last: bool) -> None:
        if self._siblings is not None and self._nursery is not None:
            self._siblings.part(self.adopt, last=last)

    def _begin_to_end(self, take_leave: Callable[[Connection], None]) -> None:
        self._take_leave = take_leave
        self._open_ended.cancel()
        for scope in self._accepting.values():
            scope.cancel()
        self._accepting.clear()
        for connection in self._connections:
            take_leave(connection)

    def _make_room(self) -> bool:
        """Ask a share of those who only wait to give way, strangers and the oldest first; False for none."""
        waiting: list[Waiting] = [*self._greetings, *self._redirects]
        waiting += [connection for connection in self._connections if connection.waits]
        give_way(waiting)
        return bool(waiting)

    async def _accept(self, one: Listening, scope: trio.CancelScope, connections: trio.Nursery) -> None:
        def serve(sock: socket.socket, peer: str) -> Coroutine[None, None, None]:
            if one.kind == "tls":
                return self._serve_tls(self._greetings.begin(sock), sock, peer, one.https_port)
            return self._redirect(sock, one.https_port)

        last_word = BUSY_ALERT if one.kind == "tls" else reply(503, close=True)
        with scope:
            await self._acceptor.run(one.sock, serve, connections, last_word)

    async def _serve_tls(
        self, greeting: Greeting, sock: socket.socket, peer: str, port: int, first: bytes = b""
    ) -> None:
        """Serve a connection; `first`: what a sibling has read from it, who has handed it on."""
        hand_on = self._way_on(greeting, port) if self._siblings is not None and not first else None
        try:
            if greeting.leaving:
                return
            heard = self._counters.hello_heard if self._counters is not None else None
            tables, prove = greeting.choose_from(self._serving), self.challenges.context
            stream = await accept_tls(sock, tables, first, hand_on, heard, prove)
        except (HandedOn, Proved):
            return
        except PlainHTTP as plain:
            greeting.end()
            self._count_failed("plain_http")
            await self._redirect(sock, port, plain.data)
            return
        except HandshakeError as error:
            self._count_failed(error.reason, error.hello)
            if error.reason.startswith(CLIENT_REFUSED):
                await linger(sock)
            return
        except trio.ClosedResourceError:
            self._count_failed("timeout")
            return
        finally:
            greeting.end()
        if self._counters is not None:
            self._counters.handshake_done(stream.facts, trio.current_time() - greeting.begun)
        # no await up to here since the greeting's end: who is to end must be found as one or the other
        connection = self._connection(greeting, stream, peer)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    def _way_on(self, greeting: Greeting, port: int) -> HandOn:
        """Give how a connection is handed on with what is left of its time when its hello was read."""
        siblings = self._siblings
        assert siblings is not None

        def hand_on(sock: socket.socket, data: bytes, ticket: bytes, bundle: str) -> bool:
            left_s = greeting.deadline - trio.current_time()
            return siblings.hand_on(sock, data, ticket, bundle, port=port, left_s=left_s)

        return hand_on

    def _connection(self, greeting: Greeting, stream: TLSStream, peer: str) -> Connection:
        facts = ClientFacts(
            peer,
            "https",
            fingerprint=greeting.fingerprints.get(stream.bundle_id)
            or self._serving.fingerprint(stream.bundle_id),  # built by this very handshake
            generation=greeting.generation,
            bundle=stream.bundle_id,
            gate=self._gate(stream),
        )
        connection = Connection(stream, facts, self._site)
        if self._take_leave is not None:
            self._take_leave(connection)
        for ending in greeting.endings:
            _end_if_meant(connection, ending)
        return connection

    def _gate(self, stream: TLSStream) -> ClientGate | None:
        """Say what this client may ask for; None where no rule asks anybody for a certificate."""
        if self._site.clients is None:
            return None
        gate = self._site.clients.gate(stream, local_port(stream.sock))
        if self._counters is not None and gate.rule is not None:
            self._counters.client_known(gate)
        return gate

    def _count_failed(self, reason: str, hello: bytes = b"") -> None:
        if self._counters is not None:
            self._counters.handshake_failed(reason, hello)

    async def _redirect(self, sock: socket.socket, port: int, first: bytes = b"") -> None:
        client = RedirectingClient(SocketStream(sock), port, self._site.sweeper, self.challenges.text)
        if self._take_leave is not None:
            client.retire()
        self._redirects.add(client)
        try:
            await client.serve(first, once=bool(first))
        finally:
            self._redirects.discard(client)


def _end_if_meant(connection: Connection, ending: Ending) -> None:
    if ending.means(connection.facts):
        connection.drain(ending.code, ending.by)
