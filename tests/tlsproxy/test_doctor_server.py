"""The doctor at servers that are right, and at ones that are wrong each in its own way."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPResponseBuilder, OCSPResponseStatus
from OpenSSL import SSL

from certstore import Circumstances, Comparison, Reference
from tests.pki import Issued, Pki, to_pem
from tlsproxy import policy_doctor
from tlsproxy.doctor.destination import Destination, parse_destination
from tlsproxy.doctor.diagnosis import Diagnosis
from tlsproxy.doctor.server import diagnose_server
from tlsproxy.doctor.visiting import Look, Visit, look_at, look_at_places
from tlsproxy.tls.engines.bundled import BundledEngine
from tlsproxy.tls.engines.probe import Version
from tlsproxy.tls.engines.visitor import Visitor

DEADLINE_S = 60
Handler = Callable[[trio.SocketStream], Awaitable[None]]


def context_of(folder: Path, pem: bytes) -> ssl.SSLContext:
    """Make a server that sends what stands in `pem` behind the key, in that very order."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    file = folder / "server.pem"
    file.write_bytes(pem)
    context.load_cert_chain(file)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def speak_tls(context: ssl.SSLContext, stream: trio.SocketStream) -> None:
    tls = trio.SSLStream(stream, context, server_side=True)
    try:
        await tls.do_handshake()
        assert await tls.receive_some(1) == b""
    except trio.BrokenResourceError:
        pass
    await stream.aclose()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, handler, 0, host="127.0.0.1")
            listeners: list[trio.SocketListener] = await nursery.start(serve)
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()


async def diagnosed(port: int, name: str = "device.test", roots: Path | None = None) -> Diagnosis:
    destination = Destination(name, "127.0.0.1", port)
    looks = await look_at(destination)
    reference = Reference.open(Comparison(str(roots or "/nowhere")))
    around = Circumstances(datetime.now(UTC), clock_plausible=True)
    found = diagnose_server(destination, looks, reference, around)
    assert [line for line, _ in found.lines()][-1].startswith("verdict: ")
    return found


async def looked_at(folder: Path, pem: bytes, name: str = "device.test") -> Diagnosis:
    async with serving(partial(speak_tls, context_of(folder, pem))) as port:
        return await diagnosed(port, name)


def codes(found: Diagnosis) -> list[str]:
    return [finding.code for finding in found.findings if finding.code != "list_unread"]


async def test_a_server_as_it_should_be_is_described_and_accepted(tmp_path, pki: Pki):
    issued = pki.leaf()
    roots = tmp_path / "roots.pem"
    roots.write_bytes(pki.root_pem)
    async with serving(partial(speak_tls, context_of(tmp_path, issued.key_pem + issued.chain_pem))) as port:
        found = await diagnosed(port, roots=roots)
    assert (found.is_well, found.findings) == (True, ())
    assert found.anatomy is not None
    assert [link.title for link in found.anatomy.links] == ["device.test", "Test Intermediate"]
    assert found.anatomy.above == "Test Root"
    facts = dict(found.facts)
    assert "TLS_AES_" in facts["TLS 1.3"]
    assert "25519" in facts["TLS 1.3"]
    assert "ECDHE-ECDSA" in facts["TLS 1.2"]
    assert (facts["OCSP staple"], facts["certificates"]) == ("no", "2 sent")
    document = found.to_json()
    assert (document["ok"], document["findings"]) == (True, [])


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("leaf intermediate root", ["server_root_sent"]),
        ("leaf root intermediate", ["server_root_sent"]),
        ("leaf", ["incomplete_chain"]),
        ("leaf other intermediate", ["server_stranger_sent"]),
        ("leaf upper intermediate", ["server_chain_disordered"]),
    ],
)
async def test_what_is_wrong_with_the_chain_is_told(tmp_path, pki: Pki, now, sent, expected):
    key = pki.make_key("ec")
    lower = pki.authority("Lower", key, pki.intermediate, pki.intermediate_key, now=now)
    issued = pki.leaf() if "upper" not in sent else below(pki, lower, key)
    parts = {
        "leaf": issued.certificate,
        "intermediate": lower if "upper" in sent else pki.intermediate,
        "upper": pki.intermediate,
        "root": pki.root,
        "other": pki.leaf().certificate,
    }
    pem = issued.key_pem + to_pem(*(parts[name] for name in sent.split()))
    found = await looked_at(tmp_path, pem)
    assert codes(found) == expected
    assert found.is_well


