"""What clients were here: the report by which a stricter TLS profile is judged before it is taken."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from tlsproxy.control.operations import Answer, Ask, Operation
from tlsproxy.observe.clientreport import ClientReport

__all__ = ["OPERATIONS"]


async def _report(ask: Ask) -> Response:
    return JSONResponse((await ask.backing.telling.client_report()).to_json())


OPERATIONS = (
    Operation(
        "GET",
        "/v1/policy/report",
        "reportClients",
        "Say what TLS clients can do, who was refused, and whom a stricter profile would cut off.",
        _report,
        (Answer("The counts, since the service was started.", ClientReport),),
    ),
)
