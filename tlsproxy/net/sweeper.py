"""The sweeper: one loop for every deadline and every hang-up, so that no request needs a timer of its own.

Promises: within `policy.SWEEP_S` after its deadline each registered thing has `expire()` called once per
sweep, and each one that asks for it learns that its peer hung up (`hung_up()`). Refuses to know what an
expiry means: the owner wakes its own waiter (`readiness.notify_closing(sock)`, after which the waiter
sees trio.ClosedResourceError) and keeps a flag that says why.

Theory. A cancel scope with a deadline costs some microseconds to enter and leave, and a request would need
several; a sweep costs 0.2 us for each connection that watches nobody, once a second. The price is a
deadline that is only as exact as the sweep; `after()` rounds up, so nothing is ever ended early. The
hang-up is looked for by one poll(2) with POLLRDHUP over the sockets of requests in flight, because nobody
reads from a client whose request is complete: without it, a closed browser tab would keep an upstream
computing to its end. A client that shuts down its writing side after its request looks the same, and is
treated the same (DESIGN section 4).
"""

from __future__ import annotations

import select
from typing import Protocol

import trio

from tlsproxy import policy

NEVER = float("inf")
"""The deadline of what may take for ever."""


class Overdue(Protocol):
    """What the sweeper looks after. Its methods are called from the sweep: they must not raise or block."""

    @property
    def deadline(self) -> float:
        """The trio time after which it is overdue, NEVER for none."""
        ...

    @property
    def watch_fd(self) -> int:
        """The descriptor whose peer may hang up; -1 while nobody need look."""
        ...

    def expire(self) -> None:
        """The deadline has passed; called again at each sweep until it is moved."""
        ...

    def hung_up(self) -> None:
        """The peer behind `watch_fd` has ended its side, or is gone; called at each sweep until it is -1."""
        ...


class Sweeper:
    """Looks once a second at everything registered. Make it inside trio.run; `run` ends by cancellation."""

    __slots__ = ("_things", "now")

    def __init__(self) -> None:
        self._things: set[Overdue] = set()
        self.now = trio.current_time()
        """The trio time of the last sweep: exact enough for deadlines, and it costs nothing to read."""

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: Overdue) -> None:
        """Look after `thing` from the next sweep on."""
        self._things.add(thing)

    def discard(self, thing: Overdue) -> None:
        """Forget `thing`; it need not be there."""
        self._things.discard(thing)

    def after(self, seconds: float) -> float:
        """Return the deadline that lies at least `seconds` ahead, and at most two sweeps more."""
        return self.now + seconds + policy.SWEEP_S

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sweep for ever."""
        task_status.started()
        while True:
            self.sweep(trio.current_time())
            await trio.sleep(policy.SWEEP_S)

    def sweep(self, now: float) -> None:
        """Look once at everything, at trio time `now`."""
        self.now = now
        watched: dict[int, Overdue] = {}
        for thing in tuple(self._things):
            if thing.deadline < now:
                thing.expire()
            elif (fd := thing.watch_fd) >= 0:
                watched[fd] = thing
        if watched:
            _tell_hung_up(watched)


def _tell_hung_up(watched: dict[int, Overdue]) -> None:
    poll = select.poll()
    for fd in watched:
        poll.register(fd, select.POLLRDHUP)  # HUP and ERR are told unasked
    for fd, _events in poll.poll(0):
        # an earlier hung_up() of this very sweep may have ended this one: it then watches nothing any more
        thing = watched[fd]
        if thing.watch_fd == fd:
            thing.hung_up()
