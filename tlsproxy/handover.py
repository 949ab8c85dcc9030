"""What a supervisor hands over to itself when it is executed anew: descriptors, workers, and a few facts.

Promises: the state is one versioned value; it goes over in a memfd whose descriptor the new image finds in
its environment. Descriptors outlive the exec because they are made inheritable just before it, and are not
any more just after. Refuses to know why a reload is made, and whether it may be (reload.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from datetime import datetime

import msgspec

from tlsproxy.errors import ReloadError
from tlsproxy.notify.helper import HelperState
from tlsproxy.observe.events import EventsState
from tlsproxy.observe.upstreams import UpstreamStatus
from tlsproxy.privilege.supervisor import Kept
from tlsproxy.workers.messages import Counts
from tlsproxy.workers.testimony import Names

__all__ = ["ENVIRONMENT", "DoorState", "HandedOver", "WorkerState", "receive", "write"]

ENVIRONMENT = "TLSPROXY_HANDOVER"
_VERSION = 1


class WorkerState(msgspec.Struct, frozen=True):
    """A worker that is not reaped yet.

    stage: as in workers.remote.Stage. unread, unsent: as in Channel. counts: what it has said last that it
    counted; names: what it may count by, as in workers.testimony.
    """

    pid: int
    seat: int
    epoch: int
    stage: int
    channel_fd: int
    connections: int
    unread: bytes = b""
    unsent: bytes = b""
    counts: Counts | None = None
    names: Names = Names()


class DoorState(msgspec.Struct, frozen=True):
    """A listener as it was configured, and the descriptors of each of its groups."""

    address: str
    kind: str
    groups: list[list[int]]


class HandedOver(msgspec.Struct, frozen=True):
    """The state of the image before.

    epoch: how many images there were, that one included. store, runtime: what can't change without a restart.
    control_fd: -1 where there was no control socket.
    kept: how the process is confined, which an exec doesn't change.
    events: what followers were told, None where the image before knew no events.
    sums: what was counted by those who are gone, which must never go back; asked, strict, refused: of
    clients (observe/clientele.py).
    helper: who runs hooks, None where there are none, or none lives just now; told: the number of the last
    event that was looked at for hooks, -1 for none. upstreams: which are watched, and how they were.
    """

    version: int
    epoch: int
    since: datetime
    store: str
    runtime: str
    doors: list[DoorState]
    lock_fd: int
    control_fd: int
    memory_fd: int
    workers: list[WorkerState]
    kept: Kept | None = None
    events: EventsState | None = None
    sums: list[tuple[tuple[str, ...], float]] = []
    helper: HelperState | None = None
    told: int = -1
    upstreams: list[UpstreamStatus] = []
    asked: list[tuple[str, float]] = []
    strict: list[tuple[str, bool]] = []
    refused: list[tuple[tuple[str, str], float]] = []

    def descriptors(self) -> Iterable[int]:
        """Give all that must outlive the exec."""
        yield from (self.lock_fd, self.memory_fd)
        if self.control_fd >= 0:
            yield self.control_fd
        if self.helper is not None:
            yield self.helper.fd
        yield from (worker.channel_fd for worker in self.workers)
        yield from (fd for door in self.doors for group in door.groups for fd in group)


def make(**facts: object) -> HandedOver:
    """Make a state of this version."""
    return msgspec.convert({"version": _VERSION, **facts}, HandedOver)


def write(state: HandedOver) -> int:
    """Write a state into a memfd; the caller closes it. Raises OSError."""
    fd = os.memfd_create("tlsproxy-handover", os.MFD_CLOEXEC)
    rest = memoryview(msgspec.json.encode(state))
    try:
        while rest:  # memory may be short: half a state would end the new image
            rest = rest[os.write(fd, rest) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def read(fd: int) -> HandedOver:
    """Read a state. Raises ReloadError where it is of a version that we don't know."""
    try:
        state = msgspec.json.decode(os.pread(fd, os.fstat(fd).st_size, 0), type=HandedOver)
    except (msgspec.DecodeError, OSError) as error:
        raise ReloadError(f"the state of the running proxy can't be read: {error}", _RESTART) from error
    if state.version != _VERSION:
        raise ReloadError(
            f"the state of the running proxy has version {state.version}, not {_VERSION}", _RESTART
        )
    return state


def receive(environment: MutableMapping[str, str]) -> HandedOver | None:
    """Take what was handed over to this process, which is then told of it no more; None at a first start."""
    named = environment.pop(ENVIRONMENT, "")
    if not named.isdigit():
        return None
    fd = int(named)
    try:
        state = read(fd)
    finally:
        with suppress(OSError):
            os.close(fd)
    set_inheritable(state.descriptors(), inheritable=False)
    return state


def named(fd: int) -> Mapping[str, str]:
    """Give the environment's entry for a state in `fd`."""
    return {ENVIRONMENT: str(fd)}


def set_inheritable(descriptors: Iterable[int], *, inheritable: bool) -> None:
    """Let descriptors outlive an exec, or not."""
    for fd in descriptors:
        os.set_inheritable(fd, inheritable)


_RESTART = "restart the service instead: connections that are open end then"
