"""The control API: a Starlette application, served by Hypercorn on a UNIX socket in the caller's nursery.

- GET /v1/status: the status document (observe/status.py)
- POST /v1/candidates, {"files": [{"name", "content_base64"}], "via"}: 201 with the receipt, live or refused
- GET /v1/receipts: the latest receipts, newest first; GET /v1/receipts/{id}: one receipt
- GET /v1/metrics: all metrics, for Prometheus (docs/metrics.md)
- POST /v1/reload: 202 with the `epoch` that will come, once a pre-flight has gone well; `process.epoch` in
  the status tells when it is there

Errors are problem documents (RFC 9457) with a stable `code`.

Theory: a socket file outlives its process, and two processes must never share one. Whether the file is
stale is asked by connecting: a refusal means that nobody listens. Between that answer and the unlink
another proxy could come up; the store's lock, which its only holder has before it gets here, rules that out
for one store. The socket is bound, then given its mode, then listened on: before the last step nobody can
connect, whatever the umask was.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from certstore import Candidate, NotFound, Receipt, StoreError
from tlsproxy.control import connections
from tlsproxy.control.values import (
    MAX_BODY_BYTES,
    PROBLEM_TYPE,
    BadRequestError,
    candidate_from_json,
    problem,
)
from tlsproxy.errors import ControlError, ProxyError
from tlsproxy.observe.log import logger

_log = logger("control")
_BACKLOG = 16


class Controller(Protocol):
    """What the API asks of the rest of the house. May raise StoreError and ProxyError."""

    def status(self) -> dict[str, object]:
        """Give the status document; quick, called in the event loop."""
        ...

    async def propose(self, candidate: Candidate, via: str) -> Receipt:
        """Bring a candidate to its end; returns when its receipt is live or refused."""
        ...

    def receipt(self, id: str) -> Receipt:  # noqa: A002  the name it has everywhere
        """Give one receipt; NotFound where there is none."""
        ...

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Give all metrics and their content type, as the Accept field's value asks."""
        ...

    async def check_reload(self) -> int:
        """Make a reload's pre-flight; gives the epoch that it will lead to. Raises ReloadError."""
        ...

    async def reload(self) -> None:
        """Reload after a pre-flight that went well; what goes wrong now is logged."""
        ...


def application(controller: Controller) -> Starlette:
    """Make the ASGI application that asks `controller`."""
    api = _API(controller)
    return Starlette(
        routes=[
            Route("/v1/status", api.status),
            Route("/v1/candidates", api.candidates, methods=["POST"]),
            Route("/v1/receipts", api.receipts),
            Route("/v1/receipts/{id}", api.receipt),
            Route("/v1/reload", api.reload, methods=["POST"]),
            Route("/v1/metrics", api.metrics),
        ],
        exception_handlers={HTTPException: _of_http, Exception: _of_fault},
    )


