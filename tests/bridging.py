"""A way from a TCP port of this machine to a UNIX socket, for clients that know only the one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio


@asynccontextmanager
async def bridge_to(path: Path) -> AsyncIterator[int]:
    """Carry bytes between the socket at `path` and a port on loopback; gives the port."""

    async def carry(stream: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream, await trio.open_unix_socket(str(path)) as other, trio.open_nursery() as both:
                both.start_soon(_copy, other, stream, both.cancel_scope)
                await _copy(stream, other, None)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, carry, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, whole: trio.CancelScope | None) -> None:
    """Carry one way to its end; the end of the answers is the end of all."""
    try:
        async for data in source:
            await sink.send_all(data)
        if whole is None:
            await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    if whole is not None:
        whole.cancel()
