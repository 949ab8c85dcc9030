"""The package is replaced by a newer one, and by the older one again, under the running proxy."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import trio

from tests.live.https_client import Client
from tests.live.peers import http_service, websocket_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_reload import reload, under_load

DEADLINE_S = 240
ROOT = Path(__file__).parents[2]
# The first commit at which a whole suite ran with the store, the reload and the fences as they are today.
EARLIER = "b9e5f696f852de0a31909ba681b2459215161060"


def packages(folder: Path, version: str) -> None:
    """Put a version of the package where Python finds it, as package managers do: in the other's place."""
    for name in ("tlsproxy", "certstore"):
        shutil.rmtree(folder / name, ignore_errors=True)
    if version == "earlier":
        packed = subprocess.run(
            ["git", "archive", EARLIER, "tlsproxy", "certstore"], cwd=ROOT, capture_output=True, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
    else:
        for name in ("tlsproxy", "certstore"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    mark = folder / "tlsproxy" / "__init__.py"
    mark.write_text(mark.read_text().replace('__version__ = "', f'__version__ = "{version}.'))


def has_history() -> bool:
    asked = ["git", "cat-file", "-e", EARLIER]
    return subprocess.run(asked, cwd=ROOT, check=False, capture_output=True).returncode == 0


async def becomes(proxy: Proxy, folder: Path, version: str) -> None:
    await trio.to_thread.run_sync(packages, folder, version)
    assert await reload(proxy) == (0, "")
    assert (await proxy.status())["version"].startswith(f"{version}.")


async def fingerprint(proxy: Proxy) -> str:
    async with Client.to(proxy.port) as client:
        assert (await client.get("/")).status == 200
        return client.fingerprint


@pytest.mark.parametrize("older", ["earlier", "1"])
async def test_an_upgrade_and_a_downgrade_on_a_live_store_lose_neither_a_connection_nor_a_certificate(
    tmp_path: Path, pki, older: str
) -> None:
    if older == "earlier" and not has_history():
        pytest.skip("this is no clone with its history")
    leaves = [pki.leaf() for _ in range(3)]
    files = []
    for number, leaf in enumerate(leaves):
        files.append(tmp_path / f"{number}.pem")
        files[-1].write_bytes(leaf.chain_pem + leaf.key_pem)
    wanted = [leaf.bundle().fingerprint for leaf in leaves]
    folder = tmp_path / "packages"
    packages(folder, older)
    env = {"PYTHONPATH": str(folder)}
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, websocket_service() as websocket:
            routes = {"/": f"http://127.0.0.1:{http}", "/ws": f"http://127.0.0.1:{websocket}"}
            config = write_config(tmp_path, routes, top="workers = 2")
            async with running(config, env=env) as proxy:
                async with under_load(proxy.port):
                    assert (await proxy.certs_import(files[0]))["state"] == "confirmed"
                    await becomes(proxy, folder, "2")
                    assert await fingerprint(proxy) == wanted[0]
                    assert (await proxy.certs_import(files[1]))["state"] == "confirmed"
                    here = ("--store", str(proxy.store))
                    asked = await tlsproxy("certs", "csr", "--name", "waits.test", *here, "--json")
                    assert asked.returncode == 0, asked.stderr
                    await becomes(proxy, folder, older)
                    assert await fingerprint(proxy) == wanted[1]
                    assert (await proxy.certs_import(files[2]))["state"] == "confirmed"
                    await becomes(proxy, folder, "2")
                    assert await fingerprint(proxy) == wanted[2]
                waiting = await tlsproxy("certs", "csr", "list", *here, "--json")
                assert "waits.test" in waiting.stdout.decode()
            for version in (older, "2"):  # a device that was off while its firmware changed
                packages(folder, version)
                async with running(config, env=env) as proxy:
                    assert await fingerprint(proxy) == wanted[2]
                    status = await proxy.status()
                    assert [one["code"] for one in status.get("findings", [])] == []
            listed = json.loads((await tlsproxy("certs", "list", *here, "--json")).stdout)
            assert wanted[2] in json.dumps(listed)
