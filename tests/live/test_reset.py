"""A factory reset of a real proxy, and a store that was copied to another unit, with clients about."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config

DEADLINE_S = 120


@pytest.fixture
async def upstream() -> AsyncIterator[int]:
    async with http_service() as port:
        yield port


async def served(proxy: Proxy) -> str:
    async with Client.to(proxy.port) as client:
        assert (await client.get("/")).status == 200
        return client.fingerprint


async def command(proxy: Proxy, *words: str) -> Any:
    done = await tlsproxy(*words, "--store", str(proxy.store), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(path: Path, issued: Any) -> Path:
    path.write_bytes(issued.chain_pem + issued.key_pem)
    return path


async def test_a_reset_while_it_serves_takes_the_customers_away_and_certbot_doesnt_bring_it_back(
    tmp_path: Path, pki: Any, upstream: int
) -> None:
    folder = tmp_path / "certbot"
    folder.mkdir()
    config = write_config(
        tmp_path, {"/": f"http://127.0.0.1:{upstream}"}, more=f'[[watch]]\npath = "{folder}"'
    )
    issued = pki.leaf()
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            first = await served(proxy)
            written(folder / "all.pem", issued)
            await proxy.wait_log("receipt", via=f"watch:{folder}", state="confirmed")
            assert await served(proxy) == issued.bundle().fingerprint
            (proxy.inbox / "left.txt").write_text("something")
            async with Client.to(proxy.port) as former:
                assert (await former.get("/")).status == 200
                receipt = await command(proxy, "reset", "--yes")
                assert (receipt["state"], receipt["running"]) == ("confirmed", True)
                assert await former.is_at_end(), "it was made with the former owner's certificate"
            second = await served(proxy)
            assert second not in {first, issued.bundle().fingerprint}
            assert list(proxy.inbox.iterdir()) == []
            written(folder / "all.pem", issued)
            await proxy.wait_log("finding", code="watch_suspended")
            proxy.process.send_signal(signal.SIGHUP)
            await proxy.wait_log("reloaded")
            assert await served(proxy) == second  # a reload enables nothing
            since = len(proxy.log)
            await command(proxy, "watches", "enable")
            await proxy.wait_log("receipt", since=since, via=f"watch:{folder}", state="confirmed")
            assert await served(proxy) == issued.bundle().fingerprint
        keys = b"".join(path.read_bytes() for path in proxy.store.rglob("key.pem"))
        assert keys.count(b"BEGIN") == 2  # the new one of its own, and the one that was brought again


async def test_a_proxy_killed_behind_the_point_of_no_return_starts_with_the_reset_completed(
    tmp_path: Path, pki: Any, upstream: int
) -> None:
    config = write_config(tmp_path, {"/": f"http://127.0.0.1:{upstream}"})
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            await proxy.certs_import(written(tmp_path / "mine.pem", pki.leaf()))
        before = shutil.copytree(proxy.store, tmp_path / "before")
        done = await command(proxy, "reset", "--yes")
        # as it lies on the disk when the power fails right behind the rename
        for name in ("bundles", "receipts", "generations"):
            shutil.copytree(before / name, proxy.store / name, dirs_exist_ok=True)
        inbox = str(proxy.inbox)
        record = {"receipt": done["id"], "generation": done["generation"], "scopes": ["customer", "identity"]}
        (proxy.store / "reset.json").write_text(json.dumps({**record, "beside": [inbox]}))
        (proxy.inbox / "left.pem").write_text("something")
        async with running(config) as proxy:
            await proxy.wait_log("finding", code="reset_completed")
            assert list(proxy.inbox.iterdir()) == []
            assert len(list((proxy.store / "bundles").iterdir())) == 1
            await served(proxy)


async def test_a_store_that_was_copied_to_another_unit_gets_a_key_of_its_own_before_anybody_is_served(
    tmp_path: Path, pki: Any, upstream: int
) -> None:
    (tmp_path / "hardware-id").write_text("unit a\n")
    config = write_config(tmp_path, {"/": f"http://127.0.0.1:{upstream}"})
    config.write_text(
        config.read_text().replace("[identity]", '[identity]\nhardware_id_file = "hardware-id"')
    )
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            first = await served(proxy)
        async with running(config) as proxy:
            assert await served(proxy) == first  # the same unit
            mine = pki.leaf(names=("mine.test",))
            await proxy.certs_import(written(tmp_path / "mine.pem", mine))
        (tmp_path / "hardware-id").write_text("unit b\n")
        async with running(config) as proxy:
            copied = [line for line in proxy.log if line.get("code") == "cloned_image"]
            assert copied, "it is told before it serves"
            async with Client.to(proxy.port, server_name="device.test") as client:
                assert client.fingerprint != first
            async with Client.to(proxy.port, server_name="mine.test") as client:
                assert client.fingerprint == mine.bundle().fingerprint
            done = await tlsproxy("status", "--json", "--store", str(proxy.store))
            assert done.returncode == 0, done.stderr
            await proxy.wait_log("finding", code="foreign_keys")
