"""The way up: a request's body, read from the client and written anew for the upstream.

Promises: what goes up is framed by us (a length that is kept, or chunks made here); a body larger than
allowed, or badly chunked, is refused; at most one read of it is in memory.
Refuses to know responses: whether one has already come is the exchange's business.
"""

from __future__ import annotations

import trio

from tlsproxy import policy
from tlsproxy.errors import ClientProtocolError, UpstreamError
from tlsproxy.forward.client import Client, Late
from tlsproxy.forward.site import SocketConnection
from tlsproxy.http.body import BodyReader, encode_chunk, encode_last_chunk
from tlsproxy.http.framing import Framing, Kind
from tlsproxy.net.stream import BROKEN
from tlsproxy.net.sweeper import NEVER


class RequestBody:
    """A body on its way; takes its bytes from the client's buffer first, and leaves there what follows it."""

    __slots__ = ("_client", "_left", "_reader", "_received", "done")

    def __init__(self, client: Client, framing: Framing) -> None:
        """Take charge of a body that is not empty; ClientProtocolError 413 where its length is too much."""
        self._client = client
        self._left = framing.length
        self._reader = BodyReader(framing) if framing.kind is Kind.CHUNKED else None
        self._received = 0
        self.done = False
        """Whether all of it was taken."""
        self._allow(self._left)

    def take_buffered(self) -> bytes:
        """Take what is already here; return the bytes that say it to the upstream."""
        data, self._client.buffer = self._client.buffer, b""
        return self._wire(data) if data else b""

    async def receive(self) -> bytes:
        """Receive more, at least a byte; return what says it to the upstream (b"" where that is nothing yet).

        Raises ClientProtocolError (400, 408, 413), trio.BrokenResourceError where the client ended in the
        middle.
        """
        size = policy.UP_READ_BYTES if self._reader else min(self._left, policy.UP_READ_BYTES)
        data = await self._client.receive_body(size)
        if not data:
            raise trio.BrokenResourceError("the client ended in the middle of its request")
        return self._wire(data)

    async def receive_small(self, first: bytes) -> bytes:
        """Receive the rest at once where it is small enough to be kept, else return `first` as it is."""
        if self._reader or len(first) + self._left > policy.BUFFERED_BODY_BYTES:
            return first
        parts = [first]
        while not self.done:
            parts.append(await self.receive())
        return b"".join(parts)

    def _wire(self, data: bytes) -> bytes:
        if self._reader:
            return self._wire_chunked(self._reader, data)
        if len(data) > self._left:
            data, self._client.buffer = data[: self._left], data[self._left :]
        self._left -= len(data)
        self.done = not self._left
        return data

    def _wire_chunked(self, reader: BodyReader, data: bytes) -> bytes:
        payload = reader.feed(data)
        self._received += len(payload)
        self._allow(self._received)
        wire = encode_chunk(payload) if payload else b""
        if reader.done:
            self.done = True
            self._client.buffer = reader.leftover
            wire += encode_last_chunk(reader.trailers)
        return wire

    def _allow(self, size: int) -> None:
        if size > self._client.site.limits.max_body_bytes:
            raise ClientProtocolError(413, "body_too_large", "the request's body is too large")


class Upload:
    """Carries a body up while the exchange waits for the response; `run` is its task, and raises nothing.

    answered: to be set once the response's head has come. complete: all of it was sent. failure: why it
    ended early, if that ends the exchange: the client's fault, or its end, or an upstream that didn't read.
    An upstream that *broke* does not: it may have answered before.
    """

    __slots__ = ("_body", "_client", "_link", "answered", "complete", "failure")

    def __init__(self, client: Client, body: RequestBody, link: SocketConnection) -> None:
        self._client = client
        self._body = body
        self._link = link
        self.answered = False
        self.complete = False
        self.failure: Exception | None = None

    async def run(self, first: bytes, exchange: trio.CancelScope) -> None:
        """Send `first`, then the rest of the body as it comes; a failure cancels `exchange`."""
        try:
            taken = await self._send(first)
            while taken and not self._body.done:
                taken = await self._send(await self._body.receive())
            if taken:
                self.complete = True
                self._client.watch()
                if not self.answered:
                    self._client.wait_for_upstream()
        except (*BROKEN, ClientProtocolError, UpstreamError) as error:
            self.failure = error
            exchange.cancel()

    async def _send(self, data: bytes) -> bool:
        """Send to the upstream; say whether it took it, raise UpstreamError 504 where it took too long."""
        self._client.upstream_by = self._client.site.sweeper.after(policy.UPSTREAM_SEND_S)
        try:
            await self._link.stream.send_all(data)
        except BROKEN:
            if self._client.late is Late.UPSTREAM:
                raise UpstreamError(self._link.upstream_name, "send", status=504) from None
            return False
        finally:
            self._client.upstream_by = NEVER
        return True
