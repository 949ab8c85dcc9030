"""The control API's server: accepts on the UNIX socket, and asks who it is before anything is read.

Promises: who may not ask is answered 403, in a problem document, whatever was asked; who finds no place
gets 503; neither keeps out those who may (places.py). Refuses to know what is asked (application.py).
"""

from __future__ import annotations

import errno
import math
from pathlib import Path

import trio

from tlsproxy import policy
from tlsproxy.control.application import application
from tlsproxy.control.backing import Backing
from tlsproxy.control.connection import Application, serve
from tlsproxy.control.door import listening
from tlsproxy.control.peers import Access, Peer, peer_of
from tlsproxy.control.places import Place, Places
from tlsproxy.control.problems import problem
from tlsproxy.observe.log import logger

__all__ = ["run"]

_log = logger("control")
# accept(2): the peer has gone already; all else that it may say is a shortage of ours, which passes
_GONE = frozenset({errno.ECONNABORTED, errno.EINTR})


async def run(
    path: Path,
    backing: Backing,
    *,
    access: Access | None = None,
    handed_over: int | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the control API at `path` until cancelled; the socket's file is removed at the end.

    access: who may ask beside root and ourselves. handed_over: the listening socket's descriptor, from the
    image before a reload. Reports the descriptor when it answers. Raises ControlError: the socket can't be
    made, or somebody answers there.
    """
    access = access or Access()
    with listening(path, access, handed_over) as sock:
        sock.setblocking(False)
        reception = _Reception(Places(access), application(backing))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reception.accept, trio.socket.from_stdlib_socket(sock), nursery)
            task_status.started(sock.fileno())
            _log.info("control_listening", path=str(path))


class _Reception:
    def __init__(self, places: Places, app: Application) -> None:
        self._places = places
        self._answers: dict[Place, Application] = {
            Place.SERVED: app,
            Place.FORBIDDEN: problem(403, "forbidden", "this user may not ask here", _MEND, headers=_END),
            Place.BUSY: problem(503, "busy", "too many connections", headers={**_END, "retry-after": "1"}),
        }

        self._told: dict[int, float] = {}  # who was turned away, and when (trio time)

    async def accept(self, listener: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                sock, _ = await listener.accept()
            except OSError as error:
                if error.errno not in _GONE:
                    await trio.sleep(policy.ACCEPT_PAUSE_S)  # a shortage is told by net/accept.py
                continue
            nursery.start_soon(self._receive, sock)

    async def _receive(self, sock: trio.socket.SocketType) -> None:
        try:
            peer = peer_of(sock)
        except OSError:
            sock.close()
            return
        place = self._places.take(peer)
        try:
            if place is Place.SERVED:
                await serve(sock, self._answers[place], peer)
            elif place is not Place.NONE:
                with trio.move_on_after(policy.CONTROL_REFUSAL_S):
                    self._tell(peer, place)
                    await serve(sock, self._answers[place], peer)
        finally:
            sock.close()
            self._places.leave(peer, place)

    def _tell(self, peer: Peer, place: Place) -> None:
        """Log who was turned away: once a minute for a user, who must not fill the disk by asking."""
        now = trio.current_time()
        if now - self._told.get(peer.uid, -math.inf) >= policy.TELL_AGAIN_S:
            self._told[peer.uid] = now
            _log.warning("control_refused", uid=peer.uid, pid=peer.pid, why=place.value)


_END = {"connection": "close"}
_MEND = "name its user or group under [control] in the configuration, and reload"
