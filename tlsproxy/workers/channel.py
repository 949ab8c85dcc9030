"""A channel: messages both ways over a UNIX stream socket between a supervisor and one worker.

Promises: messages arrive whole and in order; sending never waits for the other side's attention (what it
doesn't read is queued, within a bound, and events for the log are the first to be dropped); the other side's
end, however it came, is an end of iteration. Refuses to know what messages mean.

Theory. If both sides could wait for each other's reading, a log full of errors could stop a worker's loop and
a hanging worker the supervisor's. So a sender only queues, and one task a channel carries. Whoever lets the
queue run full is stuck, and is treated as gone.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec
import trio

from tlsproxy.workers.messages import MAX_MESSAGE_BYTES, FromWorker, Said, ToWorker, encode

__all__ = ["Channel", "Rest"]

R = TypeVar("R")

_READ_BYTES = 65_536
# What may wait to be carried. Events beyond the first are dropped; more than the second means a stuck reader.
_MOST_EVENTS, _MOST_MESSAGES = 500, 1000


class Rest(msgspec.Struct, frozen=True):
    """What one end has read and not given, and what it has still to send."""

    unread: bytes = b""
    unsent: bytes = b""


class Channel(Generic[R]):
    """One end; owns its socket. `run` carries, iteration receives: one task for each."""

    def __init__(
        self, sock: socket.socket, decode: Callable[[bytes], R | None], rest: Rest | None = None
    ) -> None:
        """Take a connected stream socket; `decode` reads a line, None for what is to be passed by.

        rest: what was under way when the image before was executed anew (`rest` of its end).
        """
        rest = rest or Rest()
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._decode = decode
        self._out, self._queue = trio.open_memory_channel[bytes](_MOST_MESSAGES)
        self._come = bytearray(rest.unread)  # read and not yet given
        self._going = bytearray(rest.unsent)  # taken from the queue and not yet sent
        self.fd = sock.fileno()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry what is sent, until the other side is gone, `finish` or `close`."""
        task_status.started()
        try:
            await self._carry()
            async for line in self._queue:
                self._going += line
                await self._carry()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _carry(self) -> None:
        try:
            while self._going:
                del self._going[: await self._stream.socket.send(self._going)]
        except OSError as error:
            raise trio.BrokenResourceError from error

    def rest(self) -> Rest:
        """Give what is under way both ways, halves of messages too: an exec must not cut one in two."""
        with suppress(trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            while True:
                self._going += self._queue.receive_nowait()
        return Rest(bytes(self._come), bytes(self._going))

    def send(self, message: ToWorker | FromWorker) -> None:
        """Queue a message; nothing happens where the other side is gone or stuck (its end tells)."""
        if isinstance(message, Said) and self._out.statistics().current_buffer_used >= _MOST_EVENTS:
            return
        try:
            self._out.send_nowait(encode(message))
        except trio.WouldBlock:
            self.close()  # it hasn't read a thousand messages: both sides learn of the end
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def receive(self) -> AsyncGenerator[R, None]:
        """Give messages until the other side ends; may be left and begun again between two of them.

        Raises ValueError where the other side doesn't speak our language.
        """
        searched = 0
        while True:
            while (end := self._come.find(b"\n", searched)) >= 0:
                searched = 0
                message = self._decode(bytes(memoryview(self._come)[:end]))
                del self._come[: end + 1]
                if message is not None:
                    yield message
            searched = len(self._come)
            if searched > MAX_MESSAGE_BYTES:
                raise ValueError("a message has no end")
            try:
                data = await self._stream.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            self._come += data

    def finish(self) -> None:
        """Send nothing more: `run` ends when what is queued was carried."""
        self._out.close()

    def close(self) -> None:
        """Let go; the other side sees an end. Idempotent."""
        self._out.close()
        self._stream.socket.close()
