"""The factory's part of the API: what is asked of the manufacturer, and the certificate that comes back.

As everything here it is for whoever may ask on the socket. An identity that is sealed gives way to nobody who
doesn't say `unsafe_reseal`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
import trio
from starlette.responses import JSONResponse, Response

from certstore import normalise
from tlsproxy.control.candidates import answered, read_body
from tlsproxy.control.documents import FactoryDocument, ReceiptDocument
from tlsproxy.control.operations import Answer, Ask, Operation, flag
from tlsproxy.control.values import (
    FORM_TYPE,
    JSON_TYPE,
    BadRequestError,
    FormDocument,
    UploadDocument,
    candidate_from_form,
    candidate_from_json,
    decoded,
)

__all__ = ["OPERATIONS"]

_MOST_NAMES = 20  # a unit has one or two that it keeps for its life
_Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=253)]


class FactoryRequestDocument(msgspec.Struct, forbid_unknown_fields=True):
    """Who the device is to be; null is what waits already, else what its configuration says."""

    serial: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    names: Annotated[list[_Name], msgspec.Meta(min_length=1, max_length=_MOST_NAMES)] | None = None


async def _factory(ask: Ask) -> Response:
    state = await trio.to_thread.run_sync(ask.backing.store.factory.state)
    return JSONResponse(state.to_json())


async def _request(ask: Ask) -> Response:
    wanted = decoded(await read_body(ask), FactoryRequestDocument)
    try:
        names = tuple(map(normalise, wanted.names)) if wanted.names is not None else None
    except ValueError as error:
        raise BadRequestError(422, "invalid_body", f"a name can't be used: {error}") from error
    provisioning, unsafe_reseal = ask.backing.provisioning, ask.query["unsafe_reseal"]
    state = await provisioning.request(wanted.serial, names, by=ask.peer, unsafe_reseal=unsafe_reseal)
    return JSONResponse(state.to_json())


async def _install(ask: Ask) -> Response:
    body, kind = await read_body(ask), ask.request.headers["content-type"]
    is_form = kind.lower().startswith(FORM_TYPE)
    candidate, via = candidate_from_form(body, kind) if is_form else candidate_from_json(body)
    provisioning, unsafe_reseal = ask.backing.provisioning, ask.query["unsafe_reseal"]
    receipt = await provisioning.install(candidate, via, by=ask.peer, unsafe_reseal=unsafe_reseal)
    return answered(receipt, created=True)


_RESEAL = flag("unsafe_reseal", "An identity that is sealed here may be replaced: the manufacturer's alone.")

OPERATIONS = (
    Operation(
        "GET",
        "/v1/factory",
        "getFactory",
        "Show what the device has of its manufacturer: nothing, a request that waits, or its identity.",
        _factory,
        (Answer("What there is.", FactoryDocument),),
    ),
    Operation(
        "POST",
        "/v1/factory/request",
        "requestFactory",
        "Make a key here, once, and the request for its certificate; again: the very same.",
        _request,
        (Answer("What waits, or what is installed already.", FactoryDocument),),
        (_RESEAL,),
        {JSON_TYPE: FactoryRequestDocument},
        (400, 408, 413, 422, 503),
    ),
    Operation(
        "POST",
        "/v1/factory/certificate",
        "installFactory",
        "Put the manufacturer's certificate into effect, and seal it for the device's life.",
        _install,
        (
            Answer(
                "It is there, and sealed.",
                ReceiptDocument,
                status=201,
                headers={"location": "The receipt's address."},
            ),
        ),
        (_RESEAL,),
        {JSON_TYPE: UploadDocument, FORM_TYPE: FormDocument},
        (400, 408, 413, 503),
    ),
)
