"""Who stands before an upstream that may be down: lets requests through, or says at once when to come again.

Promises: a request is refused only while a check has said lately that the upstream is down, or while this
worker's own requests to it fail; open connections are never touched. A client that leaves, a 4xx and a
shortage of our own say nothing about an upstream. Refuses to know who checks (tlsproxy/upstreams.py), how
(probe.py), sockets, and when a breaker opens (breaker.py).

Theory. Two witnesses, who are asked in this order. The *check* is made by the supervisor, one for all
workers; what it says holds for a while only, so that a supervisor that stands still locks nobody out. The
*breaker* belongs to one worker, and acts without asking anybody: the next request of the same worker is
answered at once. A check that passes doesn't close a breaker: a health page may be fine while everything else
fails.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import inf

from tlsproxy import policy_health as policy
from tlsproxy.errors import UpstreamDownError, UpstreamError
from tlsproxy.upstream.breaker import Breaker, Leave, retry_after
from tlsproxy.upstream.streak import is_among

__all__ = ["SHORTAGES", "Checked", "Circuit", "Guard", "Guards", "Visit"]

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""What an OSError says where we lack something, and the upstream is not to blame."""


class Checked:
    """What the check of an upstream has said last, and until when that holds."""

    __slots__ = ("_holds_until", "_up_at")

    def __init__(self) -> None:
        self._holds_until = self._up_at = -inf

    def note(self, now: float, retry_s: float, holds_s: float) -> None:
        """Take it for down for `holds_s`, likely up in `retry_s`; 0 and 0: it is up."""
        self._up_at, self._holds_until = now + retry_s, now + holds_s

    def wait_s(self, now: float) -> float:
        """Say in how long it may be up; 0 while it is."""
        return max(self._up_at - now, 1.0) if now < self._holds_until else 0.0


class Circuit:
    """The breaker of one upstream in this worker, shared by all guards before it. `tell` hears of changes.

    statuses: as configured, those answers that count as failures. tell: gets what has failed, "" for closed.
    """

    __slots__ = ("_breaker", "_now", "_statuses", "_tell")

    def __init__(
        self,
        breaker: Breaker,
        statuses: Collection[str],
        now: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._breaker, self._statuses, self._now, self._tell = breaker, statuses, now, tell

    def wait_s(self) -> float:
        """Say in how long somebody will be let through."""
        return self._breaker.wait_s(self._now())

    def enter(self) -> Visit | None:
        """Let a request through; None where it isn't."""
        leave = self._breaker.admit(self._now())
        return None if leave is None else Visit(self, leave)

    def answered(self, leave: Leave, status: int) -> None:
        """Take note of an answer's head."""
        if self._statuses and is_among(status, self._statuses):
            self.failed(leave, "status")
        elif self._breaker.succeeded(leave):
            self._tell("")

    def failed(self, leave: Leave, kind: str) -> None:
        """Take note that there was none."""
        if self._breaker.failed(leave, self._now()):
            self._tell(kind)

    def returned(self, leave: Leave) -> None:
        """Take note that nothing was learned."""
        self._breaker.returned(leave, self._now())


class Visit:
    """One request that was let through: tell what came of it, the first word counts, and `close` it."""

    __slots__ = ("_circuit", "_leave")

    def __init__(self, circuit: Circuit, leave: Leave) -> None:
        self._circuit = circuit
        self._leave: Leave | None = leave

    def answered(self, status: int) -> None:
        """The upstream has sent the head of a final response."""
        if (leave := self._spent()) is not None:
            self._circuit.answered(leave, status)

    def failed(self, error: UpstreamError, *, late: bool) -> None:
        """It hasn't. `late`: it took too long; else a connection of the pool that broke was only stale."""
        cause = error.__cause__
        if (isinstance(cause, OSError) and cause.errno in SHORTAGES) or (error.reused and not late):
            return
        if (leave := self._spent()) is not None:
            self._circuit.failed(leave, _kind_of(error, late=late))

    def close(self) -> None:
        """It is over; who told nothing has learned nothing."""
        if (leave := self._spent()) is not None:
            self._circuit.returned(leave)

    def _spent(self) -> Leave | None:
        leave, self._leave = self._leave, None
        return leave


def _kind_of(error: UpstreamError, *, late: bool) -> str:
    if late or error.status == 504:
        return "timeout"
    return {"connect": "unreachable", "tls": "tls"}.get(error.phase, "broken")


@dataclass(frozen=True, slots=True)
class Guard:
    """Stands before the upstream of one route. spread: gives chance, from 0 to 1."""

    upstream: str
    checked: Checked | None
    circuit: Circuit | None
    now: Callable[[], float]
    spread: Callable[[], float]

    def look(self) -> None:
        """See whether a request would be let through now. Raises UpstreamDownError."""
        self._ask_check()
        if self.circuit is not None and (wait := self.circuit.wait_s()):
            raise self._refusal(wait)

    def enter(self) -> Visit | None:
        """Let a request through; gives what wants to know its outcome, None where nobody does.

        Raises UpstreamDownError.
        """
        self._ask_check()
        if self.circuit is None:
            return None
        visit = self.circuit.enter()
        if visit is None:
            raise self._refusal(self.circuit.wait_s())
        return visit

    def _ask_check(self) -> None:
        if self.checked is not None and (wait := self.checked.wait_s(self.now())):
            raise self._refusal(wait)

    def _refusal(self, wait_s: float) -> UpstreamDownError:
        return UpstreamDownError(self.upstream, retry_after(wait_s, policy.RETRY_SPREAD * self.spread()))


@dataclass(frozen=True, slots=True)
class Guards:
    """All guards of a worker by their routes' paths, and where it is noted what checks say."""

    by_route: Mapping[str, Guard]
    now: Callable[[], float]
    checked: Mapping[tuple[str, str], Checked] = field(default_factory=dict)
    """By upstream and the path that is asked for."""

    def note(self, upstream: str, path: str, retry_s: float, holds_s: float) -> None:
        """Take what a check says (`Checked.note`); of one that we don't have it is passed by."""
        if (one := self.checked.get((upstream, path))) is not None:
            one.note(self.now(), retry_s, holds_s)
