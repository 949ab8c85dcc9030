"""Accepting connections: one loop a listening socket, and the border that isolates each connection.

Promises: a client that fails, or a fault of ours in serving it, ends that connection only; running out of
descriptors or memory pauses accepting and recovers by itself. When all places are taken, those who only wait
give way first; who can't be let in gets a short last word and an end. Refuses to know what a connection
speaks.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import trio

from tlsproxy import policy
from tlsproxy.net.admission import Admission, Verdict
from tlsproxy.readiness import notify_closing

# The machine is short of something that other connections will give back (accept(2)).
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Serve = Callable[[socket.socket, str], Awaitable[None]]
Tell = Callable[[str, BaseException | None], None]


@dataclass(slots=True)
class Acceptor:
    """Accepts for one worker, over all its listening sockets.

    `make_room` asks those who only wait to end, and says whether there were any; `tell` gets the code of what
    went wrong and the error; a shortage and clients turned away are told every `policy.TELL_AGAIN_S`.
    """

    admission: Admission
    make_room: Callable[[], bool]
    tell: Tell
    _told: dict[str, float] = field(default_factory=dict)  # code -> trio time of the last telling

    async def run(
        self, listener: socket.socket, serve: Serve, connections: trio.Nursery, last_word: bytes = b""
    ) -> NoReturn:
        """Accept from `listener` until cancelled, serving each connection in a task of `connections`.

        `serve` is called when a connection was accepted, with a non-blocking socket and its peer's address as
        text; what it gives is awaited in the connection's own task, after which the socket is closed.
        `last_word` is sent to those who can't be let in. Once this is cancelled it accepts nothing more, even
        before it has ended; it ends no connection and loses none, and `listener` stays open: it may belong to
        other processes as well.
        """
        burst = 0
        while True:
            # A loop that was woken and then cancelled would else take one more, or a whole burst.
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(listener)
                continue
            except OSError as error:
                await self._recover(error)
                continue
            sock.setblocking(False)
            address = plain_address(peer)
            verdict = self.admission.judge(address)
            if verdict is Verdict.FULL:
                verdict = await self._squeeze_in(sock, address)
            self._let_in(sock, address, verdict, serve, connections, last_word)
            burst += 1
            if not burst % policy.ACCEPT_BURST:
                await trio.lowlevel.checkpoint()

    def adopt(
        self, sock: socket.socket, serve: Serve, connections: trio.Nursery, last_word: bytes, shares: int
    ) -> None:
        """Serve a connection that another process has accepted, as `run` serves its own; never waits.

        shares: how many processes there are, each with its part of what an address may take.
        """
        try:
            address = plain_address(sock.getpeername())
        except OSError:  # the client is gone
            sock.close()
            return
        verdict = self.admission.judge(address, shares)
        if verdict is Verdict.FULL:
            connections.start_soon(
                self._adopt_once_there_is_room, sock, address, serve, connections, last_word
            )
        else:
            self._let_in(sock, address, verdict, serve, connections, last_word)

    async def _adopt_once_there_is_room(
        self, sock: socket.socket, address: str, serve: Serve, connections: trio.Nursery, last_word: bytes
    ) -> None:
        verdict = await self._squeeze_in(sock, address)
        self._let_in(sock, address, verdict, serve, connections, last_word)

    def _let_in(
        self,
        sock: socket.socket,
        address: str,
        verdict: Verdict,
        serve: Serve,
        connections: trio.Nursery,
        last_word: bytes,
    ) -> None:
        if verdict is Verdict.ADMIT:
            self.admission.enter(address)
            connections.start_soon(self._isolate, sock, address, serve(sock, address))
        else:
            self._turn_away(sock, verdict, last_word)

    async def _squeeze_in(self, sock: socket.socket, address: str) -> Verdict:
        """Let who only waits give way; they need a turn or two to be gone."""
        try:
            if self.make_room():
                with trio.CancelScope(shield=True):  # who was accepted is served, whatever ends the accepting
                    for _ in range(policy.ROOM_TURNS):
                        await trio.lowlevel.checkpoint()
                        if self.admission.open < self.admission.limit:
                            break
        except BaseException:
            sock.close()
            raise
        return self.admission.judge(address)

    def _turn_away(self, sock: socket.socket, verdict: Verdict, last_word: bytes) -> None:
        self.admission.turn_away(verdict)
        with contextlib.suppress(OSError):
            sock.send(last_word)
        sock.close()
        self._tell_at_times(verdict.value, None)

    async def _isolate(self, sock: socket.socket, address: str, served: Awaitable[None]) -> None:
        try:
            await served
        except OSError:
            pass  # the client is gone; nobody is left to be told
        except Exception as error:  # noqa: BLE001  the border: a fault in one connection ends that one only
            self.tell("connection_fault", error)
        finally:
            self.admission.leave(address)
            if sock.fileno() >= 0:
                notify_closing(sock)
                sock.close()

    async def _recover(self, error: OSError) -> None:
        if error.errno not in _EXHAUSTED:
            # The client was gone before we took it (ECONNABORTED, and network errors that Linux passes on
            # here).
            await trio.lowlevel.checkpoint()
            return
        self._tell_at_times("accept_exhausted", error)
        self.make_room()
        await trio.sleep(policy.ACCEPT_PAUSE_S)

    def _tell_at_times(self, code: str, error: BaseException | None) -> None:
        now = trio.current_time()
        if now >= self._told.get(code, float("-inf")) + policy.TELL_AGAIN_S:
            self._told[code] = now
            self.tell(code, error)


def plain_address(peer: Any) -> str:
    """Give a peer's address as text, "" for none; IPv4 in its own form also on a dual-stack socket."""
    if not isinstance(peer, tuple):
        return ""
    address = str(peer[0]).partition("%")[0]
    mapped = address.removeprefix("::ffff:")
    return mapped if "." in mapped else address
