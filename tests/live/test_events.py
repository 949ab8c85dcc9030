"""Events of a whole proxy: a follower misses nothing and gets nothing twice, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.pki import Pki

DEADLINE_S = 120


@asynccontextmanager
async def following(proxy: Proxy, *words: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Run `tlsproxy events --json` while the block runs; what it has written so far."""
    command = [sys.executable, "-m", "tlsproxy", "events", "--json", "--store", str(proxy.store), *words]
    got: list[dict[str, Any]] = []

    async def read(process: trio.Process) -> None:
        rest = b""
        assert process.stdout is not None
        async for data in process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            got.extend(json.loads(line) for line in lines)

    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(run)
        nursery.start_soon(read, process)
        yield got
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        nursery.cancel_scope.cancel()


async def told(got: list[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    """Wait until an event with these facts was told."""
    while True:
        for event in got:
            if facts.items() <= event.items():
                return event
        await trio.sleep(0.01)


async def test_each_event_is_told_once_in_order_over_reloads_and_deaths(tmp_path: Path, pki: Pki) -> None:
    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 2")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy, following(proxy, "--after", "0") as got:
            await told(got, kind="receipt", via="identity")
            for epoch in (2, 3):
                issued = pki.leaf()
                cert.write_bytes(issued.chain_pem)
                key.write_bytes(issued.key_pem)
                receipt = await proxy.certs_import(cert, key)
                await told(got, kind="receipt", id=receipt["id"], state="confirmed")
                await told(got, kind="generation", generation=receipt["generation"])
                assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
                await told(got, kind="reload", state="done", epoch=epoch)
            workers = [one for one in (await proxy.status())["workers"] if one["stage"] == "accepting"]
            os.kill(workers[0]["pid"], signal.SIGKILL)
            await told(got, kind="worker", pid=workers[0]["pid"], state="ended", exit_code=-9)
            await told(got, kind="worker", seat=workers[0]["seat"], epoch=3, state="accepting")
            (proxy.inbox / "bad.pem").write_bytes(b"nonsense" * 99)
            await told(got, kind="receipt", via="inbox", state="refused")
            assert [event["number"] for event in got] == list(range(1, len(got) + 1))
            assert len({event["stream"] for event in got}) == 1
            # who was away meanwhile gets the same
            middle = len(got) // 2
            async with following(proxy, "--after", str(middle), "--stream", got[0]["stream"]) as later:
                await told(later, number=len(got))
                assert later[: len(got) - middle] == got[middle:]


async def test_a_restart_is_told_as_a_loss_and_followed_on(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy, following(proxy, "--after", "0") as got:
            await told(got, kind="worker", state="accepting")
            proxy.process.send_signal(signal.SIGTERM)
            await proxy.process.wait()
            async with running(config):
                lost = await told(got, kind="lost", count=None)
                await told(got, stream=lost["stream"], number=1)


async def test_connections_are_counted_by_the_generation_that_they_were_made_with(
    tmp_path: Path, pki: Pki
) -> None:
    from tests.live.https_client import Client
    from tlsproxy.control.client import Client as Asking

    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def counted(path: Path) -> Any:
        with Asking(path) as client:
            return client._ask("GET", "/v1/connections")

    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy, Client.to(proxy.port):
            before = (await proxy.status())["generation"]
            issued = pki.leaf()
            cert.write_bytes(issued.chain_pem)
            key.write_bytes(issued.key_pem)
            after = (await proxy.certs_import(cert, key))["generation"]
            async with Client.to(proxy.port), Client.to(proxy.port):
                expected = [
                    {"generation": after, "connections": 2},
                    {"generation": before, "connections": 1},
                ]
                path = proxy.store / "run" / "control.sock"
                while (found := await trio.to_thread.run_sync(counted, path))["generations"] != expected:  # noqa: ASYNC110
                    await trio.sleep(0.05)  # until the next heartbeat
                assert (found["open"], found["greeting"]) == (3, 0)
