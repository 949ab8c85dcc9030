"""TLS to a service behind us: its handshake, its stream, and the session that the next connection resumes.

Promises: no byte of a request leaves before the service has proved who it is, on its terms; what it lacks is
an UpstreamTLSError with the kind, and the alert is sent. An end without close_notify is a broken connection,
never an end: whoever cuts it off must not make a part of a body look like all of it (RFC 9112 section 9.8).
Refuses to know deadlines, how the socket was connected, and HTTP.

Theory. *Lending.* A connection of the pool is fit for use while nothing waits on it. A TLS 1.3 service sends
tickets after its handshake, which wait on the socket of a connection that is quiet all the same; so
`is_quiet` reads past what is no data, and not past more than a service has reason to send. *Sessions.* The
newest is kept when a connection is looked at or closed, and used for a while only
(`policy_upstream.SESSION_KEEP_S`) from the verification that it stands for, however many resumptions, and
however long a connection, lie between. When a handshake fails, nothing that was verified before is resumed.
It belongs to one context, so nothing is resumed on other terms. *Late alerts.* In TLS 1.3 we are done before
the service has judged our certificate, and its refusal comes where the answer should; until the first byte
of data, an alert is therefore told as what it is.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

import trio

from tlsproxy.errors import HandshakeError, UpstreamTLSError
from tlsproxy.policy_upstream import QUIET_READS, SESSION_KEEP_S
from tlsproxy.terms import Terms
from tlsproxy.tls.engines.outward import OutwardEngine, context_of, in_words, spki_of, why_refused
from tlsproxy.tls.engines.port import TLSBroken
from tlsproxy.tls.stream import TLSStream

if TYPE_CHECKING:
    import ssl

__all__ = ["Outward", "OutwardStream"]


class OutwardStream(TLSStream):
    """A connection to a service, after its handshake; whoever has it closes it."""

    __slots__ = ("_heard", "_keep", "_outward_engine", "_poll", "_upstream", "verified_at")

    def __init__(
        self,
        sock: socket.socket,
        engine: OutwardEngine,
        upstream: str,
        keep: Callable[[OutwardEngine, float], None],
    ) -> None:
        super().__init__(sock, engine, bundle_id="")
        self._outward_engine, self._upstream, self._keep = engine, upstream, keep
        self.verified_at = -inf
        """When the service's certificate was verified; of a resumed session, the one that it goes back to."""
        self._heard = False
        self._poll: select.poll | None = None  # made at the first look: most connections never need one

    async def receive_some(self, max_bytes: int = 65536, /) -> bytes:
        """Return plaintext as `TLSStream` does, b"" only after close_notify.

        Raises UpstreamTLSError where the service says by an alert, instead of any data, that it won't.
        """
        try:
            data = await super().receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            if not self._heard and isinstance(error.__cause__, TLSBroken):
                raise UpstreamTLSError(self._upstream, "tls", in_words(error.__cause__.reason)) from error
            raise
        if not data and self.truncated:
            raise trio.BrokenResourceError("the connection was cut off: it ended without close_notify")
        self._heard = True
        return data

    def is_quiet(self) -> bool:
        """Say whether neither data nor an end has come; reads past tickets. Never waits."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.sock, select.POLLIN | select.POLLRDHUP)
        try:
            if not self._read_past_tickets(self._poll):
                return False
            self.offer_owed()  # the answer to a key update
        except (TLSBroken, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self._keep(self._outward_engine, self.verified_at)
        return True

    def _read_past_tickets(self, poll: select.poll) -> bool:
        for _ in range(QUIET_READS):
            if self._engine.read(1) is not None:
                return False
            if not poll.poll(0):
                return True
            if not self._feed() or self.truncated:
                return False
        return False

    def close(self) -> None:
        """Let go at once, in good order."""
        if self.sock.fileno() >= 0:
            self._keep(self._outward_engine, self.verified_at)
        super().close()

    async def shake_hands(self) -> None:
        """Make the handshake. Raises HandshakeError and what `receive_some` of a stream does."""
        while not self._engine.handshake():
            await self.answer_and_wait()
            if self.truncated:
                raise HandshakeError("closed")
        await self.send_owed()


class Outward:
    """The way to one upstream by TLS: its context, and the session that was kept. Raises UnusableTerms.

    now: tells the time in seconds on any clock that never goes back.
    """

    __slots__ = ("_context", "_failed_at", "_kept", "_kept_at", "_now", "_terms", "_upstream")

    def __init__(self, upstream: str, terms: Terms, now: Callable[[], float]) -> None:
        self._upstream, self._terms, self._now = upstream, terms, now
        self._context = context_of(terms)
        self._kept: ssl.SSLSession | None = None
        self._kept_at = self._failed_at = -inf

    async def shake_hands(self, sock: socket.socket) -> OutwardStream:
        """Make TLS of a connected, non-blocking socket, which is the stream's then, and closed by a failure.

        Raises UpstreamTLSError.
        """
        sock.setblocking(False)
        session, kept_at, begun = self._session(), self._kept_at, self._now()
        engine = self._context.connect(session)
        stream = OutwardStream(sock, engine, self._upstream, self._keep)
        try:
            await stream.shake_hands()
            self._require_pin(engine)
            stream.verified_at = kept_at if engine.facts().resumed else begun
        except HandshakeError as error:
            with contextlib.suppress(trio.BrokenResourceError):
                stream.offer_owed()  # the alert
            self._give_up(stream)
            raise UpstreamTLSError(self._upstream, *why_refused(error)) from error
        except trio.BrokenResourceError as error:
            self._give_up(stream)
            why = "it breaks the connection off while TLS begins"
            raise UpstreamTLSError(self._upstream, "tls", why) from error
        except BaseException:
            self._give_up(stream)
            raise
        return stream

    def _require_pin(self, engine: OutwardEngine) -> None:
        if self._terms.pins and (spki := spki_of(engine.peer_der())) not in self._terms.pins:
            why = f"its key is none of those that are pinned; it has {spki}"
            raise UpstreamTLSError(self._upstream, "pin", why)

    def _session(self) -> ssl.SSLSession | None:
        if self._kept is not None and self._now() - self._kept_at > SESSION_KEEP_S:
            self._kept = None
        return self._kept

    def _keep(self, engine: OutwardEngine, verified_at: float) -> None:
        """Keep a session for the next connection; its age is that of the verification that it stands for."""
        oldest = max(self._failed_at, self._now() - SESSION_KEEP_S, self._kept_at if self._kept else -inf)
        session = engine.session if verified_at >= oldest else None
        if session is not None:
            self._kept, self._kept_at = session, verified_at

    def _give_up(self, stream: OutwardStream) -> None:
        self._kept, self._failed_at = None, self._now()
        stream.abort()
