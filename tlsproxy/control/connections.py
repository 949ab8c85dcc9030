"""The connections of the control API: how many there may be, and the border that isolates each.

Promises: a client that leaves in the middle, sends half a request or nothing, ends its own connection only.
Refuses to know what is asked and answered (server.py).

Theory. Hypercorn's own `serve` keeps all connections in one nursery, and a fault in one ends them all, the
proxy with them. Faults there are: a client that closes half-way through a body makes it answer twice at once
(its 400, and what the application says to the end of the stream), which trio doesn't allow. So each
connection is served by Hypercorn behind a border of ours.
"""

from __future__ import annotations

import logging
import socket
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import wrap_app
from starlette.applications import Starlette

from tlsproxy import policy
from tlsproxy.observe.log import logger

__all__ = ["serve"]

_log = logger("control")
# trio tells each failed accept with a traceback, ten times a second; a shortage is told by net/accept.py
logging.getLogger("trio.serve_listeners").setLevel(logging.CRITICAL)


async def serve(
    app: Starlette, sock: socket.socket, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve `app` to all who connect to `sock`, a listening one that stays its owner's, until cancelled."""
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = 65_536
    config.read_timeout = policy.CONTROL_READ_S
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock.dup()))
    wrapped: AppWrapper = wrap_app(app, config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]  # its ASGI types are narrower than Starlette's
    async with trio.open_nursery() as connections:
        handle = partial(_isolate, wrapped, config, connections)
        connections.start_soon(partial(trio.serve_listeners, handle, [listener], handler_nursery=connections))
        task_status.started()


async def _isolate(
    app: AppWrapper, config: Config, connections: trio.Nursery, stream: trio.SocketStream
) -> None:
    if len(connections.child_tasks) > policy.CONTROL_CONNECTIONS + 1:  # the one more accepts
        await trio.aclose_forcefully(stream)
        return
    try:
        await TCPServer(app, config, WorkerContext(None), ConnectionState({}), stream)  # type: ignore[arg-type]  # it takes plain streams, too
    except Exception as error:  # noqa: BLE001  the border: a fault in one connection ends that one only
        _log.warning("control_connection_lost", why=repr(error))
