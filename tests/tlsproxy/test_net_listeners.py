"""Listening sockets: groups that share a port, and nobody else's port taken by mistake."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tlsproxy.errors import ListenError
from tlsproxy.net.inherited import matching, take_inherited
from tlsproxy.net.listeners import Group, open_listeners, widen


@contextmanager
def opened(groups: list[Group]) -> Iterator[list[Group]]:
    try:
        yield groups
    finally:
        for group in groups:
            for sock in group:
                sock.close()


def port_of(group: Group) -> int:
    port: int = group[0].getsockname()[1]
    return port


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket()
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def accepted(sock: socket.socket) -> int:
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_the_sockets_of_a_group_share_a_port_and_its_connections() -> None:
    with opened(open_listeners("127.0.0.1", 0, 2)) as [group]:
        assert len({sock.getsockname() for sock in group}) == 1
        clients = [connect(port_of(group), f"127.0.{n % 8}.{n + 1}") for n in range(200)]
        counts = [accepted(sock) for sock in group]
        for client in clients:
            client.close()
        assert sum(counts) == 200
        assert min(counts) >= 200 * 0.35


def test_a_group_that_is_in_use_by_another_proxy_of_the_same_user_is_taken() -> None:
    with opened(open_listeners("127.0.0.1", 0, 2)) as [group], pytest.raises(ListenError) as caught:
        open_listeners("127.0.0.1", port_of(group), 2)
    assert "another program listens there" in str(caught.value)


def test_a_group_can_be_widened_and_stays_where_it_is() -> None:
    with opened(open_listeners("127.0.0.1", 0)) as [group]:
        wide = widen(group, 3)
        with opened([wide[1:]]):
            assert wide[0] is group[0]
            assert [sock.getsockname() for sock in wide] == [group[0].getsockname()] * 3
            assert widen(wide, 2) == wide


def test_a_name_with_several_addresses_has_a_group_on_each_with_one_port() -> None:
    with opened(open_listeners("localhost", 0, 2)) as groups:
        assert len({port_of(group) for group in groups}) == 1
        assert all(len(group) == 2 for group in groups)


def test_a_single_socket_of_systemd_stays_single() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        assert widen((sock,), 4) == (sock,)


def test_descriptors_meant_for_another_process_are_not_taken() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "HOME": "/"}
    assert take_inherited(environment) == []
    assert environment == {"HOME": "/"}


def test_without_a_service_manager_nothing_is_taken() -> None:
    assert take_inherited({"LISTEN_PID": str(os.getpid())}) == []
    assert take_inherited({}) == []


def test_an_address_of_all_interfaces_matches_either_way_of_writing_it() -> None:
    with opened(open_listeners("*", 0)) as [group]:
        assert matching(("::", port_of(group)), group) == group
        assert matching(("0.0.0.0", port_of(group)), group) == group
        assert matching(("127.0.0.1", port_of(group)), group) == ()
        assert matching(("::", 1), group) == ()
