"""Node: its https module, and fetch, which verify us, are answered, and resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conformance.served import ran, served

PROGRAM = Path(__file__).with_name("client.js")
FETCH = "fetch(process.argv[1]).then(r => r.json()).then(j => console.log(JSON.stringify(j)))"
DEADLINE_S = 120


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


async def test_https_verifies_us_is_answered_and_resumes(tmp_path, pki, tool, engine):
    node = tool("node")
    with trio.fail_after(DEADLINE_S):
        async with served(tmp_path, pki, engine) as site:

            async def visits(**options: str) -> dict[str, Any]:
                code, said = await ran([node, PROGRAM, str(site.port), site.trusted, json.dumps(options)])
                assert code == 0, said
                told: dict[str, Any] = json.loads(said)
                return told

            for version, cipher in [
                ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
                ("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
            ]:
                told = await visits(maxVersion=version)
                for visit, resumed in (told["first"], False), (told["second"], True):
                    assert (visit["status"], visit["verified"]) == (200, True)
                    assert (visit["version"], visit["cipher"]) == (version, cipher)
                    assert (visit["alpn"], visit["resumed"]) == ("http/1.1", resumed)
                    assert ["host", "localhost"] in json.loads(visit["fields"])
                assert told["first"]["key"] == "X25519"
            told = await visits(ecdhCurve="P-384")
            assert told["first"]["key"] == "secp384r1"
            old = {"minVersion": "TLSv1", "maxVersion": "TLSv1.1", "ciphers": "DEFAULT@SECLEVEL=0"}
            assert await visits(**old) == {"alert": 70}
            cbc = {"maxVersion": "TLSv1.2", "ciphers": "ECDHE-ECDSA-AES128-SHA:AES128-SHA"}
            assert await visits(**cbc) == {"alert": 40}
            stranger = tmp_path / "stranger.pem"
            stranger.write_bytes(pki.leaf(issuer=None).cert_pem)
            assert await visits(ca=stranger.read_text()) == {"error": "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"}


async def test_fetch_is_answered_and_refuses_whom_it_does_not_trust(tmp_path, pki, tool, engine):
    node = tool("node")
    with trio.fail_after(DEADLINE_S):
        async with served(tmp_path, pki, engine) as site:
            asking = [
                node,
                "--dns-result-order=ipv4first",
                "-e",
                FETCH,
                f"https://localhost:{site.port}/headers",
            ]
            code, said = await ran(asking, environment={"NODE_EXTRA_CA_CERTS": str(site.trusted)})
            assert code == 0, said
            assert ["host", f"localhost:{site.port}"] in json.loads(said)
            code, said = await ran(asking)
            assert code != 0
            assert "UNABLE_TO_GET_ISSUER_CERT_LOCALLY" in said or "UNABLE_TO_VERIFY_LEAF_SIGNATURE" in said
