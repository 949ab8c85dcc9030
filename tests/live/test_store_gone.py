"""The store's folder is taken away under the running proxy: an unmounted disk, a hand that slipped."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config

DEADLINE_S = 120


async def answers(proxy: Proxy, wanted: str) -> None:
    async with Client.to(proxy.port) as client:
        assert (await client.get("/")).status == 200
        assert client.fingerprint == wanted


async def import_of(file: Path, config: Path) -> dict[str, object]:
    done = await tlsproxy("certs", "import", str(file), "--config", str(config), "--json")
    receipt: dict[str, object] = json.loads(done.stdout)
    return receipt


async def reload(proxy: Proxy, event: str) -> dict[str, object]:
    since = len(proxy.log)
    proxy.process.send_signal(signal.SIGHUP)
    return await proxy.wait_log(event, since=since)


@pytest.mark.parametrize("instead", ["nothing", "an empty folder"])
async def test_it_serves_on_refuses_every_change_and_goes_on_when_the_folder_is_back(
    tmp_path: Path, pki, instead: str
) -> None:
    first, second = pki.leaf(), pki.leaf()
    for name, leaf in (("first.pem", first), ("second.pem", second)):
        (tmp_path / name).write_bytes(leaf.chain_pem + leaf.key_pem)
    runtime = tmp_path / "run"
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top=f'runtime = "{runtime}"')
            async with running(config) as proxy:
                assert (await import_of(tmp_path / "first.pem", config))["state"] == "confirmed"
                wanted = first.bundle().fingerprint
                async with Client.to(proxy.port) as since_before:
                    store, away = trio.Path(proxy.store), trio.Path(tmp_path / "away")
                    await store.rename(away)
                    if instead == "an empty folder":
                        await store.mkdir(mode=0o700)
                    await answers(proxy, wanted)
                    refused = await reload(proxy, "reload_refused")
                    assert "was removed, or replaced" in str(refused["why"])
                    assert "put the same folder back" in str(refused["hint"])
                    control = ("--control", str(runtime / "control.sock"))
                    done = await tlsproxy("certs", "import", str(tmp_path / "second.pem"), *control)
                    assert done.returncode == 1
                    assert b"was removed, or replaced" in done.stderr
                    assert b"put the same folder back" in done.stderr
                    await answers(proxy, wanted)
                    if instead == "an empty folder":
                        assert not list(await store.iterdir()), "nothing was made in it"
                        await store.rmdir()
                    await away.rename(store)
                    assert (await since_before.get("/")).status == 200
                assert (await import_of(tmp_path / "second.pem", config))["state"] == "confirmed"
                await reload(proxy, "reloaded")
                await answers(proxy, second.bundle().fingerprint)


async def test_its_health_says_so(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top=f'runtime = "{runtime}"')
            async with running(config) as proxy:
                await trio.Path(proxy.store).rename(tmp_path / "away")
                done = await trio.run_process(
                    ["curl", "-s", "--unix-socket", str(runtime / "control.sock"), "http://proxy/v1/health"],
                    capture_stdout=True,
                )
                health = json.loads(done.stdout)
                assert health["ready"]
                assert "store_gone" in {finding["code"] for finding in health["findings"]}
                await proxy.wait_log("finding", code="store_gone")
                done = await tlsproxy("status", "--control", str(runtime / "control.sock"))
                assert b"was removed, or replaced" in done.stdout
                await trio.Path(tmp_path / "away").rename(proxy.store)
                await proxy.wait_log("store_back")
