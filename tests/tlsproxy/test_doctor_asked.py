"""The doctor at servers that ask their clients for a certificate: it has none, and says what that means."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

import pytest

from tests.pki import Pki
from tests.tlsproxy.test_doctor_server import codes, context_of, diagnosed, serving, speak_tls
from tlsproxy.doctor.diagnosis import Diagnosis

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


async def seen(folder: Path, pki: Pki, mode: ssl.VerifyMode, *versions: ssl.TLSVersion) -> Diagnosis:
    issued = pki.leaf()
    context = context_of(folder, issued.key_pem + issued.chain_pem)
    context.verify_mode = mode
    if mode:
        context.load_verify_locations(cadata=pki.root_pem.decode())
    context.minimum_version, context.maximum_version = min(versions), max(versions)
    async with serving(partial(speak_tls, context)) as port:
        return await diagnosed(port)


def told(found: Diagnosis) -> list[str]:
    return [code for code in codes(found) if code.startswith("server_")]


@pytest.mark.parametrize("versions", [(TLS12, TLS13), (TLS12,), (TLS13,)], ids=["both", "1.2", "1.3"])
@pytest.mark.parametrize("mode", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
async def test_a_server_that_asks_is_described_and_not_called_wrong(tmp_path, pki, mode, versions):
    found = await seen(tmp_path, pki, mode, *versions)
    assert found.is_well, found.findings
    is_refused = mode is ssl.CERT_REQUIRED and TLS12 in versions
    other = {(TLS12,): ["server_old_version"], (TLS13,): ["server_new_version_only"]}.get(versions, [])
    assert told(found) == [f"server_{'wants' if is_refused else 'asks'}_certificate", *other]
    assert found.anatomy is not None
    assert found.anatomy.links[0].title == "device.test"
    facts = dict(found.facts)
    assert facts["client certificate"] == "asked for"
    if is_refused:
        assert facts["TLS 1.2"].startswith("it wants a client certificate: ")


async def test_a_server_that_does_not_ask_is_told_as_such(tmp_path, pki):
    found = await seen(tmp_path, pki, ssl.CERT_NONE, TLS12, TLS13)
    assert told(found) == []
    assert dict(found.facts)["client certificate"] == "not asked for"
