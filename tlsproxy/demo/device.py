"""The sample device: a small HTTP API, a live feed and a page, as any device's own services are.

    python -m tlsproxy.demo.device --bind 127.0.0.1:3000 [--front 127.0.0.1:8443] [--tip COMMAND]

    GET  /                the page
    GET  /api/device      facts, as JSON
    GET  /api/connection  which bundle serves this connection
    GET  /api/download    50 MB; ?rate=BYTES_PER_SECOND
    GET  /api/events      server-sent events, one a second
    WS   /api/feed        which bundle serves this connection, and which a new one; each second
    POST /api/upload      counts and hashes what it gets

Promises: nothing is stored, nothing is believed but the proxy's `Tlsproxy-*` headers; bodies are streamed.
It ends when its standard input does, so it can't outlive whoever started it, however that ended.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import ssl
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tlsproxy import __version__
from tlsproxy.config import parse_listen
from tlsproxy.demo.front import Certificate, Front, Sighting, look
from tlsproxy.demo.payload import NOISE_BYTES, Events, Noise, noise_sha256
from tlsproxy.signals import let_in

FEED_S = 1.0
_MAX_RATE = 1_000_000_000
# The page needs nothing from anywhere else, and says so to the browser.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {
    "/": ("index.html", "text/html"),
    "/app.css": ("app.css", "text/css"),
    "/app.js": ("app.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_KNOWN_CERTIFICATES = 64


class Device:
    """The device's state and its answers. `front` is where the proxy is reached, None where nobody knows."""

    def __init__(self, front: Front | None = None, tip: str = "") -> None:
        self._front, self._tip = front, tip
        self._since = trio.current_time()
        self._requests = 0
        self._known: dict[str, Certificate] = {}

    def app(self) -> Starlette:
        """Give the ASGI application."""
        return Starlette(
            routes=[
                *(Route(path, partial(_page, *page)) for path, page in _PAGE.items()),
                Route("/api/device", self._facts),
                Route("/api/connection", self._connection),
                Route("/api/events", self._events),
                Route("/api/download", self._download),
                Route("/api/upload", self._upload, methods=["POST", "PUT"]),
                WebSocketRoute("/api/feed", self._feed),
            ]
        )

    async def _facts(self, request: Request) -> Response:
        self._requests += 1
        facts = {
            "name": "Sample device",
            "model": "Demo 1",
            "firmware": __version__,
            "uptime_s": round(trio.current_time() - self._since, 1),
            "requests": self._requests,
            "clock": _now().isoformat(timespec="milliseconds"),
            "tip": self._tip,
            "download": {"size": NOISE_BYTES, "sha256": await _noise_sha256()},
            "connection": _told(request),
        }
        return _json(facts)

    async def _connection(self, request: Request) -> Response:
        return _json(_told(request))

    async def _events(self, _request: Request) -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(Events(_now), media_type="text/event-stream", headers=headers)

    async def _download(self, request: Request) -> Response:
        text = request.query_params.get("rate")
        if text is not None and not (text.isascii() and text.isdigit() and 0 < int(text[:12]) <= _MAX_RATE):
            return _json({"error": f"rate is a number of bytes per second, up to {_MAX_RATE}"}, 400)
        digest = await _noise_sha256()
        headers = {
            "content-length": str(NOISE_BYTES),
            "etag": f'"{digest}"',
            "x-sha256": digest,
            "cache-control": "no-store",
            "content-disposition": 'attachment; filename="noise.bin"',
        }
        kind = "application/octet-stream"
        if request.method == "HEAD":
            return Response(headers=headers, media_type=kind)
        return StreamingResponse(Noise(int(text) if text else None), headers=headers, media_type=kind)

    async def _upload(self, request: Request) -> Response:
        digest, size = hashlib.sha256(), 0
        try:
            async for part in request.stream():
                digest.update(part)
                size += len(part)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is left to read it
        return _json({"size": size, "sha256": digest.hexdigest()})

    async def _feed(self, socket: WebSocket) -> None:
        """Say each second what serves this connection and what a new one gets, until the client leaves."""
        await socket.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hear_out, socket, nursery.cancel_scope)
            await self._tell(socket)

    async def _tell(self, socket: WebSocket) -> None:
        begun, number = trio.current_time(), 0
        while True:
            await socket.send_text(json.dumps({"number": number, **await self._state(socket)}, default=str))
            number += 1
            await trio.sleep_until(max(begun + number * FEED_S, trio.current_time()))

    async def _state(self, connection: HTTPConnection) -> dict[str, object]:
        served, sighting, why = _told(connection), None, ""
        try:
            sighting = await self._look()
        except (OSError, ssl.SSLError, ValueError) as error:
            why = str(error) or type(error).__name__
        fingerprint = served["fingerprint"]
        known = self._known.get(fingerprint) if isinstance(fingerprint, str) else None
        return {
            "clock": _now().isoformat(timespec="milliseconds"),
            "served": served | (asdict(known) if known else {}),
            "new": asdict(sighting.certificate) | {"generation": sighting.generation} if sighting else None,
            "why": why,
        }

    async def _look(self) -> Sighting:
        if self._front is None:
            raise ValueError("no proxy in front")
        sighting = await look(self._front)
        certificate = sighting.certificate
        self._known.pop(certificate.fingerprint, None)
        self._known[certificate.fingerprint] = certificate  # the latest last
        while len(self._known) > _KNOWN_CERTIFICATES:
            del self._known[next(iter(self._known))]
        return sighting


