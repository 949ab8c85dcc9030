"""One exchange: a request goes to its upstream, the response to its client.

Promises: a client gets exactly one final response, or sees that its connection broke; an upstream's
connection is kept only where both messages were whole and nothing else came; the request is sent a second
time only where that is safe.
Refuses to know TLS, and how heads and bodies are read.

Theory. The plain path, for nearly all requests: the whole request is in memory, so it leaves in one send,
and one task waits for the response; no nursery, scope or timer is made. A large, chunked or expected
(100-continue) body needs two tasks, since an upstream may answer before it has read: the upload runs beside
the response, and *the end of the response ends it*. A client that has not sent all by then is told
`Connection: close` (its rest can't be told from a next request), and what it still sends is read past for a
while, so that no reset overtakes the response. Nobody but the upstream says 100 Continue: it alone knows,
and its answer is passed on like any interim response. A client whose upstream never says it goes on by
itself (RFC 9110 section 10.1.1).

Asking again: a pooled connection may have been closed just when the request was sent. It is sent once more,
on a new connection, only if no byte of a response came, the method is idempotent (RFC 9110 section 9.2.2)
and the whole request is in memory. A request that can't be repeated takes only connections used a moment
ago (see upstream/connection.py).

An upstream that is known to be down isn't asked (upstream/guard.py): the client is told so at once, and when
to come again; one that is asked by as many as may is waited for a little (upstream/room.py). That is decided
when a request is ready to be sent, not before: a slow sender must not hold the one trial that a breaker
allows, and a small body that was taken lets the connection live on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from secrets import token_bytes

import trio

from tlsproxy.errors import (
    ClientProtocolError,
    Fault,
    UpstreamDownError,
    UpstreamError,
    UpstreamProtocolError,
)
from tlsproxy.forward import confirmation
from tlsproxy.forward.client import Client, Late
from tlsproxy.forward.response import Response
from tlsproxy.forward.site import ExchangeRecord, SocketConnection, SocketUpstream
from tlsproxy.forward.tunnel import Tunnel
from tlsproxy.forward.upload import RequestBody, Upload
from tlsproxy.http.framing import Framing
from tlsproxy.http.head import RequestHead
from tlsproxy.http.headers import request_headers_for_upstream, response_headers_for_client
from tlsproxy.http.replies import come_again, no_content, reply
from tlsproxy.http.trace import continue_trace
from tlsproxy.net.stream import BROKEN
from tlsproxy.upstream.guard import Guards, Visit
from tlsproxy.upstream.room import Room

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
_STRICT = b"strict-transport-security"
_STRICT_BYTES = len(_STRICT)
Failure = (ClientProtocolError, UpstreamError, UpstreamProtocolError)


class Exchange:
    """One request of one client, answered by `run`."""

    __slots__ = (
        "_client",
        "_code",
        "_detail",
        "_fault",
        "_link",
        "_own_bytes",
        "_request",
        "_response",
        "_room",
        "_route",
        "_started",
        "_status",
        "_trace",
        "_unread",
        "_upstream",
        "_visit",
    )

    def __init__(self, client: Client, request: RequestHead) -> None:
        self._client = client
        self._request = request
        self._unread = not request.framing.is_empty  # bytes of the request may still come
        self._upstream: SocketUpstream | None = None
        self._link: SocketConnection | None = None  # lent to us, neither given back nor closed yet
        self._visit: Visit | None = None  # who wants to know how the upstream does, until it is told
        self._room: Room | None = None  # where we are one of so many who ask the upstream
        self._response: Response | None = None
        self._status = 0
        self._code = self._detail = ""
        self._own_bytes = 0  # of the body of an answer that is ours
        self._fault: Fault | None = None
        self._trace = b""
        self._route = ""
        self._started = time.monotonic() if client.site.observer is not None else 0.0

    async def run(self) -> bool:
        """Answer the request; say whether the client's connection can go on.

        Raises trio.BrokenResourceError or trio.ClosedResourceError where the client is gone or doesn't read.
        """
        try:
            return await self._answer()
        except Failure as error:
            return await self._fail(error)
        finally:
            self._client.rest()
            self._drop_link()
            if self._visit is not None:
                self._visit.close()
            self._tell()

    async def _answer(self) -> bool:
        client, request = self._client, self._request
        if (gate := client.facts.gate) is not None:
            gate.check(request.host or client.forwarded.host)
        if request.path == confirmation.PATH and self._is_confirmation:
            return await self._confirm()
        route = client.site.routes.match(request.path)
        if route is None:
            raise ClientProtocolError(404, "no_route", "nothing is configured for this address")
        self._route = route.prefix
        self._upstream = client.site.upstreams[route.upstream_name]
        if client.site.trace:
            self._trace = continue_trace(request.onward, token_bytes)
        data = request_headers_for_upstream(request, client.forwarded)
        if self._unread:
            body = RequestBody(client, request.framing)
            first = body.take_buffered()
            if not body.done and not request.expect_continue:
                first = await body.receive_small(first)
            data += first
            if not body.done:
                if client.site.guards is not None:
                    await self._enter(client.site.guards)
                return await self._exchange_streaming(data, body)
            self._unread = False
        if client.site.guards is not None:
            await self._enter(client.site.guards)
        return await self._exchange(data)

    async def _enter(self, guards: Guards) -> None:
        """See whether the upstream may be asked, and wait for room. Raises UpstreamDownError."""
        assert self._upstream is not None
        guard, room = guards.by_route.get(self._route), self._upstream.room
        if room is not None:
            if guard is not None:
                guard.look()  # nobody waits for room at a service that is down
            self._client.watch()
            await room.enter()
            self._room = room
            self._client.watch_fd = -1
            if self._client.gone:
                raise UpstreamError(self._upstream.name, "connect")
        if guard is not None:
            self._visit = guard.enter()

    # --- what we answer ourselves

    @property
    def _is_confirmation(self) -> bool:
        return self._request.method == b"POST" and self._client.site.confirm is not None

    async def _confirm(self) -> bool:
        client, request = self._client, self._request
        word = await confirmation.receive_word(client, request)
        self._unread = False
        await confirmation.judge(client, word)
        self._status, keep = 204, request.keep_alive and not client.draining
        await client.send(no_content(close=not keep))
        if not keep:
            await client.end()
        return keep

    # --- the plain path: the request is whole

    async def _exchange(self, data: bytes) -> bool:
        client, request = self._client, self._request
        response = await self._ask(data)
        self._status = response.head.status
        if self._visit is not None:
            self._visit.answered(self._status)
        if self._status == 101:
            return await self._tunnel(response)
        keep = await response.deliver(keep_alive=request.keep_alive and not client.draining)
        self._give_back(response)
        self._drop_link()
        if not keep and (request.keep_alive or request.http10 or client.buffer):
            # else the client wants the end, and sends nothing that could make a reset of it
            await client.end()
        return keep

    async def _ask(self, data: bytes) -> Response:
        """Send the request and receive the response's head; once more where that is safe."""
        assert self._upstream is not None
        repeatable = self._request.method in IDEMPOTENT
        link = self._link = self._upstream.take_idle(repeatable=repeatable)
        if link is not None:
            try:
                return await self._ask_over(link, data)
            except UpstreamError as error:
                if not (error.reused and repeatable) or self._client.gone or self._client.late is not None:
                    raise
                link.stream.close()
        link = self._link = await self._upstream.open()
        return await self._ask_over(link, data)

    async def _ask_over(self, link: SocketConnection, data: bytes) -> Response:
        client = self._client
        response = self._begin(link)
        client.wait_for_upstream()
        try:
            await link.stream.send_all(data)
        except BROKEN:
            if client.gone or client.late is not None:
                raise UpstreamError(link.upstream_name, "send") from None
            # it may have answered before it closed: the response is read, or its absence is the error
        await response.receive_head()
        return response

    def _begin(self, link: SocketConnection) -> Response:
        self._client.upstream_stream = link.stream
        self._response = Response(self._client, self._request, link)
        return self._response

    # --- the other path: the request comes while the response may already do so

    async def _exchange_streaming(self, first: bytes, body: RequestBody) -> bool:
        assert self._upstream is not None
        self._link = self._upstream.take_idle(repeatable=False) or await self._upstream.open()
        response = self._begin(self._link)
        upload = Upload(self._client, body, self._link)
        keep, failure = False, None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.run, first, nursery.cancel_scope)
            try:
                await response.receive_head()
                upload.answered = True
                self._status = response.head.status
                if self._visit is not None:
                    self._visit.answered(self._status)
                keep = await response.deliver(keep_alive=self._may_keep(upload))
            except (*BROKEN, *Failure) as error:
                failure = error
            nursery.cancel_scope.cancel()
        self._unread = not upload.complete
        if upload.failure is not None and not response.whole:
            raise upload.failure
        if failure is not None:
            raise failure
        if upload.complete:
            self._give_back(response)
        if not keep:
            self._drop_link()
            await self._client.end()
        return keep

    def _may_keep(self, upload: Upload) -> bool:
        return upload.complete and self._request.keep_alive and not self._client.draining

    # --- how it ends

    def _give_back(self, response: Response) -> None:
        assert self._upstream is not None
        if self._link is not None and response.is_reusable:
            self._upstream.give_back(self._link)
            self._link = None

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.stream.close()
            self._link = None
        if self._room is not None:
            self._room.leave()
            self._room = None

    async def _tunnel(self, response: Response) -> bool:
        client, link = self._client, self._link
        assert link is not None
        client.rest()
        response.begun = True
        await client.send(
            response_headers_for_client(response.head, Framing.NONE, http10=False, keep_alive=True)
        )
        client.upstream_stream = link.stream
        ahead, client.buffer = client.buffer, b""
        websocket = (self._request.upgrade or b"").lower() == b"websocket"
        tunnel = client.tunnel = Tunnel(client.stream, link.stream, websocket=websocket)
        if client.close_code:
            tunnel.close(client.close_code)
        try:
            await tunnel.run(ahead, response.rest)
        finally:
            client.tunnel = None
            response.body_bytes = tunnel.carried
        if not tunnel.clean:
            client.stream.abort()
        return False

    async def _fail(self, error: ClientProtocolError | UpstreamError | UpstreamProtocolError) -> bool:
        client, request = self._client, self._request
        self._drop_link()  # before anything that waits for the client: the upstream need not wait as well
        self._code, self._fault = ("client_gone", Fault.CLIENT) if client.gone else (error.code, error.fault)
        self._detail = error.detail if isinstance(error, UpstreamError) else ""
        if self._response is not None and self._response.begun:
            client.stream.abort()  # the client must not take what it has for all there is
            return False
        if client.gone:
            return False
        self._status = 504 if client.late is Late.UPSTREAM else error.status
        if self._visit is not None and isinstance(error, UpstreamError) and client.late is not Late.CLIENT:
            self._visit.failed(error, late=client.late is Late.UPSTREAM)
        keep = request.keep_alive and not self._unread and not client.draining and client.late is None
        client.rest()
        accept, method = request.get(b"accept"), request.method
        if isinstance(error, UpstreamDownError):
            answer = come_again(error.retry_s, accept, close=not keep, method=method, code=self._code)
        else:
            answer = reply(self._status, accept, close=not keep, method=method, code=self._code)
        await client.send(answer)
        self._own_bytes = len(answer) - answer.index(b"\r\n\r\n") - 4
        if not keep:
            await client.end()
        return keep

    def tell_strict(self, learn: Callable[[bytes, bytes], None]) -> None:
        """Tell of HSTS in the response, which every response to this client will carry or none."""
        response = self._response
        if response is not None and response.begun and self._client.facts.scheme == "https":
            for name, value in response.head.onward:
                if len(name) == _STRICT_BYTES and name.lower() == _STRICT:
                    learn(self._request.host, value)
                    return  # RFC 6797 section 8.1: the first counts

    def _tell(self) -> None:
        observer = self._client.site.observer
        if observer is None:
            return
        response = self._response
        observer.exchange_done(
            ExchangeRecord(
                client=self._client.facts,
                method=self._request.method,
                target=self._request.target,
                upstream=self._upstream.name if self._upstream is not None else "",
                status=self._status,
                code=self._code,
                body_bytes=response.body_bytes if response is not None else self._own_bytes,
                seconds=time.monotonic() - self._started,
                route=self._route,
                fault=self._fault,
                trace=self._trace,
                detail=self._detail,
            )
        )
