"""What changes the proxy but is no upload: the reload."""

from __future__ import annotations

from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from tlsproxy.control.documents import ReloadDocument
from tlsproxy.control.operations import Answer, Ask, Operation

__all__ = ["OPERATIONS"]


async def _reload(ask: Ask) -> Response:
    epoch = await ask.backing.reloading.check_reload()
    # carried out once this answer has left: the connection doesn't outlive it
    act = BackgroundTask(ask.backing.reloading.reload)
    return JSONResponse({"epoch": epoch}, status_code=202, background=act)


OPERATIONS = (
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
