"""Metrics on a TCP port, for a Prometheus on this machine; the control socket has them as well.

Promises: it answers GET /metrics and /v1/metrics and nothing else; metrics are never a reason not to serve,
so a port that is taken is told once and asked for again. Refuses to know what is in a page.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlsproxy import policy
from tlsproxy.config.values import MetricsConfig
from tlsproxy.control.connection import Application, serve
from tlsproxy.observe.log import logger

__all__ = ["run"]

_log = logger("control")
Page = Callable[[str], Awaitable[tuple[bytes, str]]]


async def run(config: MetricsConfig, page: Page) -> NoReturn:
    """Serve `page` (it takes an Accept field's value, gives content and its type) until cancelled."""
    told = False
    while True:
        try:
            with _listen(config) as sock:
                await _serve(sock, page)
        except OSError as error:
            if not told:
                why = os.strerror(error.errno).lower() if error.errno else str(error)
                _log.error("metrics_not_listening", address=config.address, why=why)
                told = True
            await trio.sleep(policy.METRICS_RETRY_S)


def _listen(config: MetricsConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    sock = socket.create_server((config.host, config.port), family=family, backlog=policy.METRICS_BACKLOG)
    sock.setblocking(False)
    return sock


async def _serve(sock: socket.socket, page: Page) -> NoReturn:
    async def answer(request: Request) -> Response:
        content, kind = await page(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    app: Application = Starlette(routes=[Route(path, answer) for path in ("/metrics", "/v1/metrics")])
    place, port = sock.getsockname()[:2]
    _log.info("metrics_listening", address=place, port=port)
    listener = trio.socket.from_stdlib_socket(sock)
    async with trio.open_nursery() as connections:
        while True:
            try:
                client, _ = await listener.accept()
            except OSError:
                await trio.sleep(policy.ACCEPT_PAUSE_S)  # it has gone again, or a shortage, which passes
                continue
            if len(connections.child_tasks) < policy.METRICS_CONNECTIONS:
                connections.start_soon(serve, client, app, None)
            else:
                client.close()
