"""The services behind the proxy in the live tests: JSON, events, downloads, and a WebSocket echo."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import hypercorn.trio
import trio
import trio_websocket
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

DOWNLOAD = random.Random(2).randbytes(50_000_000)  # bytes that compress to nothing, the same each run
DOWNLOAD_SHA256 = hashlib.sha256(DOWNLOAD).hexdigest()


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"path": request.url.path, "query": request.url.query})


async def _headers(request: Request) -> JSONResponse:
    return JSONResponse(request.headers.items())


async def _events(request: Request) -> StreamingResponse:
    async def numbered() -> AsyncIterator[bytes]:
        number = 0
        while True:
            yield b"data: %d\n\n" % number
            number += 1
            await trio.sleep(0.02)

    return StreamingResponse(numbered(), media_type="text/event-stream")


async def _download(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(DOWNLOAD), 65536):
            yield DOWNLOAD[start : start + 65536]

    return StreamingResponse(pieces(), headers={"content-length": str(len(DOWNLOAD))})


async def _upload(request: Request) -> JSONResponse:
    digest, size = hashlib.sha256(), 0
    async for part in request.stream():
        digest.update(part)
        size += len(part)
    return JSONResponse({"size": size, "sha256": digest.hexdigest()})


APP = Starlette(
    routes=[
        Route("/events", _events),
        Route("/headers", _headers),
        Route("/download", _download),
        Route("/upload", _upload, methods=["POST", "PUT"]),
        Route("/{rest:path}", _echo),
    ]
)


@asynccontextmanager
async def http_service() -> AsyncIterator[int]:
    """Serve APP on a free port of 127.0.0.1 until the block ends."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.keep_alive_timeout = 3600
    async with trio.open_nursery() as nursery:
        serve: Callable[..., object] = hypercorn.trio.serve
        binds = await nursery.start(partial(serve, APP, config))  # type: ignore[arg-type]
        yield int(binds[0].rsplit(":", 1)[1])
        nursery.cancel_scope.cancel()


async def _echo_messages(request: trio_websocket.WebSocketRequest) -> None:
    connection = await request.accept()
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except trio_websocket.ConnectionClosed:
        return


@asynccontextmanager
async def websocket_service() -> AsyncIterator[int]:
    """Echo every WebSocket message on a free port of 127.0.0.1 until the block ends."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(trio_websocket.serve_websocket, _echo_messages, "127.0.0.1", 0, ssl_context=None)
        )
        yield server.port
        nursery.cancel_scope.cancel()
