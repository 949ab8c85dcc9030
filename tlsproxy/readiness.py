"""When a socket can be read: it is registered once for its life, where trio registers it for each wait.

Promises: `Readiness.wait` returns once the socket may have bytes, an end or an error that its reader has not
seen; `notify_closing` wakes whoever waits by this module, as trio's own does for its waits. Refuses to know:
what is read, and how writing is waited for: that happens seldom, and is trio's.

Theory. trio arms epoll anew for each wait, which passes four coroutines, a system call and some objects each
time: a request of 90 us spent 21 in its two waits (measured; here it is 7). So each run has an epoll of its
own, in which a socket stands once, edge-triggered; one task of the run waits for that epoll by trio, and
wakes those that its events are for. A wait alone thereby costs one turn of the loop more, and waits that end
together share it.

An edge is told once, so a reader must never wait for bytes that are there already. Three rules keep it from
that:

- *An edge that nobody waited for is remembered*, and the next wait returns at once.
- *A wait after a read that may have left something returns at once.* A read that found nothing, or brought
  less than was asked for, emptied the socket (epoll(7)); the reader says so of each (`emptied`).
- *An end is remembered for ever*: it may come with the last bytes, in one edge, and no other follows.

A wait that returns for nothing costs a vain read; one that doesn't return would cost the connection. So
whatever is in doubt (a descriptor that is registered again, a waiter woken by `notify_closing` on a socket
that stays open) counts as an edge.
"""

from __future__ import annotations

import select
import socket

import outcome
import trio
from trio.lowlevel import (
    Abort,
    RunVar,
    Task,
    current_task,
    reschedule,
    spawn_system_task,
    wait_readable,
    wait_task_rescheduled,
)
from trio.lowlevel import notify_closing as _notify_writer
from trio.lowlevel import wait_writable as _wait_writable

_EDGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
# Events taken at once; what is left is taken in the next turn.
_BATCH = 256


class Readiness:
    """What one reader of a socket knows of it. One task may wait; two at once are trio.BusyResourceError.

    emptied: whether the last read emptied the socket; the reader sets it.
    """

    __slots__ = ("_ended", "_poller", "_ready", "_sock", "_task", "emptied")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poller: _Poller | None = None  # most short connections never wait for more
        self._task: Task | None = None
        self.emptied = True  # what was there before comes as the first edge
        self._ready = False  # an edge came and nobody has read since
        self._ended = False

    async def wait(self) -> bool:
        """Wait until the socket may have something; say whether that let others run.

        Raises trio.ClosedResourceError for a closed socket, and when woken by `notify_closing`.
        """
        fd = self._sock.fileno()
        if fd < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        if self._poller is None:
            self._poller = _poller_of_this_run()
            self._poller.register(fd, self)
        if self._ready or self._ended or not self.emptied:
            self._ready = False
            self.emptied = True
            return False
        if self._task is not None:
            raise trio.BusyResourceError("another task is already reading from this socket")
        self._task = current_task()
        await wait_task_rescheduled(self._abort)
        return True

    def _abort(self, _raise_cancel: object) -> Abort:
        self._task = None
        return Abort.SUCCEEDED

    def edge(self, flags: int) -> None:
        """Take note of an edge, and wake the reader."""
        if flags & _ENDED:
            self._ended = True
        if self._task is None:
            self._ready = True
        else:
            task, self._task = self._task, None
            reschedule(task)

    def forget(self) -> None:
        """Leave the epoll: the connection lives on in another process, so closing it here would not do."""
        if self._poller is not None:
            self._poller.forget(self._sock.fileno())

    def close(self) -> None:
        """Wake the reader with trio.ClosedResourceError; if the socket stays open, reading can go on."""
        self._ready = True
        if self._task is not None:
            task, self._task = self._task, None
            reschedule(task, outcome.Error(trio.ClosedResourceError("another task closed this fd")))


class _Poller:
    """The epoll of one run, and who reads from what is registered there."""

    __slots__ = ("_epoll", "readers", "writers")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.readers: dict[int, Readiness] = {}  # a closed one stays until its descriptor is used again
        self.writers: dict[int, Task] = {}  # who waits by trio for a descriptor to take bytes

    def register(self, fd: int, reader: Readiness) -> None:
        """Have `reader` told of edges from now on; of what is there already at once."""
        try:
            self._epoll.register(fd, _EDGES)
        except FileExistsError:
            self._epoll.modify(fd, _EDGES)
        self.readers[fd] = reader

    def forget(self, fd: int) -> None:
        """Have nobody told of this descriptor any more."""
        self._epoll.unregister(fd)
        self.readers.pop(fd, None)

    async def run(self) -> None:
        """Pass edges on for as long as the run takes."""
        with self._epoll:
            while True:
                await wait_readable(self._epoll.fileno())
                for fd, flags in self._epoll.poll(0, _BATCH):
                    reader = self.readers.get(fd)  # an edge may have come before it was forgotten
                    if reader is not None:
                        reader.edge(flags)


_poller: RunVar[_Poller] = RunVar("tlsproxy_readiness")


def _poller_of_this_run() -> _Poller:
    try:
        return _poller.get()
    except LookupError:
        poller = _Poller()
        _poller.set(poller)
        spawn_system_task(poller.run)
        return poller


async def wait_writable(sock: socket.socket) -> None:
    """Wait until `sock` takes bytes; one task at a time. Raises as `Readiness.wait`."""
    fd, task, writers = sock.fileno(), current_task(), _poller_of_this_run().writers
    if fd < 0:
        raise trio.ClosedResourceError("this socket was already closed")
    writers[fd] = task
    try:
        await _wait_writable(fd)
    finally:
        if (
            writers.get(fd) is task
        ):  # woken because it closes, the next socket may have its descriptor already
            del writers[fd]


def notify_closing(sock: socket.socket) -> None:
    """Wake whoever waits for `sock` by this module: they see trio.ClosedResourceError."""
    try:
        poller = _poller.get()
    except LookupError:  # nobody has waited yet
        return
    fd = sock.fileno()
    if poller.writers.pop(fd, None) is not None:  # else trio would look for it in its epoll in vain: 5 us
        _notify_writer(fd)
    reader = poller.readers.get(fd)
    if reader is not None:
        reader.close()
