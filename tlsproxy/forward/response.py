"""The way down: an upstream's response, read from its connection and passed to the client as it comes.

Promises: interim responses (1xx) are passed on to those who understand them; each read is sent on at once,
and whole before the next (nothing waits for more, at most one read is in memory); a body that was cut off
is an UpstreamError, never an end.
Refuses to know which upstream to ask, how the request got there, and what becomes of the connections.

Theory. A response's end is said in one of three ways, and the client must be told in a way of its own: a
length is passed on; chunks are decoded and made anew (one chunk a read, so that no extension and no
forbidden trailer passes); what ends with the upstream's connection becomes chunks for HTTP/1.1, so that the
client can tell an end from a break, and the end of the connection for HTTP/1.0. In the last case whoever
closes has to make a break look like one.
"""

from __future__ import annotations

from tlsproxy import policy
from tlsproxy.errors import Fault, UpstreamError, UpstreamProtocolError
from tlsproxy.forward.client import Client
from tlsproxy.forward.site import SocketConnection
from tlsproxy.http.body import BodyReader, encode_chunk, encode_last_chunk
from tlsproxy.http.framing import Framing, Kind
from tlsproxy.http.head import (
    RequestHead,
    ResponseHead,
    check_unfinished_response,
    find_head_end,
    parse_response,
)
from tlsproxy.http.headers import framing_for_client, response_headers_for_client
from tlsproxy.net.stream import BROKEN
from tlsproxy.net.sweeper import NEVER


class Response:
    """One response to one request; first `receive_head`, then `deliver`.

    begun: the client may have seen a byte of the final response, so no other can be sent. body_bytes: of
    payload, sent so far. rest: what the upstream sent beyond it. whole: all of it was sent.
    """

    __slots__ = ("_client", "_link", "_request", "begun", "body_bytes", "head", "rest", "whole")

    def __init__(self, client: Client, request: RequestHead, link: SocketConnection) -> None:
        self._client = client
        self._request = request
        self._link = link
        self.begun = False
        self.whole = False
        self.body_bytes = 0
        self.rest = b""
        self.head: ResponseHead

    @property
    def is_reusable(self) -> bool:
        """Whether the upstream's connection is fit for another exchange, as far as this response goes."""
        return self.whole and self.head.keep_alive and not self.rest

    async def receive_head(self) -> None:
        """Read the final head (or a 101) into `head`, passing on interim ones; ends the upstream's deadline.

        Raises UpstreamError where the upstream left before, UpstreamProtocolError where it doesn't speak
        HTTP.
        """
        request, link, interim = self._request, self._link, 0
        try:
            buffer = await link.stream.receive_some(policy.RESPONSE_READ_BYTES)
        except BROKEN:
            buffer = b""
        if not buffer:
            raise UpstreamError(link.upstream_name, "head", reused=link.reused)
        while True:
            end, searched = find_head_end(buffer), 0
            while end < 0:
                check_unfinished_response(buffer)
                searched = len(buffer)
                buffer += await self._receive(policy.RESPONSE_READ_BYTES, "head")
                end = find_head_end(buffer, searched)
            if end == len(buffer):
                raw, buffer = buffer, b""
            else:
                raw, buffer = buffer[:end], buffer[end:]
            if len(raw) > policy.MAX_HEAD_BYTES:  # it came in one piece, and is too large all the same
                check_unfinished_response(raw)
            head = parse_response(raw, request.method, request.upgrade)
            if head.status >= 200 or head.status == 101:
                self.head, self.rest = head, buffer
                self._client.upstream_by = NEVER
                return
            interim += 1
            if interim > policy.MAX_INTERIM:
                raise UpstreamProtocolError(
                    "too_many_interim", "the upstream sends interim responses without end"
                )
            if not request.http10:  # RFC 9110 section 15.2
                await self._client.send(
                    response_headers_for_client(head, Framing.NONE, http10=False, keep_alive=True)
                )
            buffer = buffer or await self._receive(policy.RESPONSE_READ_BYTES, "head")

    async def deliver(self, *, keep_alive: bool) -> bool:
        """Send head and body to the client; say whether its connection can go on.

        Raises UpstreamError and UpstreamProtocolError where the body was cut off.
        """
        head, http10 = self.head, self._request.http10
        framing = framing_for_client(head, http10=http10)
        self.begun = True
        lines = response_headers_for_client(head, framing, http10=http10, keep_alive=keep_alive)
        kind = head.framing.kind
        if kind is Kind.LENGTH:
            first = self._first_of(head.framing.length)
            await self._client.send(lines + first)
            self.body_bytes = len(first)
            if len(first) < head.framing.length:
                await self._deliver_rest(head.framing.length - len(first))
        elif kind is Kind.CHUNKED:
            await self._deliver_chunks(lines, rechunk=framing.kind is Kind.CHUNKED)
        elif kind is Kind.UNTIL_CLOSE:
            await self._deliver_until_close(lines, rechunk=framing.kind is Kind.CHUNKED)
        else:
            await self._client.send(lines)
        self.whole = True
        return keep_alive and framing.kind is not Kind.UNTIL_CLOSE

    def _first_of(self, length: int) -> bytes:
        """Give what of a body of so many bytes came with its head; what lies beyond it stays in `rest`."""
        first = self.rest
        if len(first) > length:
            first, self.rest = first[:length], first[length:]
        else:
            self.rest = b""
        return first

    async def _deliver_rest(self, left: int) -> None:
        while left:
            data = await self._receive(min(left, policy.DOWN_READ_BYTES), "body")
            left -= len(data)
            await self._client.send(data)
            self.body_bytes += len(data)

    async def _deliver_chunks(self, out: bytes, *, rechunk: bool) -> None:
        reader = BodyReader(Framing.CHUNKED, Fault.UPSTREAM)
        data, self.rest = self.rest, b""
        while True:
            payload = reader.feed(data) if data else b""
            self.body_bytes += len(payload)
            if rechunk:
                out += encode_chunk(payload)
                if reader.done:
                    out += encode_last_chunk(reader.trailers)
            else:
                out += payload
            if out:
                await self._client.send(out)
            if reader.done:
                self.rest = reader.leftover
                return
            out, data = b"", await self._receive(policy.DOWN_READ_BYTES, "body")

    async def _deliver_until_close(self, out: bytes, *, rechunk: bool) -> None:
        data, self.rest = self.rest, b""
        while True:
            self.body_bytes += len(data)
            await self._client.send(out + (encode_chunk(data) if rechunk else data))
            try:
                data = await self._link.stream.receive_some(policy.DOWN_READ_BYTES)
            except BROKEN:  # a reset is no end
                raise UpstreamError(self._link.upstream_name, "body") from None
            if not data:
                break
            out = b""
        if rechunk:
            await self._client.send(encode_last_chunk())

    async def _receive(self, size: int, phase: str) -> bytes:
        try:
            data = await self._link.stream.receive_some(size)
        except BROKEN:
            data = b""
        if not data:
            raise UpstreamError(self._link.upstream_name, phase)
        return data
