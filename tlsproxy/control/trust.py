"""Trust sets: by which authorities clients' certificates are verified, and which of them are revoked."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import msgspec
from starlette.responses import JSONResponse, Response

from certstore import Receipt, Store
from tlsproxy.control.candidates import VIA, answered, read_body
from tlsproxy.control.documents import Count, Hash, ReceiptDocument
from tlsproxy.control.operations import Answer, Ask, Operation, text_in_path
from tlsproxy.control.values import (
    FORM_TYPE,
    JSON_TYPE,
    FormDocument,
    UploadDocument,
    candidate_from_form,
    candidate_from_json,
)
from tlsproxy.threads import in_thread
from tlsproxy.trustsets import described

__all__ = ["OPERATIONS"]


class AnchorDocument(msgspec.Struct):
    """An authority whose clients are let in."""

    subject: str
    fingerprint: Hash
    not_after: datetime


class CrlDocument(msgspec.Struct):
    """A revocation list; `next_update` is null where it doesn't say when the next one comes."""

    issuer: str
    this_update: datetime
    next_update: datetime | None
    revoked: Count


class TrustDocument(msgspec.Struct):
    """A trust set; `error` says why it can't be read, or "". `rule`: for which names it is asked."""

    name: str
    id: Hash
    rule: str
    anchors: list[AnchorDocument]
    crls: list[CrlDocument]
    error: str


class TrustsDocument(msgspec.Struct):
    """All trust sets."""

    sets: list[TrustDocument]


async def _list(ask: Ask) -> Response:
    sets = await in_thread(partial(described, ask.backing.store, ask.backing.rule_of))
    return JSONResponse({"sets": sets})


async def _put(ask: Ask) -> Response:
    body, kind = await read_body(ask), ask.request.headers["content-type"]
    is_form = kind.lower().startswith(FORM_TYPE)
    candidate, via = candidate_from_form(body, kind) if is_form else candidate_from_json(body)
    return answered(await ask.backing.changing.put_trust(ask.path["name"], candidate, via, by=ask.peer))


async def _remove(ask: Ask) -> Response:
    name, via, rule = ask.path["name"], ask.query["via"], ask.backing.rule_of(ask.path["name"])

    def remove(store: Store) -> Receipt:
        return store.trust.remove(name, via=via, rule=rule)

    return answered(await ask.backing.changing.change("remove_trust", remove, ask.peer))


_NAME = text_in_path("name", "The trust set's name.", "[a-z0-9][a-z0-9-]{0,31}")

OPERATIONS = (
    Operation(
        "GET",
        "/v1/trust",
        "listTrust",
        "List the authorities whose clients are let in, with their revocation lists.",
        _list,
        (Answer("The trust sets.", TrustsDocument),),
    ),
    Operation(
        "PUT",
        "/v1/trust/{name}",
        "putTrust",
        "Have a trust set hold these authorities, or these revocation lists; others' connections end.",
        _put,
        (Answer("Every worker lets clients in by it; the receipt of this change.", ReceiptDocument),),
        (_NAME,),
        {JSON_TYPE: UploadDocument, FORM_TYPE: FormDocument},
        (400, 408, 413, 503),
    ),
    Operation(
        "DELETE",
        "/v1/trust/{name}",
        "removeTrust",
        "Take a trust set away; refused while a rule of the configuration names it.",
        _remove,
        (Answer("Nobody is let in by it any more; the receipt of this change.", ReceiptDocument),),
        (_NAME, VIA),
    ),
)
