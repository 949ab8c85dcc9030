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
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlsproxy import policy
from tlsproxy.config.values import MetricsConfig
from tlsproxy.observe.log import logger

__all__ = ["run"]

_log = logger("control")
Page = Callable[[str], Awaitable[tuple[bytes, str]]]


async def run(config: MetricsConfig, page: Page) -> NoReturn:
    """Serve `page` (it takes an Accept field's value, gives content and its type) until cancelled."""
    told = False
    while True:
        try:
            sock = _listen(config)
        except OSError as error:
            if not told:
                why = os.strerror(error.errno).lower() if error.errno else str(error)
                _log.error("metrics_not_listening", address=config.address, why=why)
                told = True
            await trio.sleep(policy.METRICS_RETRY_S)
        else:
            with sock:
                await _serve(sock, page)


def _listen(config: MetricsConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    sock = socket.create_server((config.host, config.port), family=family, backlog=policy.METRICS_BACKLOG)
    sock.setblocking(False)
    return sock


async def _serve(sock: socket.socket, page: Page) -> None:
    async def answer(request: Request) -> Response:
        content, kind = await page(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    app = Starlette(routes=[Route(path, answer) for path in ("/metrics", "/v1/metrics")])
    config = HypercornConfig()
    place, port = sock.getsockname()[:2]
    config.bind = [f"fd://{sock.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = 0.1
    config.h11_max_incomplete_size = 16_384
    _log.info("metrics_listening", address=place, port=port)
    await serve(app, config)  # type: ignore[arg-type]  # its ASGI types are narrower than Starlette's