def below(pki: Pki, issuer: x509.Certificate, issuer_key) -> Issued:
    """Issue by an authority that isn't one of the usual two."""
    before = pki.intermediate, pki.intermediate_key
    try:
        pki.intermediate, pki.intermediate_key = issuer, issuer_key
        return pki.leaf()
    finally:
        pki.intermediate, pki.intermediate_key = before


async def test_a_name_that_is_not_covered_is_what_clients_refuse(tmp_path, pki: Pki):
    issued = pki.leaf(("*.device.test", "192.0.2.1"))
    pem = issued.key_pem + issued.chain_pem
    assert codes(await looked_at(tmp_path, pem, name="a.device.test")) == []
    assert codes(await looked_at(tmp_path, pem, name="192.0.2.1")) == []
    found = await looked_at(tmp_path, pem, name="device.test")
    assert codes(found) == ["server_name_mismatch"]
    assert not found.is_well
    assert "*.device.test" in found.findings[0].words


async def test_the_checks_of_files_are_made_here_too_on_the_weakest_of_keys(tmp_path, pki: Pki):
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issued = pki.leaf(key=weak, start=start, days=10, issuer=None)
    found = await looked_at(tmp_path, issued.key_pem + issued.chain_pem)
    assert codes(found) == ["expired", "key_too_small", "self_signed"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (ssl.TLSVersion.TLSv1_2, ["server_old_version"]),
        (ssl.TLSVersion.TLSv1_3, ["server_new_version_only"]),
    ],
)
async def test_a_version_that_is_missing_is_told(tmp_path, pki: Pki, version, expected):
    issued = pki.leaf()
    context = context_of(tmp_path, issued.key_pem + issued.chain_pem)
    context.minimum_version = context.maximum_version = version
    async with serving(partial(speak_tls, context)) as port:
        found = await diagnosed(port)
    assert codes(found) == expected
    assert found.is_well


async def speak_http(stream: trio.SocketStream) -> None:
    await stream.receive_some(100)
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await stream.aclose()


async def speak_old_http(stream: trio.SocketStream) -> None:
    await stream.receive_some(100)
    await stream.send_all(b"<!DOCTYPE HTML>\n<html>\n")
    await stream.aclose()


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.receive_some(100)
    await stream.aclose()


async def babble(stream: trio.SocketStream) -> None:
    """Send handshake records without an end: a certificate message of 16 MB, bit by bit."""
    await stream.receive_some(100)
    try:
        await stream.send_all(b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(16380))
        while True:
            await stream.send_all(b"\x16\x03\x03\x40\x00" + bytes(16384))
    except trio.BrokenResourceError:
        await stream.aclose()


@pytest.mark.parametrize(
    ("handler", "code", "words"),
    [
        (speak_http, "server_not_tls", "'HTTP/1.1 400 Bad Request'"),
        (speak_old_http, "server_not_tls", "'<!DOCTYPE HTML>'"),
        (hang_up, "server_handshake_failed", "ends the connection"),
        (babble, "server_handshake_failed", "TLS 1.3: "),
    ],
)
async def test_a_server_that_speaks_something_else_is_told_what_it_said(handler, code, words):
    async with serving(handler) as port:
        found = await diagnosed(port)
    assert codes(found) == [code]
    assert words in found.findings[0].words
    assert not found.is_well


