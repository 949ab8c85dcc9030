"""A channel: messages both ways over a UNIX stream socket between a supervisor and one worker.

Promises: messages arrive whole and in order; sending never waits for the other side's attention (what it
doesn't read is queued, within a bound, and what it can do without is the first to be dropped: events for the
log, the keys of siblings); the other side's end, however it came, is an end of iteration. Refuses to know
what messages mean.

Theory. If both sides could wait for each other's reading, a log full of errors could stop a worker's loop and
a hanging worker the supervisor's. So a sender only queues, and one task a channel carries. Whoever lets the
queue run full is stuck, and is treated as gone. What one worker makes us tell another must never fill that
one's queue: so a worker that somebody has taken over would end its siblings.
A supervisor that executes itself anew hands its end of a channel over in the midst of messages: half of one
may have come, and another be half sent. Were these halves lost, what follows would make no sense to either
side. So whenever other tasks run, what was taken from the kernel stands in `unread`, what the kernel hasn't
taken stands in `unsent`, and nothing is anywhere else.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import trio

from tlsproxy.workers.messages import Said, SiblingKeys
from tlsproxy.workers.protocol import MAX_MESSAGE_BYTES, FromWorker, ToWorker, encode

__all__ = ["Channel"]

R = TypeVar("R")

_READ_BYTES = 65_536
# What may wait to be carried. Beyond the first what can be done without is dropped; more than the second is
# a stuck reader.
_MOST_EVENTS, _MOST_MESSAGES = 500, 1000
_DISPENSABLE = (Said, SiblingKeys)


class Channel(Generic[R]):
    """One end; owns its socket. `run` carries, iteration receives: one task for each."""

    def __init__(
        self,
        sock: socket.socket,
        decode: Callable[[bytes], R | None],
        *,
        unread: bytes = b"",
        unsent: bytes = b"",
        most_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        """Take a connected stream socket; `decode` reads a line, None for what is to be passed by.

        most_bytes: how long a message of the other side may be.
        unread, unsent: what those properties were of a channel that went on by an exec.
        """
        sock.setblocking(False)
        self._sock = sock
        self._decode, self._most = decode, most_bytes
        self._come = bytearray(unread)
        self._going: deque[bytes | memoryview] = deque([unsent] if unsent else ())
        self._carrier = trio.lowlevel.ParkingLot()
        self._is_open = True

    @property
    def fd(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._sock.fileno()

    @property
    def unread(self) -> bytes:
        """What has come and isn't given: the beginning of a message. Whole whenever other tasks run."""
        return bytes(self._come)

    @property
    def unsent(self) -> bytes:
        """What waits to be carried: the rest of a message, and whole ones."""
        return b"".join(self._going)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry what is sent, until the other side is gone, `finish` or `close`."""
        task_status.started()
        try:
            while self._going or self._is_open:
                if self._going:
                    await self._carry()
                else:
                    await self._carrier.park()
        except (OSError, trio.ClosedResourceError):
            self._is_open = False

    async def _carry(self) -> None:
        """Hand the first message on, as far as it goes; no await stands between that and its noting."""
        try:
            sent = self._sock.send(self._going[0])
        except BlockingIOError:
            await trio.lowlevel.wait_writable(self._sock)
            return
        rest = memoryview(self._going.popleft())[sent:]
        if rest:
            self._going.appendleft(rest)

    def send(self, message: ToWorker | FromWorker) -> None:
        """Queue a message; nothing happens where the other side is gone or stuck (its end tells)."""
        if not self._is_open or (isinstance(message, _DISPENSABLE) and len(self._going) >= _MOST_EVENTS):
            return
        if len(self._going) >= _MOST_MESSAGES:
            self._break()
            return
        self._going.append(encode(message))
        self._carrier.unpark()

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
            if searched > self._most:
                raise ValueError("a message has no end")
            try:
                data = await self._read()
            except (OSError, trio.ClosedResourceError):
                return
            if not data:
                return
            self._come += data

    async def _read(self) -> bytes:
        """Take what has come, b"" for the end; no await stands behind the taking."""
        await trio.lowlevel.checkpoint()  # who never stops talking leaves others their turn
        while True:
            try:
                return self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)

    def finish(self) -> None:
        """Send nothing more: `run` ends when what is queued was carried."""
        self._is_open = False
        self._carrier.unpark()

    def _break(self) -> None:
        """Give up somebody who hasn't read a thousand messages: both sides learn of the end."""
        self._is_open = False
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go; the other side sees an end. Idempotent."""
        self._is_open = False
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
        self._carrier.unpark()
