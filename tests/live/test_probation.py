"""A change on probation in a real proxy: it goes back by itself, over a reload, a kill and a reboot."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from certstore import Bundle
from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config

DEADLINE_S = 120


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[Path]:
    async with http_service() as port:
        yield write_config(tmp_path, {"/": f"http://127.0.0.1:{port}"})


def written(folder: Path, name: str, issued: Any) -> tuple[Path, Bundle]:
    """Write a certificate with its key into one file."""
    path = folder / f"{name}.pem"
    path.write_bytes(issued.chain_pem + issued.key_pem)
    return path, issued.bundle()


async def command(proxy: Proxy, *words: str) -> dict[str, Any]:
    done = await tlsproxy("certs", *words, "--store", str(proxy.store), "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


async def served(proxy: Proxy) -> str:
    async with Client.to(proxy.port) as client:
        return client.fingerprint


async def state_of(proxy: Proxy, receipt: str) -> str:
    history = await command(proxy, "history")
    return next(str(one["state"]) for one in history["receipts"] if one["id"] == receipt)


@asynccontextmanager
async def on_probation(
    config: Path, pki: Any, seconds: int
) -> AsyncIterator[tuple[Proxy, Bundle, Bundle, str]]:
    """Run a proxy with a confirmed certificate, and another one on probation."""
    first, old = written(config.parent, "old", pki.leaf())
    second, new = written(config.parent, "new", pki.leaf())
    async with running(config, killed=True) as proxy:
        await command(proxy, "import", str(first))
        receipt = await command(proxy, "import", str(second), "--confirm-within", str(seconds))
        assert receipt["state"] == "live"
        yield proxy, old, new, str(receipt["id"])


async def test_what_nobody_confirms_is_gone_again_and_a_connection_made_meanwhile_lives_on(
    config: Path, pki: Any
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with on_probation(config, pki, 3) as (proxy, old, new, receipt):
            async with Client.to(proxy.port) as client:
                assert client.fingerprint == new.fingerprint
                line = await proxy.wait_log("receipt", id=receipt, state="rolled_back")
                assert line["codes"][-1] == "probation_over"
                assert (await client.get("/")).status == 200
            assert await served(proxy) == old.fingerprint


async def test_what_is_confirmed_stays(config: Path, pki: Any) -> None:
    with trio.fail_after(DEADLINE_S):
        async with on_probation(config, pki, 600) as (proxy, _, new, receipt):
            assert (await command(proxy, "confirm"))["state"] == "confirmed"
            assert await state_of(proxy, receipt) == "confirmed"
            assert await served(proxy) == new.fingerprint


@pytest.mark.parametrize("seconds", [8, 600])
async def test_a_supervisor_that_is_executed_anew_goes_on_keeping_the_time(
    config: Path, pki: Any, seconds: int
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with on_probation(config, pki, seconds) as (proxy, old, new, receipt):
            since = len(proxy.log)
            proxy.process.send_signal(signal.SIGHUP)
            await proxy.wait_log("reloaded", since=since)
            if seconds == 600:
                assert await state_of(proxy, receipt) == "live"
                assert await served(proxy) == new.fingerprint
                await command(proxy, "rollback")
            else:
                await proxy.wait_log("receipt", id=receipt, state="rolled_back")
            assert await state_of(proxy, receipt) == "rolled_back"
            assert await served(proxy) == old.fingerprint


@pytest.mark.parametrize("rebooted", [False, True], ids=["killed", "rebooted"])
async def test_killed_in_probation_only_a_reboot_brings_the_confirmed_one_back(
    config: Path, pki: Any, *, rebooted: bool
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with on_probation(config, pki, 600) as (proxy, old, new, receipt):
            proxy.process.kill()
            await proxy.process.wait()
        if rebooted:  # what the file says was another boot
            path = trio.Path(proxy.store / "probation.json")
            record = json.loads(await path.read_bytes())
            record["changes"][0]["boot"] = "00000000-0000-0000-0000-000000000000"
            await path.write_text(json.dumps(record))
        async with running(config, killed=True) as proxy:
            first = await served(proxy)
            assert first == (old.fingerprint if rebooted else new.fingerprint)
            assert await state_of(proxy, receipt) == ("rolled_back" if rebooted else "live")
            if rebooted:
                line = await proxy.wait_log("receipt", id=receipt)
                assert (line["state"], line["codes"][-1]) == ("rolled_back", "probation_rebooted")