async def say_nothing(_stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(policy_doctor, "HANDSHAKE_S", 0.1)
    async with serving(say_nothing) as port:
        found = await diagnosed(port)
    assert codes(found) == ["server_handshake_failed"]
    assert "no handshake within" in found.findings[0].words


async def test_where_nobody_listens_the_systems_reason_is_told():
    with trio.socket.socket() as sock:  # bound, and not listening
        await sock.bind(("127.0.0.1", 0))
        found = await diagnosed(sock.getsockname()[1])
    assert codes(found) == ["server_unreachable"]
    assert "connection refused" in found.findings[0].words
    assert found.verdict == "clients can't reach it"


async def test_each_address_of_a_server_is_looked_at(tmp_path, pki: Pki):
    one, other = (context_of(tmp_path, both(pki.leaf())) for _ in range(2))
    async with (
        serving(partial(speak_tls, one)) as first,
        serving(partial(speak_tls, one)) as second,
        serving(partial(speak_tls, other)) as stale,
    ):
        with trio.socket.socket() as sock:  # bound, and not listening
            await sock.bind(("127.0.0.1", 0))
            ports = (sock.getsockname()[1], first, second, stale)
            places = [(socket.AF_INET, ("127.0.0.1", port)) for port in ports]
            looks = await look_at_places(places, "device.test", [Version.TLS13, Version.TLS12], 5.0)
    destination = Destination("device.test", "device.test", 443)
    around = Circumstances(datetime.now(UTC), clock_plausible=True)
    found = diagnose_server(destination, looks, Reference(None), around)
    assert codes(found) == ["server_address_silent", "server_address_differs"]
    assert f"127.0.0.1:{ports[0]}" in found.findings[0].words
    assert f"127.0.0.1:{stale}" in found.findings[1].words
    assert f"127.0.0.1:{first}" in found.findings[1].words


async def test_a_name_that_nobody_knows_is_told():
    looks = await look_at(Destination("device.invalid", "device.invalid", 443), connect_s=20)
    found = diagnose_server(
        Destination("device.invalid", "device.invalid", 443),
        looks,
        Reference(None),
        Circumstances(datetime.now(UTC), clock_plausible=True),
    )
    assert codes(found) == ["server_unreachable"]


async def test_ipv6_is_spoken_and_the_name_is_asked_for_where_we_connect(tmp_path, pki: Pki):
    seen: list[str | None] = []
    context = context_of(tmp_path, both(pki.leaf()))
    context.sni_callback = lambda _tls, name, _context: seen.append(name)
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, partial(speak_tls, context), 0, host="::1")
            listeners = await nursery.start(serve)
            port = listeners[0].socket.getsockname()[1]
            destination = parse_destination(f"https://device.test:{port}", connect="::1")
            assert destination is not None
            (one,) = await look_at(destination, [Version.TLS13])
            other = parse_destination(f"[::1]:{port}")
            assert other is not None
            await look_at(other, [Version.TLS13])
            nursery.cancel_scope.cancel()
    assert one.is_answered
    assert seen == ["device.test", None]


def both(issued: Issued) -> bytes:
    return issued.key_pem + issued.chain_pem


# OpenSSL sends on only what it can read as an OCSP answer
STAPLE = OCSPResponseBuilder.build_unsuccessful(OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)


@pytest.mark.parametrize("staple", [b"", STAPLE], ids=["without", "with"])
def test_a_stapled_answer_is_seen_and_lets_must_staple_be(pki: Pki, staple: bytes):
    issued = pki.leaf(
        tweak=lambda builder: builder.add_extension(
            x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False
        )
    )
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(issued.certificate)
    context.use_privatekey(issued.key)
    context.set_ocsp_server_callback(lambda _tls, _data: staple)
    server, client = BundledEngine(context), Visitor(Version.TLS13, "device.test")
    done = False
    while not done:
        done = client.handshake()
        server.feed(client.take())
        server.handshake()
        client.feed(server.take())
    seen = Visit(Version.TLS13, True, client.facts(), client.chain_der(), client.has_staple())
    around = Circumstances(datetime.now(UTC), clock_plausible=True)
    found = diagnose_server(
        Destination("device.test", "::1", 1), (Look("::1", (seen,)),), Reference(None), around
    )
    assert codes(found) == (["incomplete_chain"] if staple else ["incomplete_chain", "must_staple"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://Device.Test", Destination("device.test", "device.test", 443)),
        ("HTTPS://device.test:8443/path?x", Destination("device.test", "device.test", 8443)),
        ("https://[fd00::7]/", Destination("fd00::7", "fd00::7", 443)),
        ("device.test:8443", Destination("device.test", "device.test", 8443)),
        ("[::1]:443", Destination("::1", "::1", 443)),
        ("https://bücher.test", Destination("xn--bcher-kva.test", "bücher.test", 443)),
        ("cert.pem", None),
        ("./a:b/1:2", None),
        ("C:", None),
    ],
)
def test_servers_are_told_from_files(text, expected):
    assert parse_destination(text) == expected


@pytest.mark.parametrize("text", ["https://", "https://a:b", "https://-:1", "host:99999", "https://[::1"])
def test_a_server_that_can_not_be_is_refused(text):
    with pytest.raises(ValueError):
        parse_destination(text)
