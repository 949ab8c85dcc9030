"""Problem documents (RFC 9457): every error of the API, with a stable `code` and words for a person.

Promises: whatever a handler raises becomes exactly one document; what nobody foresaw says nothing of what
was going on. `title` is the status' phrase (the type is about:blank, so RFC 9457 section 4.2.1 wants that),
`detail` one line about this occurrence, `hint` what to do; `findings` where a certificate was looked at.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType

from starlette.responses import Response

from certstore import (
    Finding,
    NotFound,
    RandomNotReady,
    Receipt,
    Refusal,
    StoreError,
    StoreNewer,
    StoreNotWritable,
)
from tlsproxy.acmekeeping import AcmeRefusedError
from tlsproxy.control.values import PROBLEM_TYPE, BadRequestError, findings_to_json
from tlsproxy.errors import ProxyError, ReloadError, ThreadError
from tlsproxy.observe.log import logger

__all__ = ["FAULT", "of_fault", "problem", "refusal", "told"]

_log = logger("control")
FAULT = "internal_error"


def problem(
    status: int,
    code: str,
    detail: str,
    hint: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] = MappingProxyType({}),
) -> Response:
    """Make the answer that tells of a problem; `more` are further members of its document."""
    document = {"type": "about:blank", "status": status, "title": HTTPStatus(status).phrase}
    document |= {"detail": detail, "code": code, **({"hint": hint} if hint else {}), **more}
    return Response(json.dumps(document), status_code=status, media_type=PROBLEM_TYPE, headers=headers)


def refusal(findings: Sequence[Finding], receipt: Receipt | None = None) -> Response:
    """Say that a candidate was refused: 422, with all that was found, and its receipt if it has one."""
    first = next(finding for finding in findings if finding.is_error)
    more: dict[str, object] = {"findings": findings_to_json(findings)}
    headers = {}
    if receipt is not None:
        more["receipt"] = receipt.to_json()
        headers["location"] = f"/v1/receipts/{receipt.id}"
    return problem(422, "candidate_refused", first.words, first.hint, headers=headers, more=more)


async def told(answer: Callable[[], Awaitable[Response]]) -> Response:
    """Answer, or say what stood in the way."""
    try:
        return await answer()
    except BadRequestError as error:
        return problem(error.status, error.code, str(error), headers=error.headers)
    except NotFound as error:
        return problem(404, error.code, str(error), error.hint)
    except Refusal as error:
        return refusal(error.findings)
    except ReloadError as error:
        return problem(409, error.code, str(error), error.hint)
    except (StoreError, ProxyError) as error:
        _log.warning("control_failed", code=error.code, why=str(error))
        unready = StoreNewer | StoreNotWritable | RandomNotReady | ThreadError
        status = 502 if isinstance(error, AcmeRefusedError) else 503 if isinstance(error, unready) else 500
        return problem(status, error.code, str(error), error.hint)


def of_fault() -> Response:
    """Tell of a fault of ours; Starlette raises it on after this answer, and connection.py logs it."""
    return problem(500, FAULT, "the proxy failed to answer; its log says why")
