"""The expiry ladder of a whole proxy: what ends is told everywhere, once, over reloads and restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_events import following, told
from tests.live.test_metrics import scraped
from tests.pki import Pki

DEADLINE_S = 120


async def reload(proxy: Proxy) -> None:
    assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0


async def test_a_certificate_that_ends_is_told_of_everywhere_and_once(tmp_path: Path, pki: Pki) -> None:
    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
    issued = pki.leaf(days=100, start=datetime.now(UTC).replace(microsecond=0) - timedelta(days=95))
    file = tmp_path / "device.pem"
    file.write_bytes(issued.key_pem + issued.chain_pem)
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            async with following(proxy, "--after", "0") as got:
                assert (await proxy.certs_import(file))["state"] == "confirmed"
                await reload(proxy)  # each start looks at once
                event = await told(got, kind="expiry")
                assert (event["step"], event["role"], event["names"]) == ("urgent", "served", ["device.test"])
                line = await proxy.wait_log("expiry")
                assert (line["level"], line["code"]) == ("error", "expiry_urgent")
                await reload(proxy)
                await reload(proxy)
                await told(got, kind="reload", epoch=4)
                assert [one["step"] for one in got if one["kind"] == "expiry"] == ["urgent"]
            status = await proxy.status()
            assert {one["source"]: one["step"] for one in status["bundles"]} == {"customer": "urgent"}
            assert "(urgent)" in (await tlsproxy("status", "--store", str(proxy.store))).stdout.decode()
            metrics = await scraped(proxy)
            assert (
                metrics["tlsproxy_certificate_expiry_step"]["device.test", "customer", "served"],
                metrics["tlsproxy_certificate_expiry_step"]["device.test", "generated", "fallback"],
                metrics["tlsproxy_expiry_told_total"]["urgent", "served"],
                metrics["tlsproxy_findings_total"]["expiry_urgent", "error"],
            ) == (3, 0, 1, 1)
        async with running(config) as proxy:  # a restart remembers, too
            await reload(proxy)
            await proxy.wait_log("reloaded")
            assert not [line for line in proxy.log if line["event"] == "expiry"]
