"""Which sockets a listener has, wherever they come from."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
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


@pytest.mark.parametrize("was_first", [True, False])
def test_a_reload_that_moves_tls_elsewhere_in_vain_leaves_a_listener_that_speaks_it(was_first) -> None:
    (group,) = open_listeners("127.0.0.1", 0)
    port = group[0].getsockname()[1]
    here = ListenerConfig(f"127.0.0.1:{port}", "127.0.0.1", port, "http")
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        new = ListenerConfig(f"127.0.0.1:{taken}", "127.0.0.1", taken)
        wanted = [here, new] if was_first else [new, here]
        doors = Doors.open(wanted, 1, handed_over=[Found(here.address, "tls", (group,))])
    assert [(door.config.kind, door.port) for door in doors.doors] == [("tls", port)]
    assert doors.https_port == port
    assert [finding.code for finding in doors.lost] == ["listener_lost"]
    doors.close()


def test_a_plain_listener_that_is_lost_keeps_no_other_from_becoming_what_it_is_to_be() -> None:
    (old,) = open_listeners("127.0.0.1", 0)
    port = old[0].getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        wanted = [
            ListenerConfig("127.0.0.1:0", "127.0.0.1", 0),
            ListenerConfig(f"127.0.0.1:{port}", "127.0.0.1", port, "http"),
            ListenerConfig(f"127.0.0.1:{taken}", "127.0.0.1", taken, "http"),
        ]
        doors = Doors.open(wanted, 1, handed_over=[Found(f"127.0.0.1:{port}", "tls", (old,))])
    assert [door.config.kind for door in doors.doors] == ["tls", "http"]
    doors.close()
