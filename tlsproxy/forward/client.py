"""A client as an exchange sees it: its stream, the bytes it sent ahead, and who waits for whom until when.

Promises: every wait for or on behalf of a client has a deadline or a reason for none; an error reply arrives.
Refuses to know upstreams and routes, and TLS.

Theory. Who waits for whom is three questions, so there are three deadlines, and a wait sets the one that it
is: `client_by` (the client must send: a head, a body, anything at all), `taken_by` (the client must take
what we send), `upstream_by` (the upstream must take, or answer); a fourth, `end_by`, is the connection's own,
whoever is waited for. Setting one is an attribute; the sweeper looks at the least of them once a second,
notes in `late` who missed it, and wakes *all* waiters of this connection; each then sees
trio.ClosedResourceError on a socket that is still open, so that the one who is not to blame can still be told
(408, 504). A sweep may come between two waits and wake nobody: therefore nothing is forgotten until the owner
moves the deadline, and the next sweep wakes again. `gone` works alike: the client hung up while its answer
was being made. An error of the client's own stream is caught nowhere below forward/connection.py: nobody is
left to be told.
"""

from __future__ import annotations

from enum import Enum

from tlsproxy import policy
from tlsproxy.errors import ClientProtocolError
from tlsproxy.forward.site import ClientFacts, Site
from tlsproxy.forward.tunnel import Tunnel
from tlsproxy.http.headers import ForwardedFacts
from tlsproxy.http.replies import reply
from tlsproxy.net.stream import BROKEN, ByteStream, delivered_bytes, linger
from tlsproxy.net.sweeper import NEVER
from tlsproxy.readiness import notify_closing


class Late(Enum):
    """Who missed a deadline."""

    CLIENT = "client"
    READER = "reader"
    UPSTREAM = "upstream"


