"""The sample device by itself, on real sockets, without a proxy in front."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files

import httpx2
import pytest
import trio
import trio_websocket
from cryptography.hazmat.primitives.serialization import Encoding

from tlsproxy.demo.device import Device, serve
from tlsproxy.demo.front import Certificate, Front, look
from tlsproxy.demo.payload import NOISE_BYTES, Events, Noise, noise_sha256

DEADLINE_S = 30.0
DER = Encoding.DER


@asynccontextmanager
async def running(device: Device) -> AsyncIterator[str]:
    """Serve a device on a free port until the block ends; give its authority."""
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(serve, device, "127.0.0.1:0")
            yield url.removeprefix("http://")
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(device: Device) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        running(device) as authority,
        httpx2.AsyncClient(base_url=f"http://{authority}", trust_env=False) as asking,
    ):
        yield asking


class Stand:
    """A TLS server that answers as the device does behind a proxy; its certificate can change."""

    def __init__(self, folder, issued, generation=1) -> None:
        self.folder, self.answer = folder, b'{"generation": %d}' % generation
        self.serve_with(issued)

    def serve_with(self, issued) -> None:
        file = self.folder / "stand.pem"
        file.write_bytes(issued.key_pem + issued.chain_pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(file)
        self.fingerprint = issued.bundle().fingerprint

    async def handle(self, stream: trio.SocketStream) -> None:
        async with trio.SSLStream(stream, self.context, server_side=True, https_compatible=True) as tls:
            await tls.receive_some()
            await tls.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + self.answer)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Front]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, self.handle, 0, host="127.0.0.1"))
            yield Front("127.0.0.1", listeners[0].socket.getsockname()[1])
            nursery.cancel_scope.cancel()


# --- bodies


async def test_the_noise_is_the_same_each_time_and_has_the_digest_that_is_told():
    digests = []
    for _ in range(2):
        digest, size = hashlib.sha256(), 0
        async for piece in Noise():
            digest.update(piece)
            size += len(piece)
        assert size == NOISE_BYTES
        digests.append(digest.hexdigest())
    assert digests == [noise_sha256()] * 2


async def test_a_rate_holds_the_noise_back(autojump_clock):
    begun = trio.current_time()
    async for _ in Noise(rate=2_000_000):
        pass
    assert trio.current_time() - begun == pytest.approx(25, abs=0.1)


async def test_events_come_once_a_second_and_are_numbered(autojump_clock):
    begun, events = trio.current_time(), Events(lambda: datetime(2026, 11, 24, tzinfo=UTC))
    got = [await anext(events) for _ in range(4)]
    assert trio.current_time() - begun == pytest.approx(3)
    assert [event.splitlines()[0] for event in got] == [b"id: 0", b"id: 1", b"id: 2", b"id: 3"]
    assert json.loads(got[3].splitlines()[2].removeprefix(b"data: "))["number"] == 3


# --- the API


async def test_the_api_tells_what_the_device_is():
    async with client(Device(tip="do this")) as asking:
        facts = (await asking.get("/api/device")).json()
    assert facts["name"] == "Sample device"
    assert facts["tip"] == "do this"
    assert facts["download"] == {"size": NOISE_BYTES, "sha256": noise_sha256()}


async def test_the_bundle_of_a_connection_is_what_the_proxy_tells_and_nothing_else():
    async with client(Device()) as asking:
        untold = (await asking.get("/api/connection")).json()
        headers = {"Tlsproxy-Bundle": "ab" * 32, "Tlsproxy-Generation": "7"}
        told = (await asking.get("/api/connection", headers=headers)).json()
        odd = (await asking.get("/api/connection", headers={"Tlsproxy-Generation": "many"})).json()
    assert untold == {"fingerprint": None, "generation": None}
    assert told == {"fingerprint": "ab" * 32, "generation": 7}
    assert odd["generation"] is None


async def test_a_download_has_its_length_and_its_digest():
    async with client(Device()) as asking:
        whole = await asking.get("/api/download")
        head = await asking.head("/api/download")
    assert len(whole.content) == NOISE_BYTES
    assert hashlib.sha256(whole.content).hexdigest() == whole.headers["x-sha256"]
    assert head.content == b""
    assert head.headers["content-length"] == str(NOISE_BYTES)
    assert head.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "1e9", "²", "9999999999999"])
async def test_a_rate_that_is_none_is_refused(rate):
    async with client(Device()) as asking:
        assert (await asking.get("/api/download", params={"rate": rate})).status_code == 400


async def test_an_upload_is_counted_and_hashed():
    async with client(Device()) as asking:
        body = bytes(range(256)) * 20_000
        told = (await asking.post("/api/upload", content=body)).json()
    assert told == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


async def test_a_client_that_leaves_in_the_middle_harms_nobody():
    async with running(Device()) as authority:
        host, port = authority.split(":")
        head = b"%b HTTP/1.1\r\nHost: x\r\n%b\r\n"
        for request in (
            head % (b"GET /api/download", b""),
            head % (b"GET /api/events", b""),
            head % (b"POST /api/upload", b"Content-Length: 9\r\n") + b"half",
        ):
            stream = await trio.open_tcp_stream(host, int(port))
            await stream.send_all(request)
            if b"upload" not in request:
                assert await stream.receive_some(100)
            await trio.aclose_forcefully(stream)
        async with httpx2.AsyncClient(base_url=f"http://{authority}", trust_env=False) as asking:
            assert (await asking.get("/api/connection")).status_code == 200


# --- the page


async def test_the_page_comes_with_a_policy_that_lets_nothing_else_in():
    async with client(Device()) as asking:
        for path, kind in (
            ("/", "html"),
            ("/app.css", "css"),
            ("/app.js", "javascript"),
            ("/icon.svg", "svg"),
        ):
            answer = await asking.get(path)
            assert answer.status_code == 200
            assert kind in answer.headers["content-type"]
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert "http" not in policy


def test_the_page_holds_nothing_inline_and_nothing_from_elsewhere():
    page = files("tlsproxy.demo").joinpath("page")
    html = page.joinpath("index.html").read_text("utf-8")
    assert not re.search(r"<style|<script(?![^>]*src=)|\sstyle=|\son\w+=", html)
    for name in ("index.html", "app.css", "app.js"):
        text = page.joinpath(name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(", text), name
        # What a device says is text, never markup.
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), name


# --- the feed, and what a new connection gets


async def test_a_look_gives_the_certificate_that_a_new_connection_gets(pki, tmp_path):
    issued = pki.leaf(names=("device.test", "192.0.2.1"), key="rsa")
    with trio.fail_after(DEADLINE_S):
        async with Stand(tmp_path, issued, generation=5).open() as front:
            sighting = await look(front)
    assert sighting.generation == 5
    certificate = sighting.certificate
    assert certificate.fingerprint == issued.bundle().fingerprint
    assert (certificate.subject, certificate.issuer) == ("device.test", "Test Intermediate")
    assert (certificate.key, certificate.self_signed) == ("RSA 2048", False)
    assert certificate.names == ("device.test", "192.0.2.1")


async def test_a_look_where_nobody_listens_fails_as_the_system_says():
    with trio.fail_after(DEADLINE_S), trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets the port
        with pytest.raises(OSError):
            await look(Front("127.0.0.1", sock.getsockname()[1]))


async def test_a_look_at_what_is_no_tls_fails_soon():
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello\r\n")
        await stream.aclose()

    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
            with pytest.raises((OSError, ssl.SSLError)):
                await look(Front("127.0.0.1", listeners[0].socket.getsockname()[1]))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("kind", "shown"), [("ec", "EC P-256"), ("rsa", "RSA 2048"), ("ed25519", "Ed25519")])
def test_a_certificate_is_shown_by_what_people_ask_for(pki, kind, shown):
    certificate = Certificate.from_der(pki.leaf(key=kind, issuer=None).bundle().leaf.public_bytes(DER))
    assert certificate.key == shown
    assert certificate.self_signed


async def test_the_feed_keeps_telling_its_own_bundle_while_new_connections_get_another(pki, tmp_path):
    first, second = pki.leaf(), pki.leaf(key="rsa")
    stand = Stand(tmp_path, first)
    async with stand.open() as front, running(Device(front)) as authority:
        headers = [(b"tlsproxy-bundle", stand.fingerprint.encode()), (b"tlsproxy-generation", b"1")]
        url = f"ws://{authority}/api/feed"
        async with trio_websocket.open_websocket_url(url, extra_headers=headers) as feed:
            told = json.loads(await feed.get_message())
            assert told["number"] == 0
            assert told["served"]["fingerprint"] == told["new"]["fingerprint"] == stand.fingerprint
            stand.serve_with(second)
            stand.answer = b'{"generation": 2}'
            while told["new"]["generation"] != 2:
                told = json.loads(await feed.get_message())
            assert told["served"]["fingerprint"] == first.bundle().fingerprint
            assert told["served"]["subject"] == "device.test"  # it was seen while it was new
            assert told["new"]["fingerprint"] == second.bundle().fingerprint
            assert told["new"]["key"] == "RSA 2048"


async def test_the_feed_says_why_a_new_connection_fails_and_goes_on():
    async with (
        running(Device()) as authority,
        trio_websocket.open_websocket_url(f"ws://{authority}/api/feed") as feed,
    ):
        told = [json.loads(await feed.get_message()) for _ in range(2)]
    assert [one["number"] for one in told] == [0, 1]
    assert told[0]["new"] is None
    assert told[0]["why"] == "no proxy in front"


# --- the process


def device_process(*options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tlsproxy.demo.device", "--bind", "127.0.0.1:0", *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def test_the_process_ends_when_its_standard_input_does():
    process = device_process()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(DEADLINE_S) == 0
