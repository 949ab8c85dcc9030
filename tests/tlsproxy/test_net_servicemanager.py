"""What a service manager hears of us, and when it hears nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tlsproxy.net.servicemanager import keep_informed, watchdog_s


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


async def test_words_are_said_when_they_change_and_the_watchdog_is_fed_while_all_is_well(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "9000000")
    words, is_well = "generation 1", True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_informed, lambda: words, lambda: is_well)
        await trio.sleep(7)
        assert heard(manager) == ["STATUS=generation 1", *["WATCHDOG=1"] * 3]
        words, is_well = "generation 2", False
        await trio.sleep(60)
        assert heard(manager) == ["STATUS=generation 2"]
        is_well = True
        await trio.sleep(3)
        assert heard(manager) == ["WATCHDOG=1"]
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_only_words_are_said_and_without_a_manager_nothing(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.move_on_after(60):
        await keep_informed(lambda: "generation 1", lambda: True)
    assert heard(manager) == ["STATUS=generation 1"]
    monkeypatch.delenv("NOTIFY_SOCKET")
    await keep_informed(lambda: "generation 1", lambda: True)
    assert heard(manager) == []


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_is_for_the_process_that_it_names(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_s(environment) == seconds
