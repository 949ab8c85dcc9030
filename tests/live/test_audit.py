"""The audit log of a running proxy: each change has its line, with who made it by which way."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import trio

from tests.live.proxy_process import running, write_config
from tests.pki import Pki

DEADLINE_S = 90


def audited(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / "audit.jsonl").read_text("ascii").splitlines()]


async def test_every_change_has_its_line_over_a_reload(tmp_path: Path, pki: Pki) -> None:
    with trio.fail_after(DEADLINE_S):
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
        async with running(config) as proxy:
            assert [(line["by"], line["what"], line["outcome"]) for line in audited(proxy.store)] == [
                ("identity", "propose", "confirmed")
            ]
            issued = pki.leaf(("device.test",))
            file = tmp_path / "device.pem"
            file.write_bytes(issued.key_pem + issued.chain_pem)
            receipt = await proxy.certs_import(file)
            last = audited(proxy.store)[-1]
            assert (last["by"], last["outcome"], last["receipt"]) == ("socket", "confirmed", receipt["id"])
            assert (last["bundle"], last["generation"]) == (receipt["bundle"], receipt["generation"])

            other = pki.leaf(("device.test",))
            (proxy.inbox / ".new").write_bytes(other.key_pem + other.chain_pem)
            (proxy.inbox / ".new").rename(proxy.inbox / "device.pem")
            told = await proxy.wait_log("receipt", by="inbox")
            assert audited(proxy.store)[-1]["receipt"] == told["id"]

            os.kill(proxy.process.pid, signal.SIGHUP)
            await proxy.wait_log("reloaded")
            last = audited(proxy.store)[-1]
            assert (last["by"], last["what"], last["outcome"], last["epoch"]) == (
                "signal",
                "reload",
                "begun",
                2,
            )

            config.write_text("nonsense")
            os.kill(proxy.process.pid, signal.SIGHUP)
            await proxy.wait_log("reload_refused")
            last = audited(proxy.store)[-1]
            assert (last["what"], last["outcome"]) == ("reload", "refused")
