"""The composition root in this process: how everything that it opened ends."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.forwarding import OK
from tests.live.https_client import Client
from tlsproxy import app
from tlsproxy.config import Config
from tlsproxy.config.arguments import from_arguments
from tlsproxy.errors import ControlError


def config_for(folder: Path, upstream: str = "http://127.0.0.1:9") -> Config:
    return from_arguments(["127.0.0.1:0"], [upstream], folder / "store")


async def test_the_end_closes_idle_connections_to_upstreams(tmp_path: Path, nursery: trio.Nursery) -> None:
    ended = trio.Event()

    async def answer_then_wait(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(OK)
        assert await stream.receive_some() == b""
        ended.set()

    with trio.fail_after(30):
        (upstream,) = await nursery.start(partial(trio.serve_tcp, answer_then_wait, 0, host="127.0.0.1"))
        port = upstream.socket.getsockname()[1]
        async with trio.open_nursery() as running:
            (served,) = await running.start(app.run, config_for(tmp_path, f"http://127.0.0.1:{port}"))
            async with Client.to(served.port) as client:
                assert (await client.get("/")).status == 200
            assert not ended.is_set()
            running.cancel_scope.cancel()
        await ended.wait()
        nursery.cancel_scope.cancel()


async def test_who_asks_for_the_end_as_soon_as_it_serves_gets_an_orderly_one(tmp_path: Path) -> None:
    class Impatient:
        def started(self, _value: object = None) -> None:
            signal.raise_signal(signal.SIGTERM)

    with trio.fail_after(30):
        await app.run(config_for(tmp_path), task_status=Impatient())


async def test_a_control_socket_that_cannot_be_had_ends_all_that_was_begun(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    config.control_socket.mkdir(parents=True)
    config.store.chmod(0o700)
    with trio.fail_after(30), pytest.raises(ExceptionGroup) as caught:
        await app.run(config)
    assert caught.group_contains(ControlError)
    config.control_socket.rmdir()
    with trio.fail_after(30):
        async with trio.open_nursery() as again:  # nothing holds the store any more
            await again.start(app.run, config)
            again.cancel_scope.cancel()
