"""The corpus through API and command line of one running proxy, while clients are served all the time."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certstore import Severity
from certstore.findings import CATALOGUE
from tests.intake import Case, corpus
from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config

# These take seconds of computing each (600,000 rounds, in Python); a busy machine makes that more than an
# examination has. tests/certstore/test_intake.py reads them without a deadline.
SLOW = frozenset(
    {
        *("p12-openssl-600000-rounds", "p12-certtool-aes", "p12-certtool-rc2-40", "p12-null-certtool"),
        *("p12-empty-certtool", "p12-nss", "p12-nss-aes", "p12-nss-3des", "key-pkcs8-certtool"),
        "hostile-twenty-keys",
    }
)


def errors_of(case: Case) -> list[str]:
    return [code for code in case.codes if CATALOGUE[code].severity is Severity.ERROR]


async def leaf_of(client: httpx2.AsyncClient, receipt: Any) -> str:
    """Give the fingerprint that a live receipt is about."""
    pem = (await client.get(f"/v1/bundles/{receipt['bundle']}/certificate.pem")).content
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()


async def upload(client: httpx2.AsyncClient, case: Case, *, as_form: bool) -> Any:
    """Hand a case in, as a form or as JSON; gives its receipt."""
    files = case.candidate.files
    if as_form:
        form = [("file", (name, content)) for name, content in files]
        data = {} if case.passphrase is None else {"passphrase": case.passphrase}
        answer = await client.post("/v1/candidates", files=form, data=data)
    else:
        named = [
            {"name": name, "content_base64": base64.b64encode(content).decode()} for name, content in files
        ]
        body = {"files": named, "passphrase": case.passphrase}
        answer = await client.post("/v1/candidates", json=body)
    document = answer.json()
    assert answer.status_code in {201, 422}, (case.name, document)
    return document if answer.status_code == 201 else document["receipt"]


async def command(proxy: Proxy, case: Case) -> Any:
    """Hand a case in on the command line, its passphrase by stdin."""
    word = () if case.passphrase is None else ("--passphrase-file", "-")
    names = [str(path) for path in case.paths]
    words = ("certs", "import", *names, *word, "--store", str(proxy.store), "--json")
    done = await tlsproxy(*words, stdin=f"{case.passphrase or ''}\n".encode(), within_s=120)
    assert done.returncode in {0, 1}, done.stderr
    return httpx2.Response(200, content=done.stdout).json()


class Onlooker:
    """A client that is there all the time, and others that come; all of them are served."""

    def __init__(self, proxy: Proxy, steady: Client, api: httpx2.AsyncClient) -> None:
        self._proxy, self._steady, self._api = proxy, steady, api
        self.expected = self._bundle = ""

    async def look(self, about: str) -> None:
        assert (await self._steady.get("/")).status == 200, about
        async with Client.to(self._proxy.port) as client:
            assert (await client.get("/")).status == 200, about
            if self.expected:
                assert client.fingerprint == self.expected, about

    async def expect(self, case: Case, receipt: Any) -> None:
        """Hold a receipt against the table, and remember what has to be served from now on."""
        codes = {finding["code"] for finding in receipt["findings"]}
        assert codes >= set(case.codes), (case.name, codes)
        if errors_of(case):
            told = [one["code"] for one in receipt["findings"] if one["severity"] == "error"]
            assert (receipt["state"], sorted(told)) == ("refused", sorted(errors_of(case))), case.name
        elif case.name != "chain-one-pair-of-many":  # for another name
            assert receipt["state"] == "confirmed", (case.name, codes)
            assert receipt["bundle"] != self._bundle, f"{case.name} is no change"
            self._bundle, self.expected = receipt["bundle"], await leaf_of(self._api, receipt)


@pytest.mark.slow
async def test_every_file_is_taken_or_refused_with_its_codes_and_clients_are_served_all_the_time(
    tmp_path: Path,
) -> None:
    cases = [case for case in corpus() if case.name not in SLOW]
    assert len(cases) >= 80
    with trio.fail_after(1_500):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            async with running(config) as proxy, Client.to(proxy.port) as steady:
                transport = httpx2.AsyncHTTPTransport(uds=str(proxy.store / "run" / "control.sock"))
                async with httpx2.AsyncClient(
                    transport=transport, base_url="http://x", timeout=120
                ) as client:
                    onlooker = Onlooker(proxy, steady, client)
                    for number, case in enumerate(cases):
                        await onlooker.expect(case, await upload(client, case, as_form=number % 2 == 0))
                        await onlooker.look(case.name)
                    for case in cases:
                        await onlooker.expect(case, await command(proxy, case))
                        await onlooker.look(case.name)
                words = {case.passphrase.encode() for case in cases if case.passphrase}
                kept = [path for path in proxy.store.rglob("*") if path.is_file()]
                for path in kept:
                    assert not any(word in path.read_bytes() for word in words), path
    assert not any(word in proxy.written for word in words)
