"""Clients of the control socket that leave half-way, or never leave: they hurt nobody but themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.tlsproxy.test_control_server import House, asked
from tlsproxy import policy
from tlsproxy.control import server
from tlsproxy.control.client import Client
from tlsproxy.errors import ControlError

HALF = b"POST /v1/candidates HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf"


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Path]:
    path = folder / "control.sock"
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: server.run(path, House(), task_status=task_status))
            yield path
            nursery.cancel_scope.cancel()


async def test_clients_that_leave_in_the_middle_of_a_body_end_nobody_elses_connection(
    tmp_path: Path, capsys
) -> None:
    async with serving(tmp_path) as path:
        for _ in range(3):
            streams = [await trio.open_unix_socket(path) for _ in range(20)]
            for stream in streams:
                await stream.send_all(HALF)
            await asked(path, Client.status)  # by now all of them are being served
            for stream in streams:
                await stream.aclose()
        await asked(path, Client.status)
    assert "control_fault" not in capsys.readouterr().err


async def test_those_beyond_the_limit_are_closed_at_once_and_served_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "CONTROL_CONNECTIONS", 3)
    async with serving(tmp_path) as path:
        async with AsyncExitStack() as held:
            for _ in range(3):
                stream = await held.enter_async_context(await trio.open_unix_socket(path))
                await stream.send_all(HALF)
            one_more = await held.enter_async_context(await trio.open_unix_socket(path))
            assert await one_more.receive_some() == b""
            with pytest.raises(ControlError):
                await asked(path, Client.status)
        while True:  # until they are noticed to be gone
            try:
                await asked(path, Client.status)
                break
            except ControlError:
                continue
