"""Real clients that can't use a certificate are told of in its dry run, and in its receipt."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2
import trio

from tests.live.proxy_process import Proxy, running, write_config
from tests.pki import Issued, Pki

DEADLINE_S = 60


async def greet(port: int, ciphers: str) -> None:
    """Shake hands as an old client, or try to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError:
        pass  # it was heard, and found no certificate that it can use
    finally:
        await trio.aclose_forcefully(stream)


async def foretold(proxy: Proxy, issued: Issued) -> list[str]:
    """Give the words of the forecast in a dry run."""

    def ask() -> httpx2.Response:
        transport = httpx2.HTTPTransport(uds=str(proxy.store / "run" / "control.sock"))
        with httpx2.Client(transport=transport, base_url="http://tlsproxy") as client:
            files = [("file", ("chain.pem", issued.chain_pem)), ("other", ("key.pem", issued.key_pem))]
            return client.post("/v1/candidates?dry_run", files=files, data={"via": "test"})

    answer = await trio.to_thread.run_sync(ask)
    assert answer.status_code == 200, answer.text
    return [one["words"] for one in answer.json()["findings"] if one["code"] == "clients_without_key"]


async def test_clients_that_could_not_use_it_are_told_before_and_with_the_receipt(
    tmp_path: Path, pki: Pki
) -> None:
    with trio.fail_after(DEADLINE_S):
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
        async with running(config) as proxy:
            file, names = tmp_path / "device.pem", ("device.test",)
            issued, before = pki.leaf(names), pki.leaf(names, key="rsa")  # the first one's key is EC
            file.write_bytes(before.key_pem + before.chain_pem)
            assert (await proxy.certs_import(file))["state"] == "confirmed"
            file.write_bytes(issued.key_pem + issued.chain_pem)
            await greet(proxy.port, "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
            assert await foretold(proxy, issued) == []
            await greet(proxy.port, "ECDHE-RSA-AES128-GCM-SHA256")
            (words,) = await foretold(proxy, issued)
            assert "1 of 2 connections" in words
            again = pki.leaf(names, key="rsa")
            assert await foretold(proxy, again) == [], "who can't use it couldn't use the one before"
            receipt = await proxy.certs_import(file)
            assert receipt["state"] == "confirmed"
            assert "clients_without_key" in str(receipt["findings"])
