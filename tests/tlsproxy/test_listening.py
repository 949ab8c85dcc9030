"""Which sockets a listener has, wherever they come from."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from tlsproxy.config.values import ListenerConfig
from tlsproxy.listening import Doors, Found
from tlsproxy.net.listeners import open_listeners


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing more while the block runs."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_reload_to_more_workers_for_which_no_sockets_are_left_shares_those_that_are_there() -> None:
    (group,) = open_listeners("127.0.0.1", 0)
    listener = ListenerConfig("127.0.0.1:0", "127.0.0.1", 0)
    found = Found(listener.address, listener.kind, (group,))
    with structlog.testing.capture_logs() as log, no_descriptor_left():
        doors = Doors.open([listener], 4, handed_over=[found])
    assert doors.doors[0].groups == (group,)
    assert [line["event"] for line in log] == ["sockets_shared"]
    doors.close()
