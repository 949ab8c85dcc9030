"""A tunnel: bytes both ways after an upgrade, until both sides have ended.

Promises: every byte that one side sent arrives at the other, in order; the end of one side is passed on as
an end of that direction only (half-close), and the other direction goes on. Refuses to know what flows
(WebSocket frames, h2c, a shell), HTTP, and who closes: both streams stay the caller's.

Theory. Three things go wrong in tunnels. (1) An end of file taken for the end of the connection cuts off
the answer that is still coming; so an end is passed on with `send_eof`, and only two ends, or a broken
connection, end the tunnel. (2) A side that has ended and an opposite side that never will would hold both
sockets for ever; a half-closed tunnel therefore has to move something every `policy.HALF_CLOSED_S`, while a
whole one has no deadline at all: a quiet WebSocket is none of our business, and a vanished peer is found by
TCP keep-alive probes. (3) A fast sender and a slow reader would fill our memory; each direction holds one
read at a time, and its next read waits for the send.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from tlsproxy import policy
from tlsproxy.net.stream import BROKEN, ByteStream, set_keepalive


@dataclass(slots=True)
class Carried:
    """How many bytes went which way, and whether both sides ended in order."""

    up: int = 0
    down: int = 0
    clean: bool = False


class Tunnel:
    """Two streams tied together; `run` once. The caller closes both, also when it is cancelled."""

    __slots__ = ("_client", "_ended", "_scope", "_upstream", "carried")

    def __init__(self, client: ByteStream, upstream: ByteStream) -> None:
        self._client = client
        self._upstream = upstream
        self._scope = trio.CancelScope()
        self._ended = False  # one direction has: from now on the other must keep moving
        self.carried = Carried()

    async def run(self, from_client: bytes = b"", from_upstream: bytes = b"") -> Carried:
        """Carry bytes until both sides have ended or one broke; the arguments were already read."""
        set_keepalive(self._client.sock)
        set_keepalive(self._upstream.sock)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry_up, from_client)
                nursery.start_soon(self._carry_down, from_upstream)
            self.carried.clean = True
        return self.carried

    async def _carry_up(self, data: bytes) -> None:
        try:
            while data or (data := await self._client.receive_some(policy.UP_READ_BYTES)):
                await self._upstream.send_all(data)
                self._moved()
                self.carried.up += len(data)
                data = b""
            await self._upstream.send_eof()
            self._end()
        except BROKEN:
            self._scope.cancel()

    async def _carry_down(self, data: bytes) -> None:
        try:
            while data or (data := await self._upstream.receive_some(policy.DOWN_READ_BYTES)):
                await self._client.send_all(data)
                self._moved()
                self.carried.down += len(data)
                data = b""
            await self._client.send_eof()
            self._end()
        except BROKEN:
            self._scope.cancel()

    def _moved(self) -> None:
        if self._ended:
            self._scope.deadline = trio.current_time() + policy.HALF_CLOSED_S

    def _end(self) -> None:
        self._ended = True
        self._moved()
