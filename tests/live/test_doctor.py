"""The doctor beside a whole proxy, as an engineer types it first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trio

from tests.live.proxy_process import running, tlsproxy, write_config
from tests.pki import Pki

DEADLINE_S = 120


async def doctor(*words: str) -> tuple[int, dict[str, Any]]:
    done = await tlsproxy("doctor", *words, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def codes(document: dict[str, Any]) -> list[str]:
    return [one["code"] for one in document["findings"]]


async def test_a_proxy_its_port_and_its_certificate_are_looked_at_and_explained(tmp_path: Path, pki: Pki):
    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1", http=True)
    roots, issued = tmp_path / "roots.pem", pki.leaf()
    roots.write_bytes(pki.root_pem)
    config.write_text(config.read_text() + f'\n[checks]\nroots = "{roots}"\n')
    file = tmp_path / "device.pem"
    file.write_bytes(issued.key_pem + issued.chain_pem)
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            code, own = await doctor("--config", str(config))
            assert (code, codes(own)) == (0, ["upstream_silent"]), own
            code, before = await doctor(
                f"127.0.0.1:{proxy.port}", "--servername", "device.test", "--config", str(config)
            )
            assert (code, codes(before)) == (0, ["self_signed"])

            code, rehearsed = await doctor(str(file), "--config", str(config))
            assert (code, codes(rehearsed)) == (0, [])
            assert (await proxy.certs_import(file))["findings"] == []

            where = ("--connect", "127.0.0.1", "--config", str(config))
            code, served = await doctor(f"https://device.test:{proxy.port}", *where)
            assert (code, codes(served)) == (0, [])
            assert [one["sha256"] for one in served["certificate"]["chain"]] == [
                one["sha256"] for one in rehearsed["certificate"]["chain"]
            ]
            code, other = await doctor(f"https://other.test:{proxy.port}", *where)
            assert (code, codes(other)) == (1, ["server_name_mismatch"])
            assert codes((await doctor("--config", str(config)))[1]) == ["upstream_silent"]
        code, own = await doctor("--config", str(config))
        assert (code, codes(own)) == (1, ["proxy_not_running", "upstream_silent"])
