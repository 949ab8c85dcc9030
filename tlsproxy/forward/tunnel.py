"""A tunnel: bytes both ways after an upgrade, until both sides have ended or it is closed.

Promises: every byte that one side sent arrives at the other, in order; the end of one side is passed on as
an end of that direction only (half-close), and the other direction goes on. A WebSocket can be closed by us:
both sides get a Close frame between two frames of the other, or none. Refuses to know what else flows
(messages, a shell), HTTP, why it is closed, and who closes the streams: both stay the caller's.

Theory. Four things go wrong in tunnels. (1) An end of file taken for the end of the connection cuts off
the answer that is still coming; so an end is passed on with `send_eof`, and only two ends, or a broken
connection, end the tunnel. (2) A side that has ended and an opposite side that never will would hold both
sockets for ever; a half-closed tunnel therefore has to move something every `policy.HALF_CLOSED_S`, while a
whole one has no deadline at all: a quiet WebSocket is none of our business, and a vanished peer is found by
TCP keep-alive probes. (3) A fast sender and a slow reader would fill our memory; each direction holds one
read at a time, and its next read waits for the send.

(4) A Close frame inside another frame, or inside one of our sends, destroys both. So each direction's own
task puts it in, and `close` interrupts a direction only while it waits to receive, which loses no byte (see
net/stream.py); a send that is under way ends first. What has come until then is still passed on, then the
frame under way, read to its last byte and no further, then comes our Close. Nothing may follow a Close (RFC
6455 section 5.5.1): what the source still sends is dropped until its own Close, the answer to the one that
the other direction's task has sent it. All that has `policy.TUNNEL_CLOSE_S`; a frame that doesn't end by
then stays cut off, without a Close behind it.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from tlsproxy import policy
from tlsproxy.http.websocket import Frames, close_frame
from tlsproxy.net.stream import BROKEN, ByteStream, set_keepalive


@dataclass(slots=True)
class _Way:
    """One direction. waits: its task waits to receive, and `waiting` may be cancelled without a loss."""

    source: ByteStream
    sink: ByteStream
    read_bytes: int
    frames: Frames | None
    carried: int = 0
    waits: bool = False
    waiting: trio.CancelScope = field(default_factory=trio.CancelScope)
    told: bool = False
    """Whether a Close frame, the source's or ours, is the last that the sink got."""

    async def receive_what_has_come(self) -> bytes:
        """Return what is here without waiting, b"" for nothing or an end; in all a fair share at the most."""
        with trio.CancelScope() as at_once:
            at_once.cancel()
            self.source.ask_first()
            return await self.source.receive_some(self.read_bytes)
        return b""

    async def pass_on(self, data: bytes, frames: Frames) -> None:
        frames.feed(data)
        await self.sink.send_all(data)
        self.carried += len(data)


class Tunnel:
    """Two streams tied together; `run` once. The caller closes both, also when it is cancelled.

    clean: after `run`, whether the client got all that it was to get; else its stream wants `abort`.
    """

    __slots__ = ("_code", "_down", "_ended", "_scope", "_up", "clean")

    def __init__(self, client: ByteStream, upstream: ByteStream, *, websocket: bool = False) -> None:
        up, down = (Frames(masked=True), Frames(masked=False)) if websocket else (None, None)
        self._up = _Way(client, upstream, policy.UP_READ_BYTES, up)
        self._down = _Way(upstream, client, policy.DOWN_READ_BYTES, down)
        self._scope = trio.CancelScope()
        self._ended = False  # one direction has: from now on the other must keep moving
        self._code = 0  # of the Close frame that was asked for
        self.clean = False

    @property
    def carried(self) -> int:
        """How many bytes went through, both ways together."""
        return self._up.carried + self._down.carried

    async def run(self, from_client: bytes = b"", from_upstream: bytes = b"") -> None:
        """Carry bytes until both sides have ended, one broke or we close; the arguments were already read."""
        set_keepalive(self._up.source.sock)
        set_keepalive(self._down.source.sock)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, self._up, from_client)
                nursery.start_soon(self._carry, self._down, from_upstream)
            self.clean = True
        if self._code:
            self.clean = self._down.told

    def close(self, code: int) -> None:
        """End a WebSocket with Close frames to both sides, in order; other tunnels just go on.

        Takes at most `policy.TUNNEL_CLOSE_S`. The first code counts; a side that was sent a Close already
        gets no other.
        """
        ways = (self._up, self._down)
        if self._code or any(way.frames is None or way.frames.lost for way in ways):
            return
        self._code = code
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + policy.TUNNEL_CLOSE_S)
        for way in ways:
            if way.waits:
                way.waiting.cancel()

    async def _carry(self, way: _Way, data: bytes) -> None:
        source, sink, frames = way.source, way.sink, way.frames
        try:
            with way.waiting:
                while not self._code:
                    if not data:
                        way.waits = True
                        data = await source.receive_some(way.read_bytes)
                        way.waits = False
                        if not data or self._code:
                            break
                    if frames is not None:
                        frames.feed(data)
                    await sink.send_all(data)
                    way.carried += len(data)
                    if self._ended:
                        self._moved()
                    data = b""
            if frames is not None and self._code:
                await self._close(way, frames, data)
            else:
                await sink.send_eof()
                self._ended = True
                self._moved()
        except BROKEN:
            if not self._code:  # else each direction ends by itself, within the time that both have
                self._scope.cancel()

    async def _close(self, way: _Way, frames: Frames, data: bytes) -> None:
        with suppress(*BROKEN):  # of the source; a sink that broke will say so again
            await self._end_frame(way, frames, data)
        if frames.at_boundary and not frames.closed:
            key = secrets.token_bytes(4) if way is self._up else b""
            await way.sink.send_all(close_frame(self._code, key))
        way.told = frames.at_boundary
        while not frames.closed and (data := await way.source.receive_some(way.read_bytes)):
            frames.feed(data)

    async def _end_frame(self, way: _Way, frames: Frames, data: bytes) -> None:
        """Pass on what has come, and the rest of the frame under way."""
        data = data or await way.receive_what_has_come()
        while data:
            await way.pass_on(data, frames)
            data = await way.receive_what_has_come()
        while size := min(frames.missing, way.read_bytes):
            data = await way.source.receive_some(size)
            if not data:
                return
            await way.pass_on(data, frames)

    def _moved(self) -> None:
        if not self._code:
            self._scope.deadline = trio.current_time() + policy.HALF_CLOSED_S
