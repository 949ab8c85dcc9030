"""The device's own authority in real clients: imported once, it speaks for the device and for nobody else."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certstore import read_authority
from tests.conformance.browser import chromium
from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy

DEADLINE_S = 150.0
CONFIG = """
store = "{folder}/store"
[[listener]]
address = "127.0.0.1:0"
[[route]]
path = "/"
upstream = "http://127.0.0.1:{upstream}"
[identity]
names = ["device.test"]
addresses = ["127.0.0.1"]
device_ca = true
"""


@dataclass
class Device:
    """A running device, and the file that a customer imports."""

    proxy: Proxy
    root: Path

    def forged(self, name: str, folder: Path) -> ssl.SSLContext:
        """Be a server of another name, with a certificate made by who stole the authority's key."""
        authority = read_authority(self.proxy.store)
        assert authority is not None
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(authority.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(authority.key, hashes.SHA256())
        )
        file = folder / "forged.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(leaf.public_bytes(Encoding.PEM) + secret)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    async with http_service() as upstream:
        config = tmp_path / "tlsproxy.toml"
        config.write_text(CONFIG.format(folder=tmp_path, upstream=upstream))
        async with running(config) as proxy:
            root = tmp_path / "device-ca.pem"
            words = ("--output", str(root), "--store", str(proxy.store))
            done = await tlsproxy("device-ca", "export", *words)
            assert done.returncode == 0, done.stderr
            yield Device(proxy, root)


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Answer whoever completes a handshake; gives the port."""

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some(4096)
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nforged")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # who refuses us

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, answer, 0, context, https_compatible=True)
        listeners = await nursery.start(partial(serve, host="127.0.0.1"))
        yield listeners[0].transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_python_trusts_the_device_by_name_and_address_and_nobody_else(device, tmp_path):
    with trio.fail_after(DEADLINE_S):
        trusting = ssl.create_default_context(cafile=device.root)
        for name in ("device.test", "127.0.0.1"):
            async with Client.to(device.proxy.port, server_name=name, context=trusting) as client:
                assert (await client.get("/")).status == 200
        async with (
            serving(device.forged("device.test", tmp_path)) as port,  # made the same way, and covered
            Client.to(port, server_name="device.test", context=trusting) as client,
        ):
            assert (await client.get("/")).body == b"forged"
        async with serving(device.forged("bank.test", tmp_path)) as port:
            with pytest.raises(trio.BrokenResourceError) as refused:
                async with Client.to(port, server_name="bank.test", context=trusting):
                    pass
        assert "permitted subtree violation" in str(refused.value.__cause__)


async def test_a_leaf_of_the_renewed_root_is_trusted_by_who_imported_the_one_before(device):
    with trio.fail_after(DEADLINE_S):
        trusting = ssl.create_default_context(cafile=device.root)
        shown = await tlsproxy("device-ca", "show", "--store", str(device.proxy.store))
        assert "127.0.0.1, device.test" in shown.stdout.decode()
        done = await tlsproxy("device-ca", "renew", "--json", "--store", str(device.proxy.store))
        assert done.returncode == 0, done.stderr
        await device.proxy.wait_log("receipt", via="identity", generation=2, state="confirmed")
        async with Client.to(device.proxy.port, context=trusting) as client:
            assert (await client.get("/")).status == 200


async def test_curl_trusts_the_device(device, tool):
    curl = (tool("curl"), "--silent", "--show-error", "--cacert", str(device.root), "-o", os.devnull)
    port = device.proxy.port
    with trio.fail_after(DEADLINE_S):
        for host in ("device.test", "127.0.0.1"):
            words = ("--resolve", f"device.test:{port}:127.0.0.1", f"https://{host}:{port}/")
            done = await trio.run_process(
                [*curl, *words], check=False, capture_stderr=True, env={"PATH": os.environ["PATH"]}
            )
            assert done.returncode == 0, done.stderr


@pytest.mark.slow
async def test_chromium_opens_the_device_without_a_warning_and_refuses_another_name(
    device, tool: Callable[[str], str], tmp_path
):
    home = tmp_path / "home"
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = (tool("certutil"), "-d", f"sql:{database}")
    await trio.run_process([*certutil, "-N", "--empty-password"])
    await trio.run_process([*certutil, "-A", "-t", "C,,", "-n", "device", "-i", str(device.root)])
    resolve = "--host-resolver-rules=MAP device.test 127.0.0.1, MAP bank.test 127.0.0.1"
    with trio.fail_after(DEADLINE_S):
        async with (
            serving(device.forged("bank.test", tmp_path)) as refused,
            serving(device.forged("device.test", tmp_path)) as taken,
            chromium(tool("chromium"), tmp_path / "profile", resolve, home=home) as page,
        ):
            own = device.proxy.port
            for host, port in (("device.test", own), ("127.0.0.1", own), ("device.test", taken)):
                await page.open(f"https://{host}:{port}/")
                assert await page.ask("location.protocol") == "https:"
            told = await page.command("Page.navigate", url=f"https://bank.test:{refused}/")
            assert told["errorText"].startswith("net::ERR_CERT_"), told