async def run(
    path: Path,
    controller: Controller,
    *,
    mode: int = 0o660,
    handed_over: int | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the control API at `path` until cancelled; the socket's file is removed at the end.

    Makes the folder (0700) where it is absent; leaves the mode of one that is there to whoever made it.
    handed_over: the listening socket's descriptor, from the image before a reload; where its file was removed
    meanwhile another one is made. Reports the descriptor when it answers.

    Raises:
        ControlError: the socket can't be made, or somebody answers there.

    """
    async with _listening(path, mode, handed_over) as sock, trio.open_nursery() as nursery:
        await nursery.start(connections.serve, application(controller), sock)
        task_status.started(sock.fileno())
        _log.info("control_listening", path=str(path))


class _API:
    """The handlers; each answers or raises what `_told` turns into a problem document."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def status(self, _request: Request) -> Response:
        return await _told(self._status)

    async def candidates(self, request: Request) -> Response:
        async def answer() -> Response:
            candidate, via = candidate_from_json(await _body(request))
            receipt = await self._controller.propose(candidate, via)
            headers = {"location": f"/v1/receipts/{receipt.id}"}
            return JSONResponse(receipt.to_json(), status_code=201, headers=headers)

        return await _told(answer)

    async def receipts(self, _request: Request) -> Response:
        async def answer() -> Response:
            return JSONResponse({"receipts": self._controller.status()["receipts"]})

        return await _told(answer)

    async def receipt(self, request: Request) -> Response:
        async def answer() -> Response:
            return JSONResponse(self._controller.receipt(request.path_params["id"]).to_json())

        return await _told(answer)

    async def reload(self, _request: Request) -> Response:
        async def answer() -> Response:
            epoch = await self._controller.check_reload()
            # carried out once this answer has left: the connection doesn't outlive it
            act = BackgroundTask(self._controller.reload)
            return JSONResponse({"epoch": epoch}, status_code=202, background=act)

        return await _told(answer)

    async def metrics(self, request: Request) -> Response:
        async def answer() -> Response:
            page, kind = await self._controller.metrics(request.headers.get("accept", ""))
            return Response(page, headers={"content-type": kind})

        return await _told(answer)

    async def _status(self) -> Response:
        return JSONResponse(self._controller.status())


async def _told(answer: Callable[[], Awaitable[Response]]) -> Response:
    """Answer, or say what stood in the way."""
    try:
        return await answer()
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is left to read it
    except BadRequestError as error:
        return _problem(error.status, error.code, str(error))
    except NotFound as error:
        return _problem(404, error.code, str(error), error.hint)
    except (StoreError, ProxyError) as error:
        _log.warning("control_failed", code=error.code, why=str(error))
        return _problem(500, error.code, str(error), error.hint)


async def _body(request: Request) -> bytes:
    content = bytearray()
    async with aclosing(request.stream()) as parts:
        async for part in parts:
            content += part
            if len(content) > MAX_BODY_BYTES:
                raise BadRequestError(
                    413, "file_too_large", f"the body is larger than {MAX_BODY_BYTES} bytes"
                )
    return bytes(content)


def _problem(status: int, code: str, title: str, hint: str = "") -> Response:
    document = problem(status, code, title, hint)
    return Response(json.dumps(document), status_code=status, media_type=PROBLEM_TYPE)


async def _of_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "no_such_page", 405: "method_not_allowed"}
    return _problem(error.status_code, codes.get(error.status_code, "http_error"), error.detail.lower())


async def _of_fault(_request: Request, error: Exception) -> Response:
    _log.error("control_fault", exc_info=error)
    return _problem(500, "internal_error", "the proxy failed to answer; its log says why")


# --- the socket ---


@asynccontextmanager
async def _listening(path: Path, mode: int, handed_over: int | None) -> AsyncIterator[socket.socket]:
    try:
        sock = (handed_over is not None and _taken_over(path, handed_over)) or _bind(path, mode)
        mine = os.stat(path)  # noqa: PTH116  the same question as below
    except OSError as error:
        raise ControlError(str(path), (error.strerror or str(error)).lower(), _hint(error, path)) from error
    try:
        yield sock
    finally:
        sock.close()
        _remove(path, mine)


def _taken_over(path: Path, descriptor: int) -> socket.socket | None:
    """Take the socket of the image before; closed again, and None, where nobody could find it any more."""
    sock = socket.socket(fileno=descriptor)
    with suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            return sock
    sock.close()
    return None


def _bind(path: Path, mode: int) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.bind(str(path))
        path.chmod(mode)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _clear(path: Path) -> None:
    """Remove the socket file of a process that is gone; refuse to touch anything else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(str(path), "a file that is no socket is in the way", f"move it away: {path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        answer = probe.connect_ex(str(path))
    # EAGAIN: somebody listens, and its queue is full.
    if answer in {0, errno.EAGAIN}:
        hint = "stop the other proxy, or give this one a runtime folder of its own"
        raise ControlError(str(path), "another process listens there", hint)
    if answer not in {errno.ECONNREFUSED, errno.ENOENT}:
        raise OSError(answer, os.strerror(answer))
    path.unlink(missing_ok=True)


def _remove(path: Path, mine: os.stat_result) -> None:
    """Remove the socket file if it is still the one that was made here."""
    try:
        if os.path.samestat(os.stat(path), mine):  # noqa: PTH116  samestat's own partner
            path.unlink()
    except OSError:
        pass  # it is gone, or not ours any more; the next start clears what is stale


def _hint(error: OSError, path: Path) -> str:
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"let the proxy's user write to {path.parent}"
    return 'name another folder for it: runtime = "/run/tlsproxy"'
