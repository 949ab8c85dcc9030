"""Candidates and what became of them: upload, dry run, receipts."""

from __future__ import annotations

from contextlib import aclosing

import trio
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from certstore import Reason, Receipt, State
from tlsproxy import policy
from tlsproxy.control.documents import (
    ReceiptDocument,
    ReceiptsDocument,
    RehearsalDocument,
    UploadedDocument,
    bundle_to_json,
)
from tlsproxy.control.operations import Answer, Ask, Operation, choice, count, flag, text, text_in_path
from tlsproxy.control.problems import refusal
from tlsproxy.control.values import (
    FORM_TYPE,
    JSON_TYPE,
    MAX_BODY_BYTES,
    BadRequestError,
    FormDocument,
    UploadDocument,
    candidate_from_form,
    candidate_from_json,
    findings_to_json,
)
from tlsproxy.word import make_word

__all__ = ["OPERATIONS", "REASON", "RECEIPT", "VIA", "answered", "read_body"]


async def _propose(ask: Ask) -> Response:
    body, kind = await read_body(ask), ask.request.headers["content-type"]
    if kind.lower().startswith(FORM_TYPE):
        candidate, via = candidate_from_form(body, kind)
    else:
        candidate, via = candidate_from_json(body)
    within_s, beside = ask.query["confirm_within_s"], ask.query["beside"]
    if ask.query["dry_run"]:
        found = await ask.backing.changing.rehearse(candidate, beside=beside)
        return JSONResponse(
            {
                "dry_run": True,
                "bundle": bundle_to_json(found.bundle),
                "findings": findings_to_json(found.findings),
                **({} if found.beside is None else {"beside": bundle_to_json(found.beside)}),
            }
        )
    reason = Reason(ask.query["reason"])
    word, its_hash = make_word() if within_s is not None else ("", "")
    receipt = await ask.backing.changing.propose(
        candidate, via, by=ask.peer, confirm_within_s=within_s, reason=reason, word=its_hash, beside=beside
    )
    waits = receipt.state is State.LIVE and receipt.confirm_within_s is not None
    return answered(receipt, created=True, confirm_word=word if waits else None)


def answered(receipt: Receipt, *, created: bool = False, confirm_word: str | None = None) -> Response:
    """Answer with the receipt of a change: 422 where it was refused, with the receipt in the problem.

    created: by an upload, whose answer alone has the word that confirms it over the network, where it waits.
    """
    if receipt.state is State.REFUSED:
        return refusal(receipt.findings, receipt)
    headers = {"location": f"/v1/receipts/{receipt.id}"}
    document = receipt.to_json() | ({"confirm_word": confirm_word} if confirm_word is not None else {})
    return JSONResponse(document, status_code=201 if created else 200, headers=headers)


async def _receipts(ask: Ask) -> Response:
    receipts = ask.backing.store.receipts(ask.query["limit"])
    return JSONResponse({"receipts": [receipt.to_json() for receipt in receipts]})


async def _receipt(ask: Ask) -> Response:
    return JSONResponse(ask.backing.store.receipt(ask.path["receipt"]).to_json())


async def read_body(ask: Ask) -> bytes:
    """Read the body of a request, within its bounds of size and time."""
    content = bytearray()
    with trio.move_on_after(policy.CONTROL_BODY_S):
        try:
            async with aclosing(ask.request.stream()) as parts:
                async for part in parts:
                    content += part
                    if len(content) > MAX_BODY_BYTES:
                        words = f"the body is larger than {MAX_BODY_BYTES} bytes"
                        raise BadRequestError(413, "file_too_large", words)
        except ClientDisconnect as error:  # or it has broken the protocol, and was answered
            raise BadRequestError(400, "bad_request", "the body has no end") from error
        return bytes(content)
    raise BadRequestError(408, "request_timeout", f"the body took longer than {policy.CONTROL_BODY_S:g} s")


_WAIT = choice("wait", "What is waited for: an answer comes when the change is live, or refused.", "live")
_CONFIRM = count(
    "confirm_within_s",
    "It goes back by itself unless it is confirmed in so many seconds; without this it is for good.",
    least=1,
    most=policy.PROBATION_MOST_S,
    default=None,
)
VIA = text("via", "By which way the change comes, for its receipt.", r"[\x21-\x7e]{1,64}", default="api")
REASON = choice(
    "reason",
    "Why what it replaces leaves: key-compromise bans its key for good, and as cessation-of-operation it ends"
    " the connections that were made with it.",
    *Reason,
)
RECEIPT = (text_in_path("receipt", "The receipt's id.", "[0-9]{6,12}-[0-9a-f]{8}"),)
_DRY_RUN = flag("dry_run", "Only examine the candidate: nothing of it is kept, and nothing changes.")
_BESIDE = flag(
    "beside",
    "It stands beside the certificate with the other kind of key (EC, RSA) that is there for the same names;"
    " without this it takes the place of both.",
)

OPERATIONS = (
    Operation(
        "POST",
        "/v1/candidates",
        "proposeCandidate",
        "Put a certificate into effect for the customer, and answer when it is live; or only examine it.",
        _propose,
        (
            Answer("It would be served; nothing was kept (dry_run).", RehearsalDocument),
            Answer(
                "It is served by every worker.",
                UploadedDocument,
                status=201,
                headers={"location": "The receipt's address."},
            ),
        ),
        (_DRY_RUN, _BESIDE, _WAIT, _CONFIRM, REASON),
        {JSON_TYPE: UploadDocument, FORM_TYPE: FormDocument},
        (400, 408, 413, 503),
    ),
    Operation(
        "GET",
        "/v1/receipts",
        "listReceipts",
        "List the latest receipts, newest first.",
        _receipts,
        (Answer("The receipts.", ReceiptsDocument),),
        (count("limit", "At most so many.", least=1, most=500, default=50),),
    ),
    Operation(
        "GET",
        "/v1/receipts/{receipt}",
        "getReceipt",
        "Show one receipt.",
        _receipt,
        (Answer("The receipt.", ReceiptDocument),),
        RECEIPT,
    ),
)
