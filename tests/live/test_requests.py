"""Requests signed by a real `openssl ca`: their certificates go live, and their keys show nowhere."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_secrets import Said, traces_of

DEADLINE_S = 150
# As many guides have it: names are copied from the request, and a common name is wanted.
CA_CONFIG = """
[ca]
default_ca = device_ca
[device_ca]
dir = {folder}
new_certs_dir = {folder}/issued
database = {folder}/index.txt
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 365
policy = policy
copy_extensions = copy
x509_extensions = server
[policy]
commonName = supplied
organizationName = optional
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""


class Authority:
    """A customer's own, made and run by the openssl command."""

    def __init__(self, openssl: str, folder: Path) -> None:
        self.openssl, self.folder = openssl, folder
        (folder / "issued").mkdir(parents=True)
        (folder / "index.txt").touch()
        self.config = folder / "ca.cnf"
        self.config.write_text(CA_CONFIG.format(folder=folder))
        self.root, self.key = folder / "root.pem", folder / "root.key"
        self.run(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=Customer Root", "-days", "3650", "-extensions", "root"),
            *("-config", str(self.config), "-keyout", str(self.key), "-out", str(self.root)),
        )

    def run(self, *words: str) -> str:
        done = subprocess.run([self.openssl, *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def sign(self, request: Path, answer: Path) -> None:
        assert "verify OK" in self.run("req", "-in", str(request), "-noout", "-verify")
        self.run(
            *("ca", "-config", str(self.config), "-batch", "-notext", "-cert", str(self.root)),
            *("-keyfile", str(self.key), "-in", str(request), "-out", str(answer)),
        )


@pytest.fixture
def authority(tool: Callable[[str], str], tmp_path: Path) -> Authority:
    return Authority(tool("openssl"), tmp_path / "ca")


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[Path]:
    async with http_service() as port:
        yield write_config(tmp_path, {"/": f"http://127.0.0.1:{port}"})


async def csr(proxy: Proxy, file: Path, said: Said, *words: str) -> str:
    """Have a request made; gives its id."""
    more = ("--output", str(file), "--store", str(proxy.store), "--json")
    done = await tlsproxy("certs", "csr", *words, *more)
    said.add("csr", done.stdout + done.stderr + await trio.Path(file).read_bytes())
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


async def served(proxy: Proxy) -> str:
    async with Client.to(proxy.port) as client:
        assert (await client.get("/")).status == 200
        return client.fingerprint


def fingerprint(file: Path) -> str:
    return x509.load_pem_x509_certificate(file.read_bytes()).fingerprint(hashes.SHA256()).hex()


async def test_openssl_signs_and_the_answer_goes_live_by_import_and_by_inbox(
    config: Path, authority: Authority, tmp_path: Path
) -> None:
    said = Said()
    keys = []
    request, answer = tmp_path / "device.csr", tmp_path / "device.crt"
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            for way, kind in (("import", "ec"), ("inbox", "rsa2048")):
                id_ = await csr(proxy, request, said, "--name", "device.test", "--key-type", kind)
                (key,) = proxy.store.glob("authority/csr/*/key.pem")
                keys.append(load_pem_private_key(key.read_bytes(), None))
                authority.sign(request, answer)
                since = len(proxy.log)
                if way == "import":
                    receipt = await proxy.certs_import(answer)
                    assert receipt["state"] == "confirmed", receipt
                else:
                    (proxy.inbox / ".new-device.crt").write_bytes(answer.read_bytes())
                    (proxy.inbox / ".new-device.crt").rename(proxy.inbox / "device.crt")
                    line = await proxy.wait_log("receipt", since=since, state="confirmed")
                    assert line["via"] == "inbox"
                    assert "request_answered" in line["codes"]
                assert await served(proxy) == fingerprint(answer)
                assert not key.exists()
                listed = await tlsproxy("certs", "csr", "list", "--json", "--store", str(proxy.store))
                assert id_ not in listed.stdout.decode()
            said.add("answers", b"".join(path.read_bytes() for path in (request, answer)))
            for words in (("certs", "list", "--json"), ("certs", "show", "--json"), ("status", "--json")):
                done = await tlsproxy(*words, "--store", str(proxy.store))
                said.add("commands", done.stdout + done.stderr)
        said.add("log", bytes(proxy.written))
        said.add("audit", (proxy.store / "audit.jsonl").read_bytes())
        for folder in ("receipts", "generations", "slots", "handled", "authority"):
            for path in (path for path in (proxy.store / folder).rglob("*") if path.is_file()):
                said.add(folder, path.read_bytes())
    for who, text in said.texts.items():
        assert not re.search(rb"PRIVATE KEY-----", text), who
        for one in keys:
            for trace in traces_of(one):  # type: ignore[arg-type]
                assert trace not in text, who
    assert len(said.texts["log"]) > 200


async def test_a_request_waits_over_a_kill_and_is_answered_after_it(
    config: Path, authority: Authority, tmp_path: Path
) -> None:
    said = Said()
    request, answer = tmp_path / "device.csr", tmp_path / "device.crt"
    with trio.fail_after(DEADLINE_S):
        async with running(config, killed=True) as proxy:
            await csr(proxy, request, said, "--name", "device.test")
            proxy.process.kill()
        authority.sign(request, answer)
        async with running(config) as proxy:
            assert (await proxy.certs_import(answer))["state"] == "confirmed"
            assert await served(proxy) == fingerprint(answer)
