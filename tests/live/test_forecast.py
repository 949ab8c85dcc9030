"""What a certificate would change for real clients, told in its dry run, its receipt, and a directory's."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx2
import trio

from tests.errands import a_library, answer
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.pki import Issued, Pki

DEADLINE_S = 90
FORECAST = {"clients_without_key", "names_still_used", "hsts_in_force", "hsts_keeps_out"}
STRICT = answer(b"ok", Strict_Transport_Security="max-age=9; includeSubDomains")


async def greet(port: int, name: str = "device.test", ciphers: str = "", *, ask: bool = False) -> None:
    """Shake hands, or try to; and ask for something."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if ciphers:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(tcp, context, server_hostname=name, https_compatible=True)
    try:
        await stream.do_handshake()
        if ask:
            await stream.send_all(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            assert b" 200 " in await stream.receive_some()
    except trio.BrokenResourceError:
        pass  # it was heard, and found no certificate that it can use
    finally:
        await trio.aclose_forcefully(stream)


def hold(file: Path, issued: Issued) -> Path:
    file.write_bytes(issued.key_pem + issued.chain_pem)
    return file


async def foretold(proxy: Proxy, file: Path) -> dict[str, str]:
    """Give the words of each forecast in a dry run."""
    done = await tlsproxy("certs", "import", str(file), "--dry-run", "--json", "--store", str(proxy.store))
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["accepted"], done.stderr
    assert told["running"]
    return {one["code"]: one["words"] for one in told["findings"] if one["code"] in FORECAST}


async def recount(proxy: Proxy) -> None:
    """Have the workers say what they have counted: what directories are foretold by is some seconds old."""

    def ask() -> int:
        transport = httpx2.HTTPTransport(uds=str(proxy.store / "run" / "control.sock"))
        with httpx2.Client(transport=transport, base_url="http://tlsproxy") as client:
            return client.get("/v1/metrics").status_code

    assert await trio.to_thread.run_sync(ask) == 200


async def test_clients_that_could_not_use_it_are_told_before_and_with_the_receipt(
    tmp_path: Path, pki: Pki
) -> None:
    with trio.fail_after(DEADLINE_S):
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
        async with running(config) as proxy:
            names = ("device.test",)
            file = hold(tmp_path / "device.pem", pki.leaf(names, key="rsa"))  # the first one's key is EC
            assert (await proxy.certs_import(file))["state"] == "confirmed"
            hold(file, pki.leaf(names))
            await greet(proxy.port, ciphers="ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
            assert await foretold(proxy, file) == {}
            await greet(proxy.port, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
            words = await foretold(proxy, file)
            assert "1 of 2 connections" in words["clients_without_key"]
            again = hold(tmp_path / "again.pem", pki.leaf(names, key="rsa"))
            assert await foretold(proxy, again) == {}, "who can't use it couldn't use the one before"
            receipt = await proxy.certs_import(file)
            assert receipt["state"] == "confirmed"
            assert "clients_without_key" in str(receipt["findings"])


async def test_names_that_clients_ask_for_and_a_new_certificate_leaves_out_are_told_by_every_way(
    tmp_path: Path, pki: Pki
) -> None:
    with trio.fail_after(DEADLINE_S):
        watched = tmp_path / "theirs"
        watched.mkdir()
        config = write_config(
            tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 2", more=f'[[watch]]\npath = "{watched}"'
        )
        async with running(config) as proxy:
            file = hold(tmp_path / "device.pem", pki.leaf(("pump.test", "old.test", "*.wild.test")))
            assert (await proxy.certs_import(file))["state"] == "confirmed"
            hold(file, pki.leaf(("pump.test",)))
            await greet(proxy.port, "pump.test")
            await greet(proxy.port, "stranger.test")
            assert await foretold(proxy, file) == {}, "no name is lost that anybody asked for"
            await greet(proxy.port, "old.test")
            await greet(proxy.port, "Old.Test")
            await greet(proxy.port, "a.wild.test")
            words = (await foretold(proxy, file))["names_still_used"]
            assert "old.test, a.wild.test (3 of 5 connections" in words
            assert "stranger.test" not in words
            await recount(proxy)
            hold(watched / "one.pem", pki.leaf(("pump.test",)))
            line = await proxy.wait_log("receipt", via=f"watch:{watched}", state="confirmed")
            assert "names_still_used" in line["codes"]
            hold(proxy.inbox / "two.pem", pki.leaf(("pump.test",)))
            line = await proxy.wait_log("receipt", via="inbox", state="confirmed")
            assert "names_still_used" in line["codes"]
            proxy.process.send_signal(1)
            await proxy.wait_log("reloaded")
            assert "old.test" in (await foretold(proxy, file))["names_still_used"], "a reload forgets nothing"


async def test_hsts_that_a_service_has_sent_is_told_before_a_certificate_that_browsers_warn_of(
    tmp_path: Path, pki: Pki
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with a_library() as library:
            library.pages["/"] = STRICT
            config = write_config(tmp_path, {"/": library.url("")}, top="workers = 1")
            async with running(config) as proxy:
                file = hold(tmp_path / "device.pem", pki.leaf(("pump.test",)))
                assert (await proxy.certs_import(file))["state"] == "confirmed"
                assert await foretold(proxy, file) == {}
                await greet(proxy.port, "pump.test", ask=True)
                hold(file, pki.leaf(("pump.test",)))
                assert "pump.test" in (await foretold(proxy, file))["hsts_in_force"]
                hold(file, pki.leaf(("pump.test",), issuer=None))
                assert "self_signed" in (await foretold(proxy, file))["hsts_keeps_out"]
                receipt = await proxy.certs_import(file)
                assert "hsts_keeps_out" in str(receipt["findings"])
                elsewhere = hold(tmp_path / "other.pem", pki.leaf(("other.test",), issuer=None))
                assert await foretold(proxy, elsewhere) == {}