async def serve(
    device: Device, bind: str, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve `device` at `bind` (`host:port`, `unix:PATH` or `fd://N`, as Hypercorn reads it) until cancelled.

    Reports the URLs that it listens at.
    """
    config = Config()
    config.bind = [bind]
    config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = 0
    # The proxy's pool decides how long an idle connection is kept, not this side.
    config.keep_alive_timeout = 3600
    run: Any = hypercorn_serve  # its types are those of asyncio's sibling
    await run(device.app(), config, task_status=task_status)


async def _hear_out(socket: WebSocket, scope: trio.CancelScope) -> None:
    """Read until the client leaves: its messages mean nothing here."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    scope.cancel()


async def _page(name: str, kind: str, _request: Request) -> Response:
    headers = {
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    content = files("tlsproxy.demo").joinpath("page", name).read_bytes()
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)


async def _noise_sha256() -> str:
    return await trio.to_thread.run_sync(noise_sha256)


def _told(connection: HTTPConnection) -> dict[str, object]:
    """Read what the proxy says of the connection that this came by (it drops what clients say)."""
    generation = connection.headers.get("tlsproxy-generation", "")
    return {
        "fingerprint": connection.headers.get("tlsproxy-bundle"),
        "generation": int(generation) if generation.isascii() and generation.isdigit() else None,
    }


def _json(value: object, status: int = 200) -> Response:
    return JSONResponse(value, status, headers={"cache-control": "no-store"})


def _now() -> datetime:
    return datetime.now(UTC)


async def _until_orphaned(device: Device, bind: str) -> None:
    async with trio.open_nursery() as nursery, trio.lowlevel.FdStream(os.dup(0)) as stdin:
        await nursery.start(serve, device, bind)
        async for _ in stdin:
            pass
        nursery.cancel_scope.cancel()


def main() -> None:
    """Run the device as a program of its own, until its standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tlsproxy.demo.device", description="The sample device.")
    parser.add_argument("--bind", required=True, help="host:port, unix:PATH or fd://N")
    parser.add_argument("--front", type=parse_listen, help="where the proxy is reached, host:port")
    parser.add_argument("--tip", default="", help="the command line that the page shows")
    options = parser.parse_args()
    let_in()

    async def run() -> None:
        device = Device(Front(*options.front) if options.front else None, options.tip)
        await _until_orphaned(device, options.bind)

    trio.run(run)


if __name__ == "__main__":
    main()
