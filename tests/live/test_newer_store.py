"""A newer version has written the store, and this one serves it: the firmware went back."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import running, tlsproxy, write_config
from tests.storing import files_under

DEADLINE_S = 120


async def fingerprint(port: int) -> str:
    async with Client.to(port) as client:
        assert (await client.get("/")).status == 200
        return client.fingerprint


# where people put files, the socket, and who asked for what: the proxy's own log, which knows no format
BESIDE = {"run", "inbox", "audit.jsonl"}


def kept(store: Path) -> dict[str, bytes | None]:
    """Give what of a store nobody may touch."""
    found = files_under(store)
    return {path: found[path] for path in found if path.split("/")[0] not in BESIDE}


@pytest.mark.parametrize("when", ["before the start", "under the running proxy"])
async def test_a_store_of_a_newer_version_is_served_and_not_touched_until_its_version_is_back(
    tmp_path: Path, pki, when: str
) -> None:
    issued, later = pki.leaf(), pki.leaf()
    first, second = tmp_path / "first.pem", tmp_path / "second.pem"
    first.write_bytes(issued.chain_pem + issued.key_pem)
    second.write_bytes(later.chain_pem + later.key_pem)
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"})
            store, form = tmp_path / "store", trio.Path(tmp_path / "store" / "FORMAT")
            async with running(config) as proxy:
                await proxy.certs_import(first)
                if when == "under the running proxy":
                    await form.write_text("2\n")  # as the newer version does when it takes the store over
                    await reload(proxy)
                    await stays_as_it_is(proxy, store, second, issued.bundle().fingerprint)
                    await form.write_text("1\n")
                    await reload(proxy)
                    receipt = await proxy.certs_import(second)
                    assert receipt["state"] == "confirmed"
                    assert await fingerprint(proxy.port) == later.bundle().fingerprint
            if when == "before the start":
                await form.write_text("2\n")
                async with running(config) as proxy:
                    await proxy.wait_log("finding", code="store_read_only")
                    await stays_as_it_is(proxy, store, second, issued.bundle().fingerprint)
                await form.write_text("1\n")
                async with running(config) as proxy:
                    receipt = await proxy.certs_import(second)
                    assert receipt["state"] == "confirmed"
                    assert await fingerprint(proxy.port) == later.bundle().fingerprint


async def reload(proxy) -> None:
    since = len(proxy.log)
    proxy.process.send_signal(signal.SIGHUP)
    await proxy.wait_log("reloaded", since=since)


async def stays_as_it_is(proxy, store: Path, file: Path, wanted: str) -> None:
    before = kept(store)
    assert await fingerprint(proxy.port) == wanted
    for words in (("import", str(file)), ("rollback",), ("rollback", "--to", "1"), ("remove",)):
        done = await tlsproxy("certs", *words, "--store", str(store))
        assert done.returncode == 1
        assert b"this version writes only format 1" in done.stderr
        assert b"update this software" in done.stderr
    for words in (("list",), ("history",), ("export",)):
        done = await tlsproxy("certs", *words, "--store", str(store))
        assert done.returncode == 0, done.stderr
    status = await proxy.status()
    assert json.dumps(status).count(wanted) >= 1
    assert await fingerprint(proxy.port) == wanted
    assert kept(store) == before
