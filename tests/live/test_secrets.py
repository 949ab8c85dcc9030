"""No secret leaves: a whole life of a proxy, and then a search in everything that it ever said."""

from __future__ import annotations

import base64
import os
import re
import signal
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import trio
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.live.https_client import trusting_nobody
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.pki import Key, Pki, key_to_pem

DEADLINE_S = 400
PASSPHRASE = "correct horse sesame42 battery"
SPOKEN = {
    "bearer": "bearer-sesame42-abcdefgh",
    "cookie": "session-sesame42-ijklmnop",
    "basic": base64.b64encode(b"admin:sesame42-qrstuv").decode(),
    "query": "query-sesame42-wxyz",
    "body": "body-sesame42-0123456789",
    "header": "api-key-sesame42-9876",
    "passphrase": PASSPHRASE,
}
LOG = """
[log]
level = "debug"
access = "on"
access_per_s = 100000
trace = true
"""

# What people put into a configuration, where it doesn't belong.
SLIPS = f"""
# the console's password is {SPOKEN["body"]}
[api]
note = "{SPOKEN["header"]}"
password = "{PASSPHRASE}"
upstream = "http://admin:{SPOKEN["bearer"]}@127.0.0.1/?token={SPOKEN["query"]}"
"""


@dataclass
class Said:
    """Everything that was said, by whom."""

    texts: dict[str, bytes] = field(default_factory=dict)

    def add(self, who: str, text: bytes) -> None:
        self.texts[who] = self.texts.get(who, b"") + b"\n" + text

    async def command(self, *words: str) -> int:
        """Run a command; what it writes counts."""
        done = await tlsproxy(*words)
        self.add(f"tlsproxy {words[0]}", done.stdout + done.stderr)
        return done.returncode


def traces_of(key: Key) -> Iterator[bytes]:
    """Give what would give a key away: pieces of its PEM forms and of its bytes, in the usual spellings."""
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        pem = key.private_bytes(Encoding.PEM, form, NoEncryption())
        # but for the first, which all keys of a kind share
        yield from (line for line in pem.splitlines()[2:-1] if len(line) >= 24)
        der = key.private_bytes(Encoding.DER, form, NoEncryption())
        middle = der[len(der) // 3 : len(der) // 3 + 24]
        yield from (middle, middle.hex().encode(), middle.hex().upper().encode(), repr(middle)[2:-1].encode())


def encrypted(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode()))


async def raw(port: int, data: bytes) -> bytes:
    """Send bytes over TLS, and give all that comes back."""
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(tcp, trusting_nobody(), server_hostname="device.test", https_compatible=True)
    got = b""
    try:
        await stream.do_handshake()
        await stream.send_all(data)
        with trio.move_on_after(10):
            while more := await stream.receive_some(65536):
                got += more
    except trio.BrokenResourceError:
        pass  # an end is an end
    finally:
        await trio.aclose_forcefully(tcp)
    return got


def request(path: str, *, host: str = "Host: device.test\r\n", more: str = "", body: str = "") -> bytes:
    return (
        f"POST {path}?token={SPOKEN['query']} HTTP/1.1\r\n{host}"
        f"Authorization: Bearer {SPOKEN['bearer']}\r\nProxy-Authorization: Basic {SPOKEN['basic']}\r\n"
        f"Cookie: id={SPOKEN['cookie']}\r\nX-Api-Key: {SPOKEN['header']}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n{body}"
    ).encode()


async def visit(port: int, said: Said) -> None:
    """Ask in every way that ends in an answer of ours, good or bad, with secrets everywhere."""
    body = f'{{"password": "{SPOKEN["body"]}"}}'
    for data in (
        request("/fine", body=body),
        request("/dead/x", body=body),
        request("/odd/x", body=body),
        request("/x", host=""),
        request("/x", more="Bad Field: 1\r\n"),
        request("/x", more=f"Authorization : Bearer {SPOKEN['bearer']}\r\n"),
        request("/x", more=f"X-Big: {'a' * 40_000}\r\n"),
        request("/a//../b%2e"),
        request("/x").replace(b"Content-Length: 0", b"Content-Length: 5, 6"),
        b"\x00" + request("/x"),
    ):
        said.add("answers", await raw(port, data))


