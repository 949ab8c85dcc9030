"""Ways round a client certificate, tried on a live proxy: other hosts, old sessions, a swap in the midst."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, write_config
from tests.live.test_client_certificates import Shower, asked, client, trust
from tests.pki import Issued, Pki, crl

DEADLINE_S = 120
RULES = """
[tls]
engine = "{engine}"
[[client_auth]]
trust = "plant"
facts = true
[[client_auth]]
names = ["open.test"]
mode = "off"
"""
Tool = Callable[[str], str]


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@asynccontextmanager
async def proxied(folder: Path, engine: str) -> AsyncIterator[tuple[Proxy, Shower]]:
    async with http_service() as http:
        config = write_config(folder, {"/": f"http://127.0.0.1:{http}"}, more=RULES.format(engine=engine))
        async with running(config) as proxy:
            yield proxy, Shower(folder, proxy.port)


async def said(show: Shower, name: str, request: bytes) -> bytes:
    """Send a request as a client without a certificate, to a name that asks for none; give the status."""
    async with show.stream(None, name) as stream:
        await stream.send_all(request)
        data = b""
        while b"\r\n" not in data:
            part = await stream.receive_some()
            assert part, "the connection ended"
            data += part
    return data.split()[1]


async def test_no_host_leads_round_the_certificate(tmp_path: Path, pki: Pki, engine: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with proxied(tmp_path, engine) as (proxy, show):
            assert (await trust(proxy, tmp_path, pki.root_pem))[0] == 0
            assert await said(show, "open.test", b"GET /echo HTTP/1.1\r\nHost: open.test\r\n\r\n") == b"200"
            for request in [
                b"GET /echo HTTP/1.0\r\n\r\n",  # the upstream would be told another name
                b"GET /echo HTTP/1.1\r\nHost: api.test\r\n\r\n",
                b"GET https://api.test/echo HTTP/1.1\r\nHost: api.test\r\n\r\n",
                b"GET /echo HTTP/1.1\r\nHost: open.test..\r\n\r\n",
                b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                b"GET /echo HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
            ]:
                assert await said(show, "open.test", request) == b"421", request
            mixed = b"GET https://api.test/echo HTTP/1.1\r\nHost: open.test\r\n\r\n"
            assert await said(show, "open.test", mixed) == b"400"
            status, body = await show.get(client(pki), "api.test")
            assert (status, b"x-client-cert-verified" in body) == (200, True)


def s_client(tool: Tool, port: int, folder: Path, shown: Path, *options: str) -> list[str]:
    return [
        tool("openssl"),
        *("s_client", "-connect", f"127.0.0.1:{port}", "-servername", "api.test", "-quiet", "-ign_eof"),
        *("-cert", str(shown), "-key", str(shown), "-sess_out", str(folder / "session"), *options),
    ]


async def run(*command: str, stdin: bytes = b"") -> tuple[int, bytes]:
    done = await trio.run_process(command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_other_programs_are_let_in_and_refused_once_they_are_revoked(
    tmp_path: Path, pki: Pki, engine: str, version: str, tool: Tool
) -> None:
    """By curl and s_client, with the session that s_client was given before."""
    lost = client(pki)
    shown = tmp_path / "shown.pem"
    shown.write_bytes(lost.chain_pem + lost.key_pem)
    get = b"GET /echo HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"
    dashed = f"-tls{version.replace('.', '_')}"
    with trio.fail_after(DEADLINE_S):
        async with proxied(tmp_path, engine) as (proxy, _):
            url = f"https://api.test:{proxy.port}/echo"
            curl = [tool("curl"), "-sSk", f"--tlsv{version}", "--tls-max", version]
            curl += ["--connect-to", f"::127.0.0.1:{proxy.port}", url]
            assert (await trust(proxy, tmp_path, pki.root_pem, crl(pki.root, pki.root_key)))[0] == 0
            asking = s_client(tool, proxy.port, tmp_path, shown, dashed)
            code, words = await run(*asking, stdin=get)
            assert b"HTTP/1.1 200" in words, (code, words)
            code, words = await run(*curl, "--cert", str(shown))
            assert (code, b'"path":"/echo"' in words) == (0, True), words
            code, words = await run(*curl)
            assert code in {35, 56}, words  # before TLS 1.3's request was sent, or behind it
            serial = lost.certificate.serial_number
            assert (await trust(proxy, tmp_path, crl(pki.root, pki.root_key, (serial,))))[0] == 0
            session = tmp_path / "session"
            back = ["-sess_in", str(session)] if session.exists() and session.stat().st_size else []
            code, words = await run(*asking, *back, stdin=get)
            assert b"HTTP/1.1 200" not in words
            assert b"certificate revoked" in words, words
            code, words = await run(*curl, "--cert", str(shown))
            assert (code in {35, 56}, b"revoked" in words) == (True, True), words


class Slow:
    """A TLS client that makes one step of its handshake at a time."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="api.test")

    def step(self) -> None:
        """Say the next flight, and hold back what answers it."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.sock.sendall(self.outgoing.read())
        self.incoming.write(self.sock.recv(65_536))

    def ends(self) -> bytes:
        """Finish the handshake, ask once and once more; give all that was answered until the end."""
        answer = b""
        try:
            while True:
                try:
                    self.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self.sock.sendall(self.outgoing.read())
                    self.incoming.write(self.sock.recv(65_536))
            self.tls.write(b"GET /echo HTTP/1.1\r\nHost: api.test\r\n\r\n" * 2)
            self.sock.sendall(self.outgoing.read())
            while data := self.sock.recv(65_536):
                self.incoming.write(data)
                answer += self._read()
        except (OSError, ssl.SSLError):
            pass
        finally:
            self.sock.close()
        return answer

    def _read(self) -> bytes:
        data = b""
        try:
            while part := self.tls.read(65_536):
                data += part
        except ssl.SSLError:
            pass
        return data


def limited(show: Shower, issued: Issued, version: str) -> ssl.SSLContext:
    context = show.context(issued)
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    return context


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_handshake_that_a_swap_overtakes_gets_one_answer_at_most(
    tmp_path: Path, pki: Pki, engine: str, version: str
) -> None:
    """Its hello came before the swap, its certificate after it."""
    lost, good = client(pki), client(pki, "pump-8.plant.test")
    with trio.fail_after(DEADLINE_S):
        async with proxied(tmp_path, engine) as (proxy, show):
            assert (await trust(proxy, tmp_path, pki.root_pem, crl(pki.root, pki.root_key)))[0] == 0
            slow = Slow(limited(show, lost, version), proxy.port)
            await trio.to_thread.run_sync(slow.step)
            serial = lost.certificate.serial_number
            assert (await trust(proxy, tmp_path, crl(pki.root, pki.root_key, (serial,))))[0] == 0
            answer = await trio.to_thread.run_sync(slow.ends)
            assert answer.count(b"HTTP/1.1 200") <= 1
            async with show.stream(good) as stream:
                assert [(await asked(stream, "api.test"))[0] for _ in range(2)] == [200, 200]
