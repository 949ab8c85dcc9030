"""Port 80, and plain HTTP spoken on the TLS port: every request is told to come again by https.

Promises: h11 reads the request, so the answer goes to what was really asked; a request that it can't read
gets 400 and an end; a request's body is read past, never used; a client that idles is closed by the sweeper.
An ACME authority that looks for a token which waits for it gets its text (http-01); nobody else notices.
"""

from __future__ import annotations

from collections.abc import Callable

import h11
import trio

from tlsproxy import policy
from tlsproxy.http.replies import key_authorization, redirect_to_https, reply
from tlsproxy.net.stream import SocketStream, linger
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.readiness import notify_closing

_CHALLENGES = b"/.well-known/acme-challenge/"  # RFC 8555 section 8.3


class RedirectingClient:
    """One client that speaks plain HTTP; owned by the task that calls `serve`."""

    def __init__(
        self,
        stream: SocketStream,
        https_port: int,
        sweeper: Sweeper,
        text_of: Callable[[bytes], bytes | None] = lambda _token: None,
    ) -> None:
        """Take the connection; `text_of` gives what an ACME authority looks for under a token, or None."""
        self._stream, self._https_port, self._sweeper = stream, https_port, sweeper
        self._text_of = text_of
        now = trio.current_time()
        self.standing = (False, now)
        self._last = False  # the next answer is
        self.deadline = now + policy.HEADER_S
        self.watch_fd = -1

    def expire(self) -> None:
        """End an idle client: its waiter sees ClosedResourceError (called by the sweeper)."""
        if self._stream.sock.fileno() >= 0:
            notify_closing(self._stream.sock)

    hung_up = give_way = expire

    def retire(self) -> None:
        """End with the next answer; who asks nothing is waited for as ever."""
        self._last = True

    async def serve(self, first: bytes = b"", *, once: bool = False) -> None:
        """Answer until the client goes or, with `once`, after one answer; `first` was read already."""
        self._sweeper.add(self)
        try:
            await self._serve(first, once=once)
        except (trio.ClosedResourceError, trio.BrokenResourceError, OSError):
            pass  # overdue or gone: there is nobody to tell
        finally:
            self._sweeper.discard(self)

    async def _serve(self, first: bytes, *, once: bool) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=policy.MAX_HEAD_BYTES)
        if first:
            http.receive_data(first)
        while True:
            request = await self._next_request(http)
            if request is None:
                return
            keep = not (once or self._last or _closes(request))
            answer = self._answer(request, keep=keep)
            await self._stream.send_all(answer)
            if not keep or b"\r\nConnection: close\r\n" in answer:  # a Host that nobody can be sent to
                return
            http.send(h11.Response(status_code=308, headers=[("content-length", "0")]))
            http.send(h11.EndOfMessage())
            if http.our_state is not h11.DONE:
                return
            http.start_next_cycle()
            await (
                trio.lowlevel.checkpoint()
            )  # h11 takes its time, and two thousand requests fit into one read

    def _answer(self, request: h11.Request, *, keep: bool) -> bytes:
        if request.target.startswith(_CHALLENGES) and request.method in {b"GET", b"HEAD"}:
            text = self._text_of(request.target[len(_CHALLENGES) :])
            if text is not None:
                return key_authorization(text, close=not keep, method=request.method)
        return redirect_to_https(
            method=request.method,
            target=request.target,
            host=next((value for name, value in request.headers if name == b"host"), b""),
            port=self._https_port,
            keep_alive=keep,
        )

    async def _next_request(self, http: h11.Connection) -> h11.Request | None:
        """Read one request whole; None where the client left or spoke something else."""
        request: h11.Request | None = None
        self.deadline = trio.current_time() + policy.HEADER_S  # for head and body together: no slow-loris
        while True:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError as error:
                await self._stream.send_all(reply(error.error_status_hint, b"", close=True))
                self.deadline = trio.current_time() + policy.LINGER_S
                await linger(self._stream.sock)
                return None
            if event is h11.NEED_DATA:
                http.receive_data(await self._stream.receive_some())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                return request
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                return None


def _closes(request: h11.Request) -> bool:
    return request.http_version == b"1.0" or any(
        name == b"connection" and b"close" in value.lower() for name, value in request.headers
    )
