"""One client's connection, from its first request to its last byte.

Promises: requests are answered one after the other in the order in which they came (pipelined ones wait in
the buffer); the stream is closed when `serve` returns, whatever happens: in good order where nothing was
under way, else so that the client can tell that something was cut off.
Refuses to know TLS, and what an exchange does with its upstream.
"""

from __future__ import annotations

import socket

import trio

from tlsproxy import policy
from tlsproxy.errors import ClientProtocolError
from tlsproxy.forward.client import Client, Late
from tlsproxy.forward.exchange import Exchange
from tlsproxy.forward.site import ClientFacts, Site
from tlsproxy.http.head import RequestHead, check_unfinished, find_head_end, parse_request
from tlsproxy.http.websocket import GOING_AWAY
from tlsproxy.net.stream import BROKEN, ByteStream, is_readable
from tlsproxy.net.sweeper import NEVER
from tlsproxy.readiness import notify_closing


class Connection:
    """Serves one client; owns its stream. `serve` it once; `drain` and `retire` come from another task."""

    __slots__ = ("_client", "_idle", "_known", "_patient")

    def __init__(self, stream: ByteStream, facts: ClientFacts, site: Site) -> None:
        self._client = Client(stream, facts, site)
        self._idle = True  # no byte of a request is here
        self._known = False  # a request was served here
        self._patient = True  # the next request may take its time

    async def serve(self) -> None:
        """Serve requests until the client goes, an error ends it, or it is drained or cancelled."""
        client = self._client
        sweeper = client.site.sweeper
        sweeper.add(client)
        orderly = False
        try:
            left = client.site.limits.requests
            while (head := await self._next_request()) is not None:
                left -= 1
                client.draining = client.draining or left <= 0
                exchange = Exchange(client, head)
                goes_on = await exchange.run()
                if not self._known and client.site.strict is not None:
                    exchange.tell_strict(client.site.strict)
                if not goes_on or not self._patient:
                    break
                self._known = True
            orderly = True
        except BROKEN:
            pass  # the client is gone, or doesn't read: nobody is left to be told
        finally:
            sweeper.discard(client)
            if client.site.observer is not None:
                client.site.observer.connection_ended(client.stream.sock)
            if orderly or self._idle:
                client.stream.close()
            else:
                client.stream.abort()

    def retire(self) -> None:
        """End with the next response, or with the one under way; who sends no request is waited for as ever.

        No request is lost by it, whenever it was sent: nothing is closed here that would not be anyway. A
        tunnel lives on.
        """
        self._client.draining = True

    def drain(self, code: int = GOING_AWAY, by: float = NEVER) -> None:
        """End in good order: at once where no request is under way or has just come, else with its response.

        A WebSocket ends by Close frames with `code`. Before `serve` it means that there is time for one
        request. What goes on at `by` (trio time), or an earlier call's, is cut.
        """
        self._client.draining = True
        self._client.end_by = min(self._client.end_by, by)
        self._client.close_tunnel(code)
        self._patient = False
        sock = self._client.stream.sock
        # what has come wakes the reader by itself: closing now would lose a request that was sent in time
        if self._idle and sock.fileno() >= 0 and not is_readable(sock):
            notify_closing(sock)

    @property
    def generation(self) -> int:
        """The generation that its handshake was made with."""
        return self._client.facts.generation

    @property
    def bundle(self) -> str:
        """The id of the bundle that its handshake was made with."""
        return self._client.facts.bundle

    @property
    def facts(self) -> ClientFacts:
        """What is known of the client."""
        return self._client.facts

    @property
    def sock(self) -> socket.socket:
        """The client's socket: to be asked about, not to be used."""
        return self._client.stream.sock

    @property
    def waits(self) -> bool:
        """Whether this connection only waits for its client to send, and no upstream works for it."""
        return self._client.client_by < NEVER and self._client.upstream_stream is None

    @property
    def standing(self) -> tuple[bool, float]:
        """Whether a request was ever served here, and since when this waits (trio time), to a second."""
        limits = self._client.site.limits
        return self._known, self._client.client_by - (limits.idle_s if self._idle else limits.header_s)

    def give_way(self) -> None:
        """End a connection that only waits, to make room for others."""
        self._client.wake()

    async def _next_request(self) -> RequestHead | None:
        """Return the next request head; None where the connection is to end, its client told why."""
        client = self._client
        client.late = None
        self._idle = not client.buffer
        try:
            end = -1 if self._idle else find_head_end(client.buffer)
            if end < 0 and (end := await self._receive_head()) < 0:
                return None
            raw = client.buffer
            if end == len(raw):
                client.buffer = b""
            else:
                raw, client.buffer = raw[:end], raw[end:]
            return parse_request(raw, client.site.limits.heads)
        except ClientProtocolError as error:
            await client.refuse(error)
            return None

    async def _receive_head(self) -> int:
        """Read until a whole head is in the buffer; return its end, -1 where the client ended before."""
        client = self._client
        sweeper, limits = client.site.sweeper, client.site.limits
        patient = self._idle and self._patient
        client.client_by = sweeper.after(limits.idle_s if patient else limits.header_s)
        try:
            while data := await client.stream.receive_some(policy.UP_READ_BYTES):
                if self._idle:
                    self._idle = False
                    client.client_by = sweeper.after(limits.header_s)
                searched = len(client.buffer)
                client.buffer = client.buffer + data if searched else data
                if (end := find_head_end(client.buffer, searched)) >= 0:
                    return end
                check_unfinished(client.buffer, limits.heads)
        except trio.ClosedResourceError:
            if client.late is Late.CLIENT and not self._idle:
                raise ClientProtocolError(408, "header_timeout", "the request head took too long") from None
        finally:
            client.client_by = NEVER
        return -1
