"""The `system` engine as a process: it is limited to our groups, though `ssl` can't be told."""

from __future__ import annotations

import subprocess

import pytest
import trio

from tests.live.https_client import Client
from tests.live.proxy_process import running, write_config

SYSTEM = '[tls]\nengine = "system"\n'


@pytest.mark.parametrize(
    ("groups", "taken"),
    [("X25519", True), ("P-256", True), ("P-384", True), ("ffdhe8192", False), ("P-521", False)],
)
async def test_only_our_groups_are_taken(tmp_path, tool, groups, taken):
    with trio.fail_after(60):
        async with running(write_config(tmp_path, {"/": "http://127.0.0.1:9"}, more=SYSTEM)) as proxy:
            said = await trio.run_process(
                [
                    tool("openssl"),
                    "s_client",
                    "-tls1_3",
                    "-groups",
                    groups,
                    "-connect",
                    f"127.0.0.1:{proxy.port}",
                ],
                stdin=b"Q\n",
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            assert (b"New, TLSv1.3" in said.stdout) is taken


async def test_it_serves_and_takes_new_certificates(tmp_path, pki):
    issued = pki.leaf()
    (tmp_path / "device.pem").write_bytes(issued.chain_pem)
    (tmp_path / "device.key").write_bytes(issued.key_pem)
    with trio.fail_after(60):
        async with running(write_config(tmp_path, {"/": "http://127.0.0.1:9"}, more=SYSTEM)) as proxy:
            receipt = await proxy.certs_import(tmp_path / "device.pem", tmp_path / "device.key")
            assert receipt["state"] == "confirmed"
            async with Client.to(proxy.port) as client:
                assert (await client.get("/")).status == 502
                assert client.fingerprint == issued.bundle().fingerprint
