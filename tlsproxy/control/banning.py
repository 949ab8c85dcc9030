"""Banned keys: which there are, and one more. Nothing here lifts a ban."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import msgspec
from starlette.responses import JSONResponse, Response

from certstore import Store
from tlsproxy.control.candidates import VIA, answered
from tlsproxy.control.documents import Count, Hash, ReceiptDocument
from tlsproxy.control.operations import Answer, Ask, Operation, text_in_path

__all__ = ["OPERATIONS"]


class BanDocument(msgspec.Struct):
    """A key that is never served again.

    `since` is the generation that it left with; `at` is null where the record of the ban is damaged, which
    lifts nothing.
    """

    spki: Hash
    since: Count
    at: datetime | None
    via: str


class BansDocument(msgspec.Struct):
    """All keys that are never served again."""

    bans: list[BanDocument]


async def _bans(ask: Ask) -> Response:
    return JSONResponse({"bans": [ban.to_json() for ban in ask.backing.store.bans()]})


async def _ban(ask: Ask) -> Response:
    fresh = ask.backing.fresh_identity
    act = partial(Store.ban, spki=ask.path["spki"], via=ask.query["via"], fresh=fresh)
    return answered(await ask.backing.changing.change("ban", act, ask.peer))


OPERATIONS = (
    Operation(
        "GET",
        "/v1/bans",
        "listBans",
        "List the keys that are never served again.",
        _bans,
        (Answer("The keys, by the SHA-256 of their SPKI.", BansDocument),),
    ),
    Operation(
        "PUT",
        "/v1/bans/{spki}",
        "banKey",
        "Never serve a key again, for good: its connections end, and the device's own gets a successor.",
        _ban,
        (Answer("No worker serves it any more; the receipt of this change.", ReceiptDocument),),
        (text_in_path("spki", "The SHA-256 of the key's SPKI.", "[0-9a-f]{64}"), VIA),
    ),
)
