"""Metrics on a TCP port, for a Prometheus on this machine; the control socket has them as well.

Promises: it answers GET /metrics and /v1/metrics and nothing else; metrics are never a reason not to serve,
so a port that is taken is told once and asked for again; who holds connections and asks nothing keeps nobody
out. Refuses to know what is in a page.

Theory. *A page in a browser of this machine* can have its own name resolved to 127.0.0.1, and then reads what
is answered there as its own (DNS rebinding). But the name stands in Host: who asks on the loopback by another
name than localhost, or an address, is misdirected (RFC 9110 section 7.4). Where the port is open to others on
purpose (`unsafe`), names are theirs to choose.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, NoReturn

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlsproxy import policy
from tlsproxy.config.addresses import is_loopback
from tlsproxy.config.values import MetricsConfig
from tlsproxy.control.connection import Application, Receive, Send, serve
from tlsproxy.control.problems import problem
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
                await _serve(sock, config.host, page)
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


async def _serve(sock: socket.socket, host: str, page: Page) -> NoReturn:
    async def answer(request: Request) -> Response:
        content, kind = await page(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    app: Application = Starlette(routes=[Route(path, answer) for path in ("/metrics", "/v1/metrics")])
    if is_loopback(host):
        app = partial(_answer_by_our_names, app)
    place, port = sock.getsockname()[:2]
    _log.info("metrics_listening", address=place, port=port)
    listener = trio.socket.from_stdlib_socket(sock)
    held: deque[trio.CancelScope] = deque()
    async with trio.open_nursery() as connections:
        while True:
            try:
                client, _ = await listener.accept()
            except OSError:
                await trio.sleep(policy.ACCEPT_PAUSE_S)  # it has gone again, or a shortage, which passes
                continue
            if len(held) >= policy.METRICS_CONNECTIONS:
                held.popleft().cancel()  # who was here longest has had his answer, or wants none
            held.append(scope := trio.CancelScope())
            connections.start_soon(_hold, client, app, scope, held)


async def _hold(
    client: trio.socket.SocketType, app: Application, scope: trio.CancelScope, held: deque[trio.CancelScope]
) -> None:
    with scope:
        await serve(client, app, None)
    client.close()  # also where it had no time to begin
    if scope in held:
        held.remove(scope)


async def _answer_by_our_names(
    app: Application, scope: MutableMapping[str, Any], receive: Receive, send: Send
) -> None:
    named = next((value for name, value in scope["headers"] if name == b"host"), b"")
    if not _is_ours(named.decode("latin-1")):
        hint = "ask by the address, or as localhost"
        app = problem(421, "misdirected", "this is no name of the metrics port", hint)
    await app(scope, receive, send)


def _is_ours(named: str) -> bool:
    """Say whether a Host field's value is an address, or localhost."""
    host = re.sub(r":[0-9]{0,5}\Z", "", named).strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return True
