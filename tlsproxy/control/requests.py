"""Certificate requests: made here with their keys, listed, fetched for an authority, removed.

The answer of the authority is a candidate like any other (candidates.py), and finds its key by itself. No key
is in anything that is answered here.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated

import msgspec
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.responses import JSONResponse, Response

from certstore import KeyType, Refusal, Request, Store
from tlsproxy import policy_requests as policy
from tlsproxy.caretaker import wait_random_ready
from tlsproxy.control.candidates import read_body
from tlsproxy.control.documents import Count, Hash
from tlsproxy.control.operations import Answer, Ask, Operation, text_in_path
from tlsproxy.control.problems import problem
from tlsproxy.control.values import JSON_TYPE, BadRequestError, findings_to_json
from tlsproxy.control.wishes import WishDocument, wish_from_json
from tlsproxy.requestkeeping import request_facts

__all__ = ["OPERATIONS"]

_PKCS10 = "application/pkcs10"  # RFC 5967; in DER
_PEM = "application/x-pem-file"


class RequestDocument(msgspec.Struct):
    """A request that waits; `pem` goes to the authority, the key stays here and leaves by no way.

    `answered`: its certificate is live, and waits for confirmation. `renews`: the bundle to be replaced.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]
    names: list[str]
    key_type: KeyType
    subject: dict[str, str]
    spki: Hash
    made_at: datetime
    expires_at: datetime
    via: str
    since: Count
    renews: Hash | None
    pem: str
    answered: bool


class RequestsDocument(msgspec.Struct):
    """All requests that wait, the oldest first."""

    requests: list[RequestDocument]


async def _make(ask: Ask) -> Response:
    wish, via = wish_from_json(await read_body(ask))
    with trio.move_on_after(policy.RANDOM_S):  # beyond that the store refuses, and says why
        await wait_random_ready()

    def make(store: Store) -> Request:
        try:
            return store.requests.make(wish, via=via)
        except ValueError as error:
            raise BadRequestError(422, "invalid_body", str(error)) from error

    try:
        made = await ask.backing.changing.carry_out("make_request", make, ask.peer, request_facts)
    except Refusal as refused:
        first = refused.findings[0]
        more = {"findings": findings_to_json(refused.findings)}
        return problem(422, "request_refused", first.words, first.hint, more=more)
    headers = {"location": f"/v1/requests/{made.id}"}
    return JSONResponse(_shown(ask, made), status_code=201, headers=headers)


async def _list(ask: Ask) -> Response:
    return JSONResponse({"requests": [_shown(ask, one) for one in ask.backing.store.requests.all()]})


async def _get(ask: Ask) -> Response:
    return JSONResponse(_shown(ask, _asked_for(ask)))


async def _pem(ask: Ask) -> Response:
    return Response(_asked_for(ask).pem, media_type=_PEM)


async def _der(ask: Ask) -> Response:
    request = x509.load_pem_x509_csr(_asked_for(ask).pem.encode("ascii"))
    return Response(request.public_bytes(Encoding.DER), media_type=_PKCS10)


async def _remove(ask: Ask) -> Response:
    act = partial(_removed, id_=ask.path["request"])
    removed = await ask.backing.changing.carry_out("remove_request", act, ask.peer, request_facts)
    return JSONResponse(_shown(ask, removed))


def _removed(store: Store, id_: str) -> Request:
    return store.requests.remove(id_)


def _asked_for(ask: Ask) -> Request:
    return ask.backing.store.requests.request(ask.path["request"])


def _shown(ask: Ask, request: Request) -> dict[str, object]:
    return {**request.to_json(), "answered": ask.backing.store.requests.is_answered(request)}


_REQUEST = (text_in_path("request", "The request's id.", "[0-9a-f]{8}"),)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/requests",
        "listRequests",
        "List the certificate requests that wait for their answers.",
        _list,
        (Answer("The requests, the oldest first.", RequestsDocument),),
    ),
    Operation(
        "POST",
        "/v1/requests",
        "makeRequest",
        "Make a key that never leaves the device, and a certificate request for it.",
        _make,
        (
            Answer(
                "It waits for its certificate.",
                RequestDocument,
                status=201,
                headers={"location": "The request's address."},
            ),
        ),
        (),
        {JSON_TYPE: WishDocument},
        (400, 404, 408, 413),
    ),
    Operation(
        "GET",
        "/v1/requests/{request}",
        "getRequest",
        "Show one request.",
        _get,
        (Answer("The request.", RequestDocument),),
        _REQUEST,
    ),
    Operation(
        "DELETE",
        "/v1/requests/{request}",
        "removeRequest",
        "Remove a request with its key: a certificate for it can't be used any more.",
        _remove,
        (Answer("It was removed; what it was.", RequestDocument),),
        _REQUEST,
    ),
    Operation(
        "GET",
        "/v1/requests/{request}/request.pem",
        "downloadRequest",
        "Download a request in PEM, as most authorities take it.",
        _pem,
        (Answer("The request in PEM.", media=_PEM),),
        _REQUEST,
    ),
    Operation(
        "GET",
        "/v1/requests/{request}/request.p10",
        "downloadRequestDer",
        "Download a request in DER (PKCS #10).",
        _der,
        (Answer("The request in DER.", media=_PKCS10),),
        _REQUEST,
    ),
)
