"""A data plane in this process, between real sockets and an upstream: what the tests of workers stand on."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Sized
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
import trio.testing

from certstore import Bundle, Cause, Generation
from tests.forwarding import OK
from tests.tlsproxy.tls_wire import Wire
from tlsproxy.config.addresses import parse_upstream
from tlsproxy.forward.site import Site, make_upstream
from tlsproxy.net.dial import Dialler
from tlsproxy.net.listeners import open_listeners
from tlsproxy.net.sweeper import Sweeper
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.routing.table import Route, RouteTable
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import EngineName
from tlsproxy.workers.serving import Serving
from tlsproxy.workers.worker import Capacity, Listening, Worker

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@dataclass
class Plane:
    """A worker that serves on one TLS port and one for plain HTTP, before an upstream that answers `/`."""

    worker: Worker
    serving: Serving
    sweeper: Sweeper
    scope: trio.CancelScope
    tls: int
    http: int
    asked: trio.Event

    async def client(self, context: ssl.SSLContext | None = None, **more: Any) -> Wire:
        return Wire(await trio.open_tcp_stream("127.0.0.1", self.tls), context, **more)

    async def plain(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.http)

    async def settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked(0.01)

    def sweep_later(self, seconds: float) -> None:
        self.sweeper.sweep(trio.current_time() + seconds)

    @property
    def left(self) -> tuple[int, ...]:
        """Count what is kept for clients; the sweeper also looks after the upstream."""
        worker = self.worker
        kept: tuple[Sized, ...] = (worker._greetings, worker._redirects, worker._connections)
        return (*(len(one) for one in kept), worker._acceptor.admission.open, len(self.sweeper) - 1)


NOTHING = (0, 0, 0, 0, 0)


@asynccontextmanager
async def serving(bundle: Bundle, engine: EngineName = "bundled") -> AsyncIterator[Plane]:
    published = Serving(Contexts(TLSPolicy(), engine))
    published.load_from({bundle.id: bundle}.__getitem__)
    swap(published, 1, bundle)
    asked = trio.Event()

    async def upstream(stream: trio.SocketStream) -> None:
        while request := await stream.receive_some():
            if request.startswith(b"GET /never"):
                asked.set()
            elif request.startswith(b"GET /feed"):
                await stream.send_all(SWITCH)
            else:
                await stream.send_all(OK)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (behind,) = await nursery.start(_serve_tcp, upstream)
            address = parse_upstream(f"http://127.0.0.1:{behind.socket.getsockname()[1]}")
            sweeper = Sweeper()
            service = make_upstream("service", Dialler(address, connect_s=5.0), sweeper)
            site = Site(RouteTable((Route("/", "service"),)), {"service": service}, sweeper)
            faults: list[tuple[str, BaseException | None]] = []
            worker = Worker(published, site, Capacity(), lambda *fault: faults.append(fault))
            ((tls,),), ((http,),) = open_listeners("127.0.0.1", 0), open_listeners("127.0.0.1", 0)
            plane = Plane(worker, published, sweeper, trio.CancelScope(), _port(tls), _port(http), asked)
            with tls, http:
                nursery.start_soon(_run, plane, [Listening(tls, "tls", 8443), Listening(http, "http", 8443)])
                yield plane
                plane.scope.cancel()
                await plane.settle()
            service.close()
            assert faults == []
            assert plane.left == NOTHING
            nursery.cancel_scope.cancel()


async def _serve_tcp(handler, *, task_status) -> None:
    await trio.serve_tcp(handler, 0, host="127.0.0.1", task_status=task_status)


async def _run(plane: Plane, listening: list[Listening]) -> None:
    with plane.scope:
        await plane.worker.run(listening)


def _port(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def swap(serving: Serving, number: int, bundle: Bundle) -> None:
    made_at = bundle.not_before
    generation = Generation(number, (), bundle.id, (), Cause.PROPOSAL, None, made_at)
    serving.prepare(generation)
    serving.commit(generation)
