"""Real OpenSSL 1.0.2 and 1.1.1, as programs of those years carry them: served, resumed, or told why not.

The libraries come out of wheels that bundled them (psycopg2-binary 2.7.7 and 2.9.3); `make test-deps` puts
them aside. The client is `old_openssl.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conformance.served import Served, ran, served
from tests.plugins.tools import find_old_openssl

PROGRAM = Path(__file__).with_name("old_openssl.py")
NEWEST = {"1.0.2": "SSLv23_client_method", "1.1.1": "TLS_client_method"}
DEADLINE_S = 120
PROTOCOL_VERSION, HANDSHAKE_FAILURE = 1070, 1040


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@pytest.fixture(params=["1.0.2", "1.1.1"])
def release(request):
    return request.param


async def visited(site: Served, release: str, method: str, *ciphers: str) -> dict[str, Any]:
    (library,) = find_old_openssl(release).rglob("libssl*.so*")
    folder = library.parent
    code, said = await ran(
        [sys.executable, PROGRAM, folder, str(site.port), site.trusted, method, *ciphers],
        environment={"LD_LIBRARY_PATH": str(folder)},  # they need each other, by names of their own
    )
    assert code == 0, said
    told: dict[str, Any] = json.loads(said)
    assert told["library"].startswith(f"OpenSSL {release}")
    return told


@pytest.mark.parametrize("key", ["ec", "rsa"])
async def test_it_verifies_us_is_answered_and_resumes(tmp_path, pki, engine, release, key):
    async with served(tmp_path, pki, engine, key) as site:
        with trio.fail_after(DEADLINE_S):
            told = await visited(site, release, NEWEST[release])
            counted = await site.handshakes()
    first, second = told["first"], told["second"]
    version = "TLSv1.2" if release == "1.0.2" else "TLSv1.3"
    for visit in (first, second):
        assert visit["answer"] == "HTTP/1.1 200"
        assert (visit["verified"], visit["version"]) == (True, version)
    assert (first["resumed"], second["resumed"]) == (False, True)
    assert first["key"] == ("EC" if release == "1.0.2" else "X25519")
    if release == "1.0.2":
        assert first["cipher"] == f"ECDHE-{'ECDSA' if key == 'ec' else 'RSA'}-AES128-GCM-SHA256"
    else:
        assert first["cipher"] == "TLS_AES_128_GCM_SHA256"
    assert {(labels[0], labels[2]) for labels in counted} == {(version, first["cipher"])}


async def test_what_it_has_of_old_is_refused_by_the_alert_that_tells_why(tmp_path, pki, engine, release):
    old = {"unsupported_version": 0, "no_shared_cipher": 0}
    async with served(tmp_path, pki, engine, "rsa") as site:
        with trio.fail_after(DEADLINE_S):
            for method in ("TLSv1_client_method", "TLSv1_1_client_method"):
                told = await visited(site, release, method, "ALL")
                assert told["first"] == {"reason": PROTOCOL_VERSION}, method
                old["unsupported_version"] += 1
            for ciphers in ("AES128-GCM-SHA256", "AES128-SHA", "DES-CBC3-SHA", "DHE-RSA-AES128-GCM-SHA256"):
                if ciphers == "DES-CBC3-SHA" and release == "1.1.1":
                    continue  # built without it
                told = await visited(site, release, "TLSv1_2_client_method", ciphers)
                assert told["first"] == {"reason": HANDSHAKE_FAILURE}, ciphers
                old["no_shared_cipher"] += 1
            assert {labels[0]: count for labels, count in (await site.failures()).items()} == old
