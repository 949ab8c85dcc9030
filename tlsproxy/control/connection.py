"""One connection to the control socket: Hypercorn's HTTP/1.1 and WebSocket, under our own deadlines.

Promises: whatever the peer does or leaves undone, the connection ends in bounded time, unless a WebSocket or
an answer is under way; an application is told that its peer has gone, and is never cut off in the middle of
a change. Refuses to know what is asked, and who may.

Theory. Hypercorn's own loop (0.18, trio/tcp_server.py) was tried first. It leaves a peer four ways to hold a
connection for ever: it sends without a deadline, shielded from cancellation; a body may come a byte a minute;
an application that answers before it has read ten parts of a body waits for itself; and HTTP/2 by prior
knowledge brings hundreds of requests over one connection. So what is taken from it are the protocols,
which do no I/O: bytes go in by `handle`, and what they want sent, ended or known comes back by a callback.
Of HTTP only version 1 is spoken, and of WebSocket no compression, which would let a kilobyte become a
megabyte here.

After an answer that ends the connection the peer may still be sending. A UNIX socket that is closed then
breaks its next write, and a client that doesn't expect that never looks for the answer; so what comes is
thrown away for a moment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeAlias

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from tlsproxy import policy
from tlsproxy.control.peers import Peer
from tlsproxy.control.values import PROBLEM_TYPE
from tlsproxy.observe.log import logger

__all__ = ["Application", "serve"]

_log = logger("control")
_READ_BYTES = 65_536
# Parts of a body that wait for the application, and messages of a follower, who has nothing to say.
_PARTS = 4
_MESSAGE_BYTES = 1_024

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
Application: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


async def serve(sock: trio.socket.SocketType, application: Application, peer: Peer | None) -> None:
    """Serve a connection to its end, and close it. The application finds the peer in its scope's state.

    peer: None where the kernel can't say who it is (TCP).
    """
    try:
        await _Connection(trio.SocketStream(sock), application, peer).run()
    except* Exception as error:  # noqa: BLE001  the border of one connection: the API lives on
        _log.error("control_fault", exc_info=error)


def _settings() -> Config:
    config = Config()
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = policy.CONTROL_HEAD_BYTES
    config.websocket_max_message_size = _MESSAGE_BYTES
    config.websocket_ping_interval = policy.CONTROL_PING_S
    return config


_SETTINGS = _settings()


class _Connection:
    def __init__(self, stream: trio.SocketStream, application: Application, peer: Peer | None) -> None:
        self._stream, self._application = stream, application
        self._state = ConnectionState({"peer": peer})
        self._protocol: H11Protocol
        self._sending = trio.Lock()
        self._reading = trio.CancelScope()
        self._ended = False
        self._started = False  # the head of a request
        self._head_by = trio.current_time() + policy.CONTROL_IDLE_S
        self._body_by = math.inf

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                # Hypercorn's types are narrower than what it needs of these three
                app: Any = self._application
                context: Any = WorkerContext(None)
                running = _Tasks(nursery)
                tasks: Any = running
                self._protocol = _Protocol(
                    app, _SETTINGS, context, tasks, self._state, False, None, None, self._send
                )
                with self._reading:
                    await self._read()
                await self._protocol.handle(Closed())  # tells the application that nobody waits any more
                running.end()
            if self._ended:
                await self._linger()
        finally:
            self._stream.socket.close()

    async def _read(self) -> None:
        while True:
            with trio.move_on_at(self._due()):
                try:
                    data = await self._stream.receive_some(_READ_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                if not data:
                    return
                if not self._started:
                    self._head_by = trio.current_time() + policy.CONTROL_HEADER_S
                try:
                    await self._protocol.handle(RawData(bytes(data)))
                except h11.LocalProtocolError:
                    # a WebSocket's peer spoke before it was accepted (RFC 6455 section 4.1); or two lengths
                    self._end()
                    return
                self._started = bool(self._protocol.connection.trailing_data[0])
                continue
            await self._tell_late()
            return

    def _due(self) -> float:
        """Say until when something must have come (trio time)."""
        state = self._protocol.connection.their_state
        if state is h11.IDLE:
            return self._head_by
        return self._body_by if state is h11.SEND_BODY else math.inf

    async def _tell_late(self) -> None:
        is_idle = self._protocol.connection.their_state is h11.IDLE and not self._started
        if not is_idle and self._protocol.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._protocol._send_error_response(408)  # noqa: SLF001  our own override
        self._end()

    # --- what the protocol wants

    async def _send(self, event: Event) -> None:
        match event:
            case RawData(data=data):
                await self._send_bytes(data)
            case Closed():
                self._end()
            case Updated(idle=True):
                self._head_by, self._body_by = trio.current_time() + policy.CONTROL_IDLE_S, math.inf
            case Updated():
                # an application that reads its body tells this first, in its own words
                self._body_by = trio.current_time() + policy.CONTROL_BODY_S + policy.CONTROL_LINGER_S

    async def _send_bytes(self, data: bytes) -> None:
        async with self._sending:
            if self._ended:
                return
            try:
                with trio.fail_after(policy.CONTROL_SEND_S):
                    await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                self._ended = True
                self._reading.cancel()

    def _end(self) -> None:
        """Say that nothing more comes from us, and read no further request."""
        self._ended = True
        with suppress(OSError):
            self._stream.socket.shutdown(trio.socket.SHUT_WR)
        self._reading.cancel()

    async def _linger(self) -> None:
        with trio.move_on_after(policy.CONTROL_LINGER_S), suppress(trio.BrokenResourceError):
            while await self._stream.receive_some(_READ_BYTES):
                pass


class _Protocol(H11Protocol):
    """Hypercorn's HTTP/1.1, without the ways out of it."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Stay with HTTP/1.1, whatever is offered: RFC 9110 section 7.8 lets a server ignore an upgrade.

        And with one length: h11 takes the chunked one of two, another would take the other (RFC 9112
        section 6.1).
        """
        names = {name for name, _ in event.headers}
        if names >= {b"content-length", b"transfer-encoding"}:
            await self._send_error_response(400)
            raise h11.LocalProtocolError("two lengths")

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(n, v) for n, v in request.headers if n != b"sec-websocket-extensions"]
        plain = h11.Request(
            method=request.method,
            target=request.target,
            headers=headers,
            http_version=request.http_version,
        )
        await super()._create_stream(plain)

    async def _send_error_response(self, status_code: int) -> None:
        """Tell of a fault in HTTP itself, or in time, in the form of all other errors."""
        code = "request_timeout" if status_code == 408 else "bad_request"
        title = HTTPStatus(status_code).phrase
        document = {"type": "about:blank", "status": status_code, "title": title, "code": code}
        detail = (
            "the request took too long" if status_code == 408 else "this is no HTTP request that can be read"
        )
        body = json.dumps({**document, "detail": detail}).encode()
        fields = [("content-type", PROBLEM_TYPE), ("content-length", str(len(body))), ("connection", "close")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=fields))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class _Tasks:
    """What Hypercorn calls a task group: it runs the application, one task for each request."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._beside: list[trio.CancelScope] = []  # what a protocol does by itself: pings

    async def spawn_app(
        self, app: Any, _config: Config, scope: MutableMapping[str, Any], send: Send
    ) -> Callable[[Message], Awaitable[None]]:
        inbox = _Inbox()
        self._nursery.start_soon(self._answer, app, scope, inbox, send)
        return inbox.put

    def spawn(self, func: Callable[..., Awaitable[object]], *args: Any) -> None:
        scope = trio.CancelScope()
        self._beside.append(scope)
        self._nursery.start_soon(_run_in, scope, func, *args)

    def end(self) -> None:
        """End what would go on by itself; the application ends when it will."""
        for scope in self._beside:
            scope.cancel()

    async def _answer(
        self, app: Application, scope: MutableMapping[str, Any], inbox: _Inbox, send: Send
    ) -> None:
        try:
            await app(scope, inbox.get, send)
        except h11.LocalProtocolError:
            pass  # its peer broke the protocol, and was answered by that already
        except Exception as error:  # noqa: BLE001  the border of one request: the API lives on
            _log.error("control_fault", exc_info=error)
        inbox.close()
        with suppress(h11.LocalProtocolError):
            await send(None)


async def _run_in(scope: trio.CancelScope, func: Callable[..., Awaitable[object]], *args: Any) -> None:
    with scope:
        await func(*args)


class _Inbox:
    """What has come for an application. Putting never waits for one that doesn't read any more."""

    def __init__(self) -> None:
        self._in, self._out = trio.open_memory_channel[Message](_PARTS)
        self._last: Message = {"type": "http.disconnect"}

    async def put(self, message: Message) -> None:
        """Add a part, once there is room; the word that the peer is gone needs none."""
        if message["type"].endswith(".disconnect"):
            self._last = message
            self._in.close()
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._in.send(message)

    async def get(self) -> Message:
        """Wait for the next message; once the peer is gone, say so whenever asked."""
        try:
            return await self._out.receive()
        except trio.EndOfChannel:
            return self._last

    def close(self) -> None:
        """The application reads no more."""
        self._out.close()
