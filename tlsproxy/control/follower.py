"""The asking side of events: follows them over the UNIX socket, each once and in order.

Promises: a connection that ends (a reload, a follower that was too slow) is made again from the last number
that was told; what can't be had any more is told as `lost`, never passed over. Ends only by an error: nobody
has answered for a while, or we may not ask. Refuses to know how an event is shown.
"""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from tlsproxy.control.values import problem_words
from tlsproxy.errors import AnswerError, ControlError, NotRunningError

__all__ = ["Follower"]

# A new image answers within a second or two; a service manager restarts what has died within some more.
_PATIENCE_S = 60.0
_AGAIN_S = 0.2
_HANDSHAKE_S = 20.0
# A receipt with its findings has some KB.
_MESSAGE_BYTES = 4_194_304


class Follower:
    """Follows the proxy whose control socket is at `path`; `tell` gets each message as JSON holds it.

    after, stream: the last event that was seen, and of which stream it was; None: from now on.
    """

    def __init__(
        self,
        path: Path,
        tell: Callable[[dict[str, object]], None],
        *,
        after: int | None = None,
        stream: str | None = None,
    ) -> None:
        self._path, self._tell = path, tell
        self._after, self._stream = after, stream
        self._heard_at = -math.inf  # trio time of the last message
        self.connected = trio.Event()
        """Set when the first connection stands: what happens from then on is told."""

    async def run(self) -> None:
        """Follow until cancelled. Raises NotRunningError or ControlError, and what `tell` raises."""
        while True:
            try:
                await self._follow_once()
            except OSError as error:
                if error.errno in {errno.EACCES, errno.EPERM}:
                    hint = "run this as the proxy's user: sudo -u tlsproxy ..."
                    raise ControlError(str(self._path), "permission denied", hint) from error
            if trio.current_time() - self._heard_at > _PATIENCE_S:
                raise NotRunningError(str(self._path))
            await trio.sleep(_AGAIN_S)

    async def _follow_once(self) -> None:
        known = {"after": self._after, "stream": self._stream}
        query = urlencode({name: value for name, value in known.items() if value is not None})
        target = f"/v1/events?{query}" if query else "/v1/events"
        async with await trio.open_unix_socket(str(self._path)) as socket:
            self._heard_at = trio.current_time()
            stream = _Watched(socket)
            watched: Any = stream  # any stream of trio's kind would do
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.cancel_at_end, nursery.cancel_scope)
                    with trio.fail_after(_HANDSHAKE_S):
                        connection = await wrap_client_stream(
                            nursery, watched, "tlsproxy", target, max_message_size=_MESSAGE_BYTES
                        )
                    stream.opened = True
                    await self._listen(connection)
                    nursery.cancel_scope.cancel()
            except* ConnectionRejected as rejected:
                raise self._rejection(rejected) from None
            except* (ConnectionClosed, trio.TooSlowError, trio.BrokenResourceError):
                pass  # it is made again

    async def _listen(self, connection: WebSocketConnection) -> None:
        while True:
            self._take(json.loads(await connection.get_message()))

    def _take(self, message: dict[str, object]) -> None:
        self._heard_at = trio.current_time()
        self._stream = str(message["stream"])
        match message:
            case {"kind": "stream", "newest": int(newest)}:
                self._after = newest if self._after is None else self._after
                self.connected.set()
                return
            case {"number": int(number)}:
                self._after = number
        self._tell(message)

    def _rejection(self, group: BaseExceptionGroup[ConnectionRejected]) -> ControlError:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, ConnectionRejected)
        try:
            document = json.loads(error.body or b"")
            code = str(document.get("code") or ControlError.code)
            return AnswerError(str(self._path), problem_words(document), str(document.get("hint", "")), code)
        except (ValueError, AttributeError):
            return ControlError(
                str(self._path), f"it answers {error.status_code}", "is the running proxy of another version?"
            )


class _Watched(trio.abc.Stream):
    """A stream that says when it has ended: trio-websocket (0.12) doesn't see it before its handshake."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._ended = trio.Event()
        self.opened = False

    async def cancel_at_end(self, waiting: trio.CancelScope) -> None:
        """Cancel who waits for the handshake of a connection that has ended."""
        await self._ended.wait()
        if not self.opened:
            waiting.cancel()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._ended.set()
            raise
        if not data:
            self._ended.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