class Client:
    """One client's side. `Overdue` for the sweeper; its connection lends it to one exchange at a time."""

    __slots__ = (
        "_acknowledged",
        "_body_credit",
        "_fd",
        "buffer",
        "client_by",
        "close_code",
        "draining",
        "end_by",
        "facts",
        "forwarded",
        "gone",
        "late",
        "site",
        "stream",
        "taken_by",
        "tunnel",
        "upstream_by",
        "upstream_stream",
        "watch_fd",
    )

    def __init__(self, stream: ByteStream, facts: ClientFacts, site: Site) -> None:
        self.stream = stream
        self.facts = facts
        self.site = site
        tell = site.forwarded.tell_bundle
        self.forwarded = ForwardedFacts(
            client_ip=facts.peer.encode("ascii"),
            scheme=facts.scheme.encode("ascii"),
            host=facts.local.encode("ascii"),
            trusted=site.forwarded.trusts(facts.peer),
            bundle=facts.fingerprint.encode("ascii") if tell else b"",
            generation=facts.generation if tell else 0,
            client=facts.gate.fields if facts.gate is not None else b"",
        )
        self.buffer = b""
        """What the client sent and nobody has used yet: the rest of a body, or the next requests."""
        self.upstream_stream: ByteStream | None = None
        """The upstream's side of the exchange under way: woken together with ours."""
        self.client_by = self.taken_by = self.upstream_by = NEVER
        self.end_by = NEVER
        """When this connection is cut, whatever it is at; not a deadline of any one wait."""
        self.late: Late | None = None
        self.gone = False
        self.draining = False
        """Whether the response now being made is to be the last."""
        self.tunnel: Tunnel | None = None
        """What the client's connection has become, if it was upgraded."""
        self.close_code = 0
        """What its WebSocket, if it becomes one, is to be closed with at once; 0 while it may live on."""
        self.watch_fd = -1
        self._fd = stream.sock.fileno()
        self._acknowledged: int | None = -1
        self._body_credit = site.limits.body_s

    async def send(self, data: bytes) -> None:
        """Send to the client, as long as it keeps taking something within `send_s`."""
        self.taken_by = self.site.sweeper.after(self.site.limits.send_s)
        await self.stream.send_all(data)
        self.taken_by = NEVER

    async def receive_body(self, max_bytes: int) -> bytes:
        """Receive more of a request's body, b"" where the client ended instead.

        Raises ClientProtocolError 408 where nothing came within `body_s`, or all of it too slowly.
        """
        sweeper = self.site.sweeper
        asked = sweeper.now
        self.client_by = sweeper.after(max(min(self.site.limits.body_s, self._body_credit), 0.0))
        try:
            data = await self.stream.receive_some(max_bytes)
        except BROKEN:
            if self.late is Late.CLIENT:
                raise ClientProtocolError(408, "body_timeout", "the request's body took too long") from None
            raise
        finally:
            self.client_by = NEVER
        # only the time that we waited for the client counts, not what the upstream took
        self._body_credit += len(data) / policy.BODY_RATE - (sweeper.now - asked)
        return data

    async def refuse(self, error: ClientProtocolError) -> None:
        """Answer a head that was not let in, and end the connection so that the answer arrives."""
        if self.site.observer is not None:
            self.site.observer.request_refused(self.facts, error)
        await self.send(reply(error.status, close=True, code=error.code, words=error.words))
        await self.end()

    async def end(self) -> None:
        """End our side in good order, and read past what still comes; bounded in time and bytes."""
        self.watch_fd = -1
        self.client_by = self.upstream_by = NEVER
        self._acknowledged = None  # progress no longer counts
        self.taken_by = self.site.sweeper.after(self.site.limits.linger_s)
        await self.stream.send_eof()
        await linger(self.stream.sock)

    def close_tunnel(self, code: int) -> None:
        """Have this client's WebSocket, open or yet to come, end by a Close frame with `code`."""
        self.close_code = code
        if self.tunnel is not None:
            self.tunnel.close(code)

    def wait_for_upstream(self) -> None:
        """Note that the request is complete: the upstream must answer, the client may hang up."""
        self.upstream_by = self.site.sweeper.after(self.site.limits.response_s)
        self.watch_fd = self._fd

    def watch(self) -> None:
        """Note that nothing more is read from the client for now: its end means that it has left."""
        self.watch_fd = self._fd

    def rest(self) -> None:
        """Note that nobody waits for anybody any more: an exchange is over."""
        self.client_by = self.taken_by = self.upstream_by = NEVER
        self.watch_fd = -1
        self.upstream_stream = None
        self._body_credit = self.site.limits.body_s

    def wake(self) -> None:
        """Wake whoever waits on this connection or its upstream; they see trio.ClosedResourceError."""
        if self.stream.sock.fileno() >= 0:
            notify_closing(self.stream.sock)
        if self.upstream_stream is not None and self.upstream_stream.sock.fileno() >= 0:
            notify_closing(self.upstream_stream.sock)

    # --- Overdue

    @property
    def deadline(self) -> float:
        """The first of the four that falls due."""
        return min(self.client_by, self.taken_by, self.upstream_by, self.end_by)

    def expire(self) -> None:
        """Note who is late, and wake everybody; a slow reader that still reads is not late."""
        now = self.site.sweeper.now
        if self.end_by < now:
            self.late = self.late or self._awaited
        elif self.taken_by < now:
            acknowledged = delivered_bytes(self.stream.sock)
            if self._acknowledged is not None and acknowledged != self._acknowledged:
                self._acknowledged = acknowledged
                self.taken_by = self.site.sweeper.after(self.site.limits.send_s)
                return
            self.late = Late.READER
        elif self.client_by < now:
            self.late = Late.CLIENT
        else:
            self.late = Late.UPSTREAM
        self.wake()

    @property
    def _awaited(self) -> Late:
        """Who is waited for at this moment."""
        if self.taken_by < NEVER:
            return Late.READER
        return Late.CLIENT if self.client_by < NEVER else Late.UPSTREAM

    def hung_up(self) -> None:
        """Note that the client has left while its answer is being made, and wake everybody."""
        self.gone = True
        self.wake()
