"""What a worker tells of its clients: counters, the access log, and failures; joined for `Site.observer`.

Promises: with the access log off, an exchange is counted and nothing else is called; whatever a flood of
failures does, the supervisor's log gets a few lines a second of it. Refuses to know where events go
(process.py), and how lines are written (observe/).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Literal

import trio

from tlsproxy import policy
from tlsproxy.errors import ClientProtocolError
from tlsproxy.forward.site import ClientFacts, ExchangeRecord, Observer
from tlsproxy.observe.counters import Counters
from tlsproxy.workers.ration import Ration

if TYPE_CHECKING:
    from tlsproxy.observe.access import AccessLog

__all__ = ["Both", "Failures", "Say", "observer_of"]

Say = Callable[[Literal["warning", "error"], str, dict[str, object]], None]


class Failures:
    """Tells of what failed by the upstream's fault or ours, so many of a kind a while; `say` gets events."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._ration = Ration(policy.TELL_MOST, policy.TELL_AGAIN_S)
        self.left_out = 0
        """How many were not told, in all."""

    def exchange(self, record: ExchangeRecord) -> None:
        """Tell of an exchange, if it failed; no query: it may hold secrets."""
        if record.status < 500 or not record.code:
            return

        def facts() -> dict[str, object]:
            path = record.target.partition(b"?")[0][: policy.TELL_PATH_BYTES].decode("ascii", "replace")
            known = {"code": record.code, "status": record.status, "upstream": record.upstream}
            return {**known, "path": path, **({"why": record.detail} if record.detail else {})}

        self._tell("warning", "exchange_failed", (record.code, record.upstream), facts)

    def fault(self, code: str, facts: Callable[[], dict[str, object]]) -> None:
        """Tell of a fault in a connection; `facts` is called only where it is told."""
        self._tell("error", code, code, facts)

    def _tell(
        self,
        level: Literal["warning", "error"],
        event: str,
        kind: Hashable,
        facts: Callable[[], dict[str, object]],
    ) -> None:
        left_out = self._ration.admit(kind, trio.current_time())
        if left_out is None:
            self.left_out += 1
            return
        self._say(level, event, {**facts(), **({"left_out": left_out} if left_out else {})})


class Both:
    """An observer for two: counts, and writes the access log."""

    __slots__ = ("_access", "_counters")

    def __init__(self, counters: Counters, access: AccessLog) -> None:
        self._counters, self._access = counters, access

    def exchange_done(self, record: ExchangeRecord) -> None:
        """Pass it on."""
        self._counters.exchange_done(record)
        self._access.exchange_done(record)

    def request_refused(self, client: ClientFacts, error: ClientProtocolError) -> None:
        """Pass it on."""
        self._counters.request_refused(client, error)
        self._access.request_refused(client, error)

    def connection_ended(self, sock: socket.socket) -> None:
        """Pass it on."""
        self._counters.connection_ended(sock)


def observer_of(counters: Counters, access: AccessLog | None) -> Observer:
    """Give who hears of exchanges: the counters alone where nothing is logged."""
    return counters if access is None else Both(counters, access)
