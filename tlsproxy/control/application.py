"""The API as an ASGI application: requests held against the table of operations, then answered by it.

    standing     status, health, workers, connections       holdings    slots, bundles, generations
    candidates   upload, dry run, receipts                  changes     what moves a slot; reload
    requests     keys made here, what is asked for them     authority   the device's own
    reset        the factory's state; watches               factory     the device's identity for life
    banning      keys that are lost                         feed        events
    acme         certificates of an ACME authority          trust       whose clients are let in
    clients      what they can do, and who was refused

A page of another kind (metrics, the console) joins by an `Operation` of its own in `OPERATIONS`.

Promises: what isn't in the table is not answered: another path is 404, another method 405 with what is
allowed, an unknown or misspelt parameter 422 (`?dry-run` must not become a change), a body of another kind
415, an answer that nobody accepts 406. Whatever goes wrong is one problem document (problems.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from tlsproxy.control import (
    acme,
    authority,
    banning,
    candidates,
    changes,
    clients,
    factory,
    feed,
    holdings,
    requests,
    reset,
    standing,
    trust,
)
from tlsproxy.control.backing import Backing
from tlsproxy.control.openapi import describe
from tlsproxy.control.operations import Answer, Ask, Operation
from tlsproxy.control.problems import of_fault, problem, told
from tlsproxy.control.values import PROBLEM_TYPE, BadRequestError

__all__ = ["OPERATIONS", "application"]


async def _openapi(_ask: Ask) -> Response:
    return JSONResponse(describe(OPERATIONS))


OPERATIONS: tuple[Operation, ...] = (
    *standing.OPERATIONS,
    *clients.OPERATIONS,
    *holdings.OPERATIONS,
    *candidates.OPERATIONS,
    *changes.OPERATIONS,
    *factory.OPERATIONS,
    *requests.OPERATIONS,
    *authority.OPERATIONS,
    *acme.OPERATIONS,
    *reset.OPERATIONS,
    *trust.OPERATIONS,
    *banning.OPERATIONS,
    *feed.OPERATIONS,
    Operation(
        "GET",
        "/v1/openapi.json",
        "getDescription",
        "Describe this API, in OpenAPI 3.1.",
        _openapi,
        (Answer("The description.", dict[str, Any]),),
    ),
)


def application(backing: Backing) -> Starlette:
    """Make the ASGI application that asks `backing`."""
    pages: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        pages.setdefault(operation.path, {})[operation.method] = operation
    routes: list[Route | WebSocketRoute] = []
    for path, operations in pages.items():
        page = _Page(operations, backing)
        routes.append(Route(path, page))
        if page.followed is not None:
            routes.append(WebSocketRoute(path, page.follow))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _of_http, Exception: _of_fault})
    app.router.redirect_slashes = False
    return app


class _Page:
    """One path, with all that may be done there."""

    def __init__(self, operations: Mapping[str, Operation], backing: Backing) -> None:
        self._operations, self._backing = operations, backing
        gets = ("HEAD",) if "GET" in operations else ()
        self._allow = ", ".join(sorted((*operations, *gets, "OPTIONS")))
        self.followed = next((one for one in operations.values() if one.follow is not None), None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be the endpoint of all methods: a function would be one of GET only."""
        response = await self.answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": self._allow})
        operation = self._operations.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            words = f"{request.method} is not done here"
            return problem(405, "method_not_allowed", words, headers={"allow": self._allow})

        async def answer() -> Response:
            ask = _understood(operation, request, self._backing)
            _check_media(operation, request)
            return await operation.handle(ask)

        return await told(answer)

    async def follow(self, websocket: WebSocket) -> None:
        """Serve a WebSocket."""
        operation = self.followed
        assert operation is not None
        assert operation.follow is not None
        try:
            ask = _understood(operation, websocket, self._backing)
        except BadRequestError as error:
            await websocket.send_denial_response(problem(error.status, error.code, str(error)))
        else:
            await operation.follow(ask)


def _understood(operation: Operation, connection: HTTPConnection, backing: Backing) -> Ask:
    """Read the parameters. Raises BadRequestError."""
    known = {one.name: one for one in operation.parameters if not one.in_path}
    query = {name: one.default for name, one in known.items()}
    given = _pairs(connection)
    for name, text in given:
        if name not in known:
            raise BadRequestError(422, "unknown_parameter", f"the parameter {name[:40]!r} is not known here")
        try:
            query[name] = known[name].parse(text)
        except ValueError as error:
            raise BadRequestError(422, "invalid_parameter", f"{name}: {error}") from error
    if len(given) > len({name for name, _ in given}):
        raise BadRequestError(422, "invalid_parameter", "a parameter is given twice")
    path = {}
    for one in operation.parameters:
        if one.in_path:
            try:
                path[one.name] = one.parse(connection.path_params[one.name])
            except ValueError as error:
                raise BadRequestError(404, "not_found", f"there is no such {one.name}: {error}") from error
    return Ask(connection, backing, path, query)


def _pairs(connection: HTTPConnection) -> list[tuple[str, str]]:
    text = connection.scope["query_string"].decode("latin-1")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=16)
    except ValueError as error:
        raise BadRequestError(422, "invalid_parameter", "there are too many parameters") from error


def _check_media(operation: Operation, request: Request) -> None:
    """See that what comes and what is to go back can be read."""
    if not _accepts(request.headers.getlist("accept"), operation.media):
        words = f"it is given as {', '.join(operation.media)} only"
        raise BadRequestError(406, "not_acceptable", words)
    if not operation.bodies:
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in operation.bodies or "content-encoding" in request.headers:
        taken = ", ".join(operation.bodies)
        words = f"a body is taken as {taken} only, and not compressed"
        raise BadRequestError(415, "unsupported_media_type", words, {"accept-post": taken})


def _accepts(fields: Iterable[str], offered: Iterable[str]) -> bool:
    """Say whether one of the media types is accepted (RFC 9110 section 12.5.1); no field accepts all."""
    ranges: dict[str, bool] = {}
    for one in ",".join(fields).split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        if kind:
            ranges[kind] = not any(part.replace(" ", "") in _NEVER for part in parameters)
    if not ranges:
        return True
    # the most particular range that fits decides; problem documents are accepted by whoever says so
    return any(
        next((ranges[r] for r in (kind, f"{kind.partition('/')[0]}/*", "*/*") if r in ranges), False)
        for kind in (*offered, PROBLEM_TYPE)
    )


_NEVER = frozenset({"q=0", "q=0.", "q=0.0", "q=0.00", "q=0.000"})


async def _of_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "no_such_page" if error.status_code == 404 else "http_error"
    return problem(
        error.status_code, code, "there is nothing here" if code == "no_such_page" else error.detail
    )


async def _of_fault(_request: Request, _error: Exception) -> Response:
    return of_fault()
