"""Accepting connections: one loop a listening socket, and the border that isolates each connection.

Promises: a client that fails, or a fault of ours in serving it, ends that connection only; running out of
descriptors or memory pauses accepting and recovers by itself; above the limit a new connection is closed at
once, so that those inside it keep being served. Refuses to know what a connection speaks.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn

import trio

from tlsproxy import policy

# The machine is short of something that other connections will give back (accept(2)).
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(slots=True)
class Gauge:
    """How many connections are open, over all listeners of a worker, and how many were turned away."""

    limit: int
    open: int = 0
    turned_away: int = 0
    accepted: int = 0
    told: set[str] = field(default_factory=set)


Serve = Callable[[socket.socket, tuple], Awaitable[None]]  # type: ignore[type-arg]  # an address as socket gives it
Tell = Callable[[str, BaseException | None], None]


async def accept_forever(
    listener: socket.socket, serve: Serve, gauge: Gauge, tell: Tell, connections: trio.Nursery
) -> NoReturn:
    """Accept from `listener` until cancelled, serving each connection in a task of `connections`.

    `serve` gets a non-blocking socket with TCP_NODELAY and its peer's address; the socket is closed when it
    returns. `tell` gets the code of what went wrong and the error. Cancelling this ends no connection.
    """
    while True:
        try:
            sock, peer = listener.accept()
        except BlockingIOError:
            await trio.lowlevel.wait_readable(listener)
            continue
        except OSError as error:
            await _recover(error, gauge, tell)
            continue
        if gauge.open >= gauge.limit:
            gauge.turned_away += 1
            sock.close()
            _tell_once("connections_full", None, gauge, tell)
            await trio.lowlevel.checkpoint()
            continue
        gauge.open += 1
        gauge.accepted += 1
        connections.start_soon(_isolate, sock, peer, serve, (gauge, tell))
        if not gauge.accepted % policy.ACCEPT_BURST:
            await trio.lowlevel.checkpoint()


async def _isolate(sock: socket.socket, peer: tuple, serve: Serve, of: tuple[Gauge, Tell]) -> None:  # type: ignore[type-arg]
    gauge, tell = of
    try:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await serve(sock, peer)
    except OSError:
        pass  # the client is gone; nobody is left to be told
    except Exception as error:  # noqa: BLE001  # the border: a fault in one connection ends that connection only
        tell("connection_fault", error)
    finally:
        gauge.open -= 1
        if sock.fileno() >= 0:
            trio.lowlevel.notify_closing(sock)
            sock.close()
        if gauge.open < gauge.limit:
            gauge.told.discard("connections_full")


async def _recover(error: OSError, gauge: Gauge, tell: Tell) -> None:
    if error.errno not in _EXHAUSTED:
        # The client was gone before we took it (ECONNABORTED, and network errors that Linux passes on here).
        await trio.lowlevel.checkpoint()
        return
    _tell_once("accept_exhausted", error, gauge, tell)
    await trio.sleep(policy.ACCEPT_PAUSE_S)


def _tell_once(code: str, error: BaseException | None, gauge: Gauge, tell: Tell) -> None:
    if code not in gauge.told:
        gauge.told.add(code)
        tell(code, error)
