"""The workers of the image before: after a reload they are ours, and go on serving."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from tlsproxy.handover import HandedOver
from tlsproxy.workers.channel import Channel
from tlsproxy.workers.protocol import MAX_WORD_BYTES, FromWorker, decode_from_worker
from tlsproxy.workers.remote import Place, RemoteWorker, Stage

__all__ = ["workers_before"]


def workers_before(before: HandedOver | None) -> list[RemoteWorker]:
    """Take charge of the workers of the image before; inside trio.run."""
    found = []
    for state in before.workers if before is not None else ():
        channel: Channel[FromWorker] = Channel(
            socket.socket(fileno=state.channel_fd),
            decode_from_worker,
            unread=state.unread,
            unsent=state.unsent,
            most_bytes=MAX_WORD_BYTES,
        )
        worker = RemoteWorker(Place(state.seat, state.epoch), state.pid, channel, _reaper(state.pid))
        worker.leave(Stage(state.stage))
        worker.connections, worker.counts, worker.names = state.connections, state.counts, state.names
        found.append(worker)
    return found


def _reaper(pid: int) -> Callable[[], int]:
    def reap() -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return reap
