"""What changes the proxy but is no upload: going back, activating, removing, confirming; and the reload.

Each change of the store is answered as an upload is: with its receipt when every worker serves it, 422 where
it was refused.
"""

from __future__ import annotations

from functools import partial

from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from certstore import Reason, Store
from tlsproxy.control.candidates import REASON, RECEIPT, VIA, answered
from tlsproxy.control.documents import ReceiptDocument, ReloadDocument
from tlsproxy.control.holdings import GENERATION, SLOT, slot_key
from tlsproxy.control.operations import Answer, Ask, Operation

__all__ = ["OPERATIONS"]


async def _roll_back(ask: Ask) -> Response:
    act = partial(
        Store.roll_back, key=slot_key(ask), via=ask.query["via"], reason=Reason(ask.query["reason"])
    )
    return answered(await ask.backing.changing.change("roll_back", act, ask.peer))


async def _remove(ask: Ask) -> Response:
    act = partial(Store.remove, key=slot_key(ask), via=ask.query["via"], reason=Reason(ask.query["reason"]))
    return answered(await ask.backing.changing.change("remove", act, ask.peer))


async def _activate(ask: Ask) -> Response:
    act = partial(Store.activate, number=ask.path["generation"], via=ask.query["via"])
    return answered(await ask.backing.changing.change("activate", act, ask.peer))


async def _confirm(ask: Ask) -> Response:
    act = partial(Store.confirm, receipt_id=ask.path["receipt"], via=ask.query["via"])
    return answered(await ask.backing.changing.change("confirm", act, ask.peer))


async def _reload(ask: Ask) -> Response:
    epoch = await ask.backing.reloading.check_reload(ask.peer)
    # carried out once this answer has left: the connection doesn't outlive it
    act = BackgroundTask(ask.backing.reloading.reload, ask.peer)
    return JSONResponse({"epoch": epoch}, status_code=202, background=act)


_DONE = (Answer("Every worker serves it; the receipt of this change.", ReceiptDocument),)

OPERATIONS = (
    Operation(
        "DELETE",
        "/v1/slots/{source}/{slot}",
        "removeSlot",
        "Take a slot away: its names go to the next source, at last to the device's own certificate.",
        _remove,
        _DONE,
        (*SLOT, VIA, REASON),
    ),
    Operation(
        "POST",
        "/v1/slots/{source}/{slot}/rollback",
        "rollBackSlot",
        "Put one slot back to what it had before; other slots stay as they are.",
        _roll_back,
        _DONE,
        (*SLOT, VIA, REASON),
    ),
    Operation(
        "POST",
        "/v1/generations/{generation}/activate",
        "activateGeneration",
        "Have every slot as that generation had it.",
        _activate,
        _DONE,
        (*GENERATION, VIA),
    ),
    Operation(
        "POST",
        "/v1/receipts/{receipt}/confirm",
        "confirmReceipt",
        "Keep a change that is in probation for good.",
        _confirm,
        (Answer("The receipt, confirmed.", ReceiptDocument),),
        (*RECEIPT, VIA),
    ),
    Operation(
        "POST",
        "/v1/reload",
        "reload",
        "Take up a changed configuration and new code, once a pre-flight has gone well.",
        _reload,
        (Answer("It begins now; this connection ends with it.", ReloadDocument, status=202),),
        problems=(409,),
    ),
)