async def bring(proxy: Proxy, folder: Path, pki: Pki, said: Said) -> list[Key]:
    """Bring in certificates and keys, good and bad, by every way; give the keys."""
    good, other, third = (pki.leaf(("device.test",), key=kind) for kind in ("ec", "rsa", "ec"))
    files = {
        "good.pem": good.key_pem + good.chain_pem,
        "mismatched.pem": other.key_pem + good.chain_pem,
        "alone.pem": other.key_pem,
        "encrypted.pem": encrypted(other.key) + other.chain_pem,
        "torn.pem": other.chain_pem + key_to_pem(other.key)[:-60],
        "twice.pem": good.key_pem + other.key_pem + good.chain_pem,
        f"{PASSPHRASE}.txt": PASSPHRASE.encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        if PASSPHRASE not in name:  # a name is no secret: it is told to whoever gave it
            await said.command("certs", "import", str(folder / name), "--store", str(proxy.store))
            await said.command("certs", "import", str(folder / name), "--store", str(proxy.store), "--json")
    word, opened = str(folder / f"{PASSPHRASE}.txt"), str(folder / "encrypted.pem")
    await said.command(
        *("certs", "import", opened, "--store", str(proxy.store), "--json", "--passphrase-file", word)
    )
    transport = httpx2.AsyncHTTPTransport(uds=str(proxy.store / "run" / "control.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x", timeout=30) as client:
        for passphrase in (PASSPHRASE, PASSPHRASE * 99, f"wrong {PASSPHRASE}"):
            form = {"files": [("file", ("a", files["encrypted.pem"]))], "data": {"passphrase": passphrase}}
            said.add("answers", (await client.post("/v1/candidates", **form)).content)  # type: ignore[arg-type]
            body = {"files": [], "passphrase": passphrase}
            said.add("answers", (await client.post("/v1/candidates", json=body)).content)
    for name, content in (("inbox.pem", third.key_pem + third.chain_pem), ("bad.pem", other.key_pem[:-40])):
        since = len(proxy.log)
        (proxy.inbox / f".new-{name}").write_bytes(content)
        (proxy.inbox / f".new-{name}").rename(proxy.inbox / name)
        await proxy.wait_log("receipt", since=since, by="inbox")
    return [good.key, other.key, third.key]


@asynccontextmanager
async def odd_service() -> AsyncIterator[int]:
    """A service that sends back what it got, as no HTTP."""
    async with trio.open_nursery() as nursery:

        async def answer(stream: trio.SocketStream) -> None:
            with trio.move_on_after(5):
                await stream.send_all(b"NOT HTTP " + await stream.receive_some(65536))
            await stream.aclose()

        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_no_key_token_cookie_or_passphrase_is_in_anything_that_is_said(
    tmp_path: Path, pki: Pki
) -> None:
    said = Said()
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, odd_service() as odd:
            routes = {
                "/": f"http://127.0.0.1:{http}",
                "/dead": "http://127.0.0.1:9",
                "/odd": f"http://127.0.0.1:{odd}",
            }
            config = write_config(tmp_path, routes, more=LOG, top="workers = 2")
            async with running(config) as proxy:
                keys = await bring(proxy, tmp_path, pki, said)
                await visit(proxy.port, said)
                await lose_workers(proxy)
                since = len(proxy.log)
                assert await said.command("reload", "--store", str(proxy.store)) == 0
                await proxy.wait_log("reloaded", since=since)
                await visit(proxy.port, said)
                config.write_text(config.read_text() + SLIPS)
                assert await said.command("reload", "--store", str(proxy.store)) == 1
                await said.command("status", "--store", str(proxy.store))
                await said.command("status", "--json", "--store", str(proxy.store))
                await said.command("workers", "--store", str(proxy.store))
                await support(said, tmp_path / "running.tar.gz", config)
                said.add("metrics", await metrics_of(proxy))
                keys += [
                    load_pem_private_key(path.read_bytes(), None)  # type: ignore[misc]
                    for path in proxy.store.glob("bundles/*/key.pem")
                ]
            await said.command("status", "--json", "--store", str(proxy.store))
            await support(said, tmp_path / "stopped.tar.gz", config)
            said.add("log", bytes(proxy.written))
    for path in (
        *proxy.store.glob("audit*"),
        *proxy.store.glob("receipts/*"),
        *proxy.store.glob("handled/*"),
    ):
        said.add(path.parent.name if path.parent != proxy.store else "audit", path.read_bytes())
    nothing_secret_in(said, keys)


async def support(said: Said, file: Path, config: Path) -> None:
    """Make a support bundle; what is in it counts."""
    assert await said.command("support", str(file), "--config", str(config)) == 0
    with tarfile.open(file) as archive:
        for entry in archive:
            opened = archive.extractfile(entry)
            assert opened is not None
            said.add(f"support {entry.name.partition('/')[2]}", opened.read())


async def lose_workers(proxy: Proxy) -> None:
    """Have one worker write where it stands, and one die: others take their seats."""
    for number in (signal.SIGABRT, signal.SIGKILL):
        since = len(proxy.log)
        pid = next(w["pid"] for w in (await proxy.status())["workers"] if w["stage"] == "accepting")
        os.kill(pid, number)
        await proxy.wait_log("worker_ended", since=since, pid=pid)


async def metrics_of(proxy: Proxy) -> bytes:
    transport = httpx2.AsyncHTTPTransport(uds=str(proxy.store / "run" / "control.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
        return (await client.get("/v1/metrics")).content


def nothing_secret_in(said: Said, keys: list[Key]) -> None:
    secrets = [value.encode() for value in SPOKEN.values()] + [b"sesame42", b"PRIVATE KEY"]
    secrets += [trace for key in keys for trace in traces_of(key)]
    for who in (
        *("log", "audit", "receipts", "metrics", "answers", "tlsproxy status", "tlsproxy certs"),
        *(f"support {name}" for name in ("configuration.json", "check.json", "status.json", "receipts.json")),
        *(f"support {name}" for name in ("audit.jsonl", "events.jsonl", "metrics.txt", "processes.json")),
        *(f"support {name}" for name in ("store.txt", "bundles.json", "generation.json", "README.txt")),
    ):
        assert len(said.texts[who]) > 200, f"{who} was to say something"
    assert len(secrets) > 60
    for who, text in said.texts.items():
        for secret in secrets:
            if secret == b"PRIVATE KEY":  # words about keys are no key
                assert not re.search(rb"PRIVATE KEY-----\S*[A-Za-z0-9+/]{20}", text), who
            else:
                assert secret not in text, (who, secret, text[max(0, text.find(secret) - 200) :][:400])
