"""The factory reset, and what ends the suspension of watched directories that follows from it."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from tlsproxy.control.candidates import answered, read_body
from tlsproxy.control.documents import ReceiptDocument, WatchesDocument
from tlsproxy.control.operations import Answer, Ask, Operation
from tlsproxy.control.values import JSON_TYPE, ResetDocument, decoded

__all__ = ["OPERATIONS"]


async def _reset(ask: Ask) -> Response:
    wanted = decoded(await read_body(ask), ResetDocument)
    return answered(await ask.backing.resetting.reset(wanted.scopes, wanted.via, ask.peer))


async def _enable_watches(ask: Ask) -> Response:
    changed = await ask.backing.resetting.enable_watches(ask.peer)
    return JSONResponse({"enabled": True, "changed": changed})


OPERATIONS = (
    Operation(
        "POST",
        "/v1/reset",
        "reset",
        "Bring back the factory's state: erase what the customer brought, and make a new key for the device.",
        _reset,
        (Answer("It is in force; the receipt of this change.", ReceiptDocument),),
        bodies={JSON_TYPE: ResetDocument},
        problems=(400, 408, 413, 503),
    ),
    Operation(
        "POST",
        "/v1/watches/enable",
        "enableWatches",
        "Have watched directories looked at again, which a reset has suspended.",
        _enable_watches,
        (Answer("They are looked at.", WatchesDocument),),
    ),
)
