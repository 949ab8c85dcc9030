"""The scanners that auditors use, against a live proxy: nothing that they would write down.

sslyze holds us against Mozilla's profiles, testssl.sh looks for protocols, ciphers and known holes, sslscan
lists what is offered. The certificates are of a test authority, for 60 days.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.live.proxy_process import running, write_config
from tests.pki import Pki

COMBINATIONS = [
    ("system", "intermediate", "ec"),
    ("bundled", "intermediate", "rsa"),
    ("bundled", "modern", "ec"),
    ("system", "modern", "ec"),
    ("system", "intermediate", "both"),
    ("bundled", "intermediate", "both"),
]


@asynccontextmanager
async def served(folder: Path, pki: Pki, engine: str, profile: str, key: str) -> AsyncIterator[int]:
    """Run a proxy with an imported certificate; gives its port."""
    (folder / "root.pem").write_bytes(pki.root_pem)
    files: list[Path] = []
    for kind in ("ec", "rsa") if key == "both" else (key,):
        issued = pki.leaf(("localhost", "device.test"), key=kind, days=60)
        for name, content in ((f"{kind}.pem", issued.chain_pem), (f"{kind}.key", issued.key_pem)):
            files.append(folder / name)
            files[-1].write_bytes(content)
    more = f'[tls]\nengine = "{engine}"\nprofile = "{profile}"\n'
    async with running(write_config(folder, {"/": "http://127.0.0.1:9"}, more=more)) as proxy:
        receipt = await proxy.certs_import(*files)
        assert receipt["state"] == "confirmed", receipt
        yield proxy.port


async def said(*words: str, folder: Path) -> tuple[int, str]:
    done = await trio.run_process(
        words,
        check=False,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        cwd=folder,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


@pytest.mark.parametrize(("engine", "profile", "key"), COMBINATIONS)
async def test_sslyze_finds_mozillas_profile_kept(tmp_path, pki, tool, engine, profile, key):
    with trio.fail_after(300):
        async with served(tmp_path, pki, engine, profile, key) as port:
            words = [tool("sslyze"), "--mozilla_config", profile, "--certinfo_ca_file", "root.pem"]
            code, text = await said(*words, f"localhost:{port}", folder=tmp_path)
    assert code == 0, text
    assert f"localhost:{port}: OK - Compliant." in text


@pytest.mark.parametrize(("engine", "key"), [("system", "ec"), ("bundled", "rsa")])
async def test_testssl_finds_nothing_above_low(tmp_path, pki, tool, engine, key):
    with trio.fail_after(900):
        async with served(tmp_path, pki, engine, "intermediate", key) as port:
            words = [tool("testssl"), "--quiet", "--color", "0", "--warnings", "off"]
            words += ["--protocols", "--std", "--fs", "--vulnerable", "--jsonfile", "found.json"]
            _, text = await said(*words, f"localhost:{port}", folder=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    looked_at = {one["id"] for one in found}
    assert {"TLS1_3", "heartbleed", "ROBOT", "cipherlist_3DES_IDEA", "LUCKY13"} <= looked_at, text
    bad = [one for one in found if one["severity"] in {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}]
    assert bad == []


@pytest.mark.parametrize(("engine", "profile"), [("system", "intermediate"), ("bundled", "modern")])
async def test_sslscan_sees_only_what_the_profile_says(tmp_path, pki, tool, engine, profile):
    with trio.fail_after(120):
        async with served(tmp_path, pki, engine, profile, "ec") as port:
            code, text = await said(tool("sslscan"), "--no-colour", f"localhost:{port}", folder=tmp_path)
    assert code == 0, text
    versions = {line.split()[0]: line.split()[1] for line in text.splitlines() if line.endswith("abled")}
    assert versions == {
        "SSLv2": "disabled",
        "SSLv3": "disabled",
        "TLSv1.0": "disabled",
        "TLSv1.1": "disabled",
        "TLSv1.2": "enabled" if profile == "intermediate" else "disabled",
        "TLSv1.3": "enabled",
    }
    offered = [line.split()[4] for line in text.splitlines() if line.startswith(("Preferred", "Accepted"))]
    assert offered[:3] == [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ]
    assert all("ECDHE" in cipher and ("GCM" in cipher or "POLY1305" in cipher) for cipher in offered[3:])
