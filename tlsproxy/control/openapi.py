"""The API's own description, made of the table of operations: OpenAPI 3.1.

Pure: operations in, a JSON-ready document out. Promises: what it says of a request is what application.py
holds requests against, since both read the same table; the schemas of answers come from their types.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from tlsproxy import __version__
from tlsproxy.control.documents import ProblemDocument
from tlsproxy.control.operations import Answer, Operation, Parameter
from tlsproxy.control.values import PROBLEM_TYPE

__all__ = ["describe"]

_EVERYWHERE = (403, 406, 422, 500, 503)
_ABOUT = """Served on a UNIX socket of this machine, to root, to the proxy's own user, and to the users and
groups that are configured under [control]. Errors are problem documents (RFC 9457) with a stable `code`."""


def describe(operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Describe the API whose operations these are."""
    documents = {one for operation in operations for one in _documents(operation)}
    schemas, components = msgspec.json.schema_components(
        sorted(documents, key=str), schema_hook=_anything, ref_template="#/components/schemas/{name}"
    )
    found = dict(zip(sorted(documents, key=str), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, found)
    return {
        "openapi": "3.1.0",
        "info": {"title": "tlsproxy control API", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": components},
    }


def _anything(kind: type) -> dict[str, Any]:
    assert kind is object, "what else msgspec doesn't know has no place in a document"
    return {"description": "anything"}


def _documents(operation: Operation) -> Iterable[Any]:
    yield ProblemDocument
    yield from operation.bodies.values()
    yield from (answer.document for answer in operation.answers if answer.document is not None)


def _operation(operation: Operation, found: dict[Any, Any]) -> dict[str, Any]:
    problems = {*_EVERYWHERE, *operation.problems}
    problems |= {404} if any(one.in_path for one in operation.parameters) else set()
    problems |= {415} if operation.bodies else set()
    problems -= {answer.status for answer in operation.answers}
    problem = {PROBLEM_TYPE: {"schema": found[ProblemDocument]}}
    responses: dict[str, Any] = {}
    for one in operation.answers:
        described = _answer(one, found)
        before = responses.setdefault(str(one.status), described)
        before.setdefault("content", {}).update(described.get("content", {}))
    responses |= {
        str(status): {"description": HTTPStatus(status).phrase, "content": problem}
        for status in sorted(problems)
    }
    described = {
        "operationId": operation.id,
        "summary": operation.words,
        "parameters": [_parameter(one) for one in operation.parameters],
        "responses": responses,
    }
    if operation.bodies:
        content = {media: {"schema": found[kind]} for media, kind in operation.bodies.items()}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameter(one: Parameter) -> dict[str, Any]:
    described = {
        "name": one.name,
        "in": "path" if one.in_path else "query",
        "description": one.words,
        "schema": dict(one.schema),
    }
    return {**described, "required": True} if one.in_path else described


def _answer(answer: Answer, found: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.words}
    if answer.document is not None:
        described["content"] = {answer.media: {"schema": found[answer.document]}}
        if answer.status >= 400:  # where there is no place, a problem comes instead
            described["content"][PROBLEM_TYPE] = {"schema": found[ProblemDocument]}
    elif answer.status != 101:
        described["content"] = {answer.media: {"schema": {"type": "string"}}}
    if answer.headers:
        described["headers"] = {
            name: {"description": words, "schema": {"type": "string"}}
            for name, words in answer.headers.items()
        }
    return described
