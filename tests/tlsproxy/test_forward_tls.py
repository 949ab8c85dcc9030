"""Upstreams that speak TLS: believed on their terms only, resumed and lent, refused with a reason."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.forwarding import GET, OK, Rig, forwarding
from tests.pki import Issued, Pki, to_pem
from tests.secured import SecurePeer, SecureService, a_secure_service, context_for
from tlsproxy.config.addresses import UpstreamAddress
from tlsproxy.errors import Fault, UpstreamTLSError
from tlsproxy.forward.dialling import dial_by
from tlsproxy.forward.site import make_upstream
from tlsproxy.observe.labels import UPSTREAM_TLS
from tlsproxy.policy_upstream import QUIET_READS, SESSION_KEEP_S
from tlsproxy.terms import Terms
from tlsproxy.tls.engines.outward import spki_of
from tlsproxy.tls.outward import Outward, OutwardStream
from tlsproxy.upstream.probe import probe, request_for

PKI = Pki()
STRANGERS = Pki()
ROOTS = to_pem(PKI.root).decode()
NAME = "api.service.test"
OLD = datetime.now(UTC).replace(microsecond=0) - timedelta(days=100)


async def once(peer: SecurePeer) -> None:
    await peer.head()
    await peer.send(OK.replace(b"Content", b"Connection: close\r\nContent"))


def pin_of(issued: Issued) -> str:
    return spki_of(issued.certificate.public_bytes(Encoding.DER))


async def used(outward: Outward, port: int) -> OutwardStream:
    stream = await outward.shake_hands(socket_of(await trio.open_tcp_stream("127.0.0.1", port)))
    await stream.send_all(GET)
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
    return stream


@asynccontextmanager
async def proxy_to(service: SecureService, terms: Terms, *, connect_s: float = 20.0) -> AsyncIterator[Rig]:
    """Run a proxy whose only route leads to the service, on these terms."""
    address = UpstreamAddress("https", "127.0.0.1", service.port)
    async with forwarding() as rig:
        dial = dial_by("secure", address, connect_s, terms)
        upstream = make_upstream("secure", dial, rig.site.sweeper)
        rig.site = replace(rig.site, upstreams={"/": upstream})
        yield rig
        upstream.close()


async def fate_of(issued: Issued, terms: Terms, tmp_path) -> str:
    """Ask once; give "" for an answer of the service, else the kind of what was recorded."""
    async with a_secure_service(issued, tmp_path) as service, proxy_to(service, terms) as rig:
        client = await rig.connect()
        answer = await client.ask()
        await rig.settle()
        (record,) = rig.records
        if answer.status == 200:
            assert record.code == ""
            return ""
        assert answer.status == 502
        assert record.fault is Fault.UPSTREAM
        assert record.detail
        return UPSTREAM_TLS[record.code]


@pytest.mark.parametrize("names", [(NAME,), ("*.service.test",)])
@pytest.mark.parametrize("key", ["ec", "rsa"])
async def test_a_service_that_its_authority_certifies_is_believed(names, key, tmp_path):
    assert await fate_of(PKI.leaf(names, key), Terms(NAME, roots=ROOTS), tmp_path) == ""


async def test_a_service_is_believed_by_its_address(tmp_path):
    assert await fate_of(PKI.leaf(("127.0.0.1",)), Terms("127.0.0.1", roots=ROOTS), tmp_path) == ""


async def test_the_name_of_another_service_is_refused(tmp_path):
    terms = Terms(NAME, roots=ROOTS)
    assert await fate_of(PKI.leaf(("other.test",)), terms, tmp_path) == "name"
    assert await fate_of(PKI.leaf(("127.0.0.1",)), terms, tmp_path) == "name"
    assert await fate_of(PKI.leaf((NAME,)), Terms("127.0.0.1", roots=ROOTS), tmp_path) == "name"


async def test_a_common_name_alone_is_no_name(tmp_path):
    def leave_out(builder):
        builder._extensions = [one for one in builder._extensions if one.oid.dotted_string != "2.5.29.17"]
        return builder

    assert await fate_of(PKI.leaf((NAME,), tweak=leave_out), Terms(NAME, roots=ROOTS), tmp_path) == "name"


async def test_what_has_expired_or_begins_later_is_refused(tmp_path):
    terms = Terms(NAME, roots=ROOTS)
    assert await fate_of(PKI.leaf((NAME,), days=1, start=OLD), terms, tmp_path) == "expired"
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    assert await fate_of(PKI.leaf((NAME,), start=soon), terms, tmp_path) == "expired"


async def test_strangers_and_the_self_signed_are_refused(tmp_path):
    terms = Terms(NAME, roots=ROOTS)
    assert await fate_of(STRANGERS.leaf((NAME,)), terms, tmp_path) == "untrusted"
    assert await fate_of(PKI.leaf((NAME,), issuer=None), terms, tmp_path) == "untrusted"


async def test_a_self_signed_certificate_is_believed_where_it_is_its_own_authority(tmp_path):
    issued = PKI.leaf((NAME,), issuer=None)
    terms = Terms(NAME, roots=issued.cert_pem.decode())
    assert await fate_of(issued, terms, tmp_path) == ""


async def test_an_authority_that_is_no_root_is_believed_where_it_is_named(tmp_path):
    assert (
        await fate_of(PKI.leaf((NAME,)), Terms(NAME, roots=to_pem(PKI.intermediate).decode()), tmp_path) == ""
    )


async def test_a_client_certificate_is_no_servers(tmp_path):
    issued = PKI.leaf((NAME,), eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    assert await fate_of(issued, Terms(NAME, roots=ROOTS), tmp_path) == "untrusted"


async def test_a_pin_alone_asks_no_authority_no_name_and_no_date(tmp_path):
    issued = PKI.leaf(("other.test",), issuer=None, days=1, start=OLD)
    assert await fate_of(issued, Terms(NAME, by="pin", pins=("00" * 32, pin_of(issued))), tmp_path) == ""
    assert await fate_of(issued, Terms(NAME, by="pin", pins=("00" * 32,)), tmp_path) == "pin"


async def test_a_pin_comes_on_top_of_the_chain(tmp_path):
    issued = PKI.leaf((NAME,))
    pins = (pin_of(issued),)
    assert await fate_of(issued, Terms(NAME, roots=ROOTS, pins=pins), tmp_path) == ""
    assert await fate_of(issued, Terms(NAME, roots=ROOTS, pins=("11" * 32,)), tmp_path) == "pin"
    assert await fate_of(issued, Terms("other.test", roots=ROOTS, pins=pins), tmp_path) == "name"


async def test_without_any_verification_everybody_is_taken_for_it(tmp_path):
    issued = STRANGERS.leaf(("other.test",), days=1, start=OLD)
    assert await fate_of(issued, Terms(NAME, by="nothing"), tmp_path) == ""


async def test_terms_that_are_unready_are_told_with_each_request(tmp_path):
    issued = PKI.leaf((NAME,))
    assert await fate_of(issued, Terms(NAME, unready="ca.pem can't be read"), tmp_path) == "unready"
    assert await fate_of(issued, Terms(NAME, roots="no certificate"), tmp_path) == "unready"
    wrong = Terms(NAME, roots=ROOTS, certificate=issued.cert_pem.decode(), key=PKI.leaf().key_pem.decode())
    assert await fate_of(issued, wrong, tmp_path) == "unready"


async def test_an_https_address_without_terms_is_never_asked_in_the_clear(tmp_path):
    issued = PKI.leaf((NAME,))
    async with a_secure_service(issued, tmp_path) as service, forwarding() as rig:
        dial = dial_by("secure", UpstreamAddress("https", "127.0.0.1", service.port), 5.0)
        upstream = make_upstream("secure", dial, rig.site.sweeper)
        rig.site = replace(rig.site, upstreams={"/": upstream})
        answer = await (await rig.connect()).ask()
        assert answer.status == 502
        assert service.names == service.failures == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_service_that_asks_is_shown_our_certificate(version, tmp_path):
    ours = PKI.leaf(("device.test",), eku=False)
    plain = Terms(NAME, roots=ROOTS)
    terms = Terms(NAME, roots=ROOTS, certificate=ours.chain_pem.decode(), key=ours.key_pem.decode())
    made = a_secure_service(PKI.leaf((NAME,)), tmp_path, client_roots=ROOTS, version=version)
    async with made as service:
        async with proxy_to(service, terms) as rig:
            assert (await (await rig.connect()).ask()).status == 200
        assert service.certified == [ours.certificate.public_bytes(Encoding.DER)]
        async with proxy_to(service, plain) as rig:
            answer = await (await rig.connect()).ask()
            await rig.settle()
            assert answer.status == 502
            assert rig.records[0].code == "upstream_tls_failed"
            assert "alert" in rig.records[0].detail


async def test_the_name_is_asked_for_and_an_address_is_not(tmp_path):
    async with a_secure_service(PKI.leaf((NAME, "127.0.0.1")), tmp_path) as service:
        for name in (NAME, "127.0.0.1"):
            async with proxy_to(service, Terms(name, roots=ROOTS)) as rig:
                assert (await (await rig.connect()).ask()).status == 200
        assert service.names == [NAME, None]


async def test_a_service_of_older_versions_only_is_refused(tmp_path):
    issued = PKI.leaf((NAME,))
    async with a_secure_service(issued, tmp_path) as service:
        service.context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            service.context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="deprecated"):
            service.context.maximum_version = ssl.TLSVersion.TLSv1_1
        async with proxy_to(service, Terms(NAME, roots=ROOTS)) as rig:
            assert (await (await rig.connect()).ask()).status == 502
            await rig.settle()
            assert rig.records[0].code == "upstream_tls_failed"


async def test_a_connection_is_lent_again_though_tickets_wait_on_it(tmp_path):
    async with (
        a_secure_service(PKI.leaf((NAME,)), tmp_path) as service,
        proxy_to(service, Terms(NAME, roots=ROOTS)) as rig,
    ):
        client = await rig.connect()
        for _ in range(5):
            assert (await client.ask()).status == 200
        other = await rig.connect()
        assert (await other.ask()).status == 200
        assert service.resumed == [False]
        assert service.versions == ["TLSv1.3"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_next_connection_resumes_the_session_for_a_while_only(version, tmp_path):
    issued = PKI.leaf((NAME,))
    terms = Terms(NAME, roots=ROOTS, pins=(pin_of(issued),))
    now = 0.0
    async with a_secure_service(issued, tmp_path, once, version=version) as service:
        outward = Outward("secure", terms, lambda: now)

        async def ask() -> None:
            raw = await trio.open_tcp_stream("127.0.0.1", service.port)
            sock = socket_of(raw)
            stream = await outward.shake_hands(sock)
            await stream.send_all(GET)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
            stream.close()

        for _ in range(3):
            await ask()
        assert service.resumed == [False, True, True]
        now = SESSION_KEEP_S + 1
        await ask()
        await ask()
        assert service.resumed == [False, True, True, False, True]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_as_old_as_the_verification_that_it_stands_for(version, tmp_path):
    now = 0.0
    async with a_secure_service(PKI.leaf((NAME,)), tmp_path, version=version) as service:
        outward = Outward("secure", Terms(NAME, roots=ROOTS), lambda: now)

        first = await used(outward, service.port)
        now = SESSION_KEEP_S - 1
        assert first.is_quiet()  # a connection of the pool that is looked at again and again
        second = await used(outward, service.port)
        now = SESSION_KEEP_S + 1
        assert first.is_quiet()
        assert second.is_quiet()
        third = await used(outward, service.port)
        assert service.resumed == [False, True, False]
        for stream in (first, second, third):
            stream.close()


async def test_after_a_failure_nothing_is_resumed_that_was_verified_before(tmp_path):
    now = 0.0
    async with a_secure_service(PKI.leaf((NAME,)), tmp_path) as service:
        outward = Outward("secure", Terms(NAME, roots=ROOTS), lambda: now)

        first = await used(outward, service.port)
        now = 1.0
        service.context.load_cert_chain(chain_file(STRANGERS.leaf((NAME,)), tmp_path))
        service.context.num_tickets = 0
        assert first.is_quiet()
        outward._kept = None
        with pytest.raises(UpstreamTLSError):
            await used(outward, service.port)
        assert first.is_quiet()
        with pytest.raises(UpstreamTLSError):
            await used(outward, service.port)
        assert service.resumed == [False]
        first.close()


@pytest.mark.parametrize(("reads", "quiet"), [(QUIET_READS, True), (1, False)])
async def test_a_look_whether_a_connection_is_quiet_ends_whatever_comes(reads, quiet, tmp_path, monkeypatch):
    monkeypatch.setattr("tlsproxy.tls.outward.QUIET_READS", reads)
    outward = Outward("secure", Terms(NAME, roots=ROOTS), lambda: 0.0)
    served = []

    def serve(listener: socket.socket) -> None:  # by `ssl` itself: trio's stream holds tickets back
        sock, _ = listener.accept()
        served.append(context_for(PKI.leaf((NAME,)), tmp_path).wrap_socket(sock, server_side=True))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, serve, listener)
            raw = await trio.open_tcp_stream(*listener.getsockname())
            stream = await outward.shake_hands(socket_of(raw))
        await trio.lowlevel.wait_readable(stream.sock)
        assert stream.is_quiet() is quiet
        stream.close()
        served[0].close()


def chain_file(issued: Issued, folder: Path) -> Path:
    file = folder / "other.pem"
    file.write_bytes(issued.key_pem + issued.chain_pem)
    return file


def socket_of(stream: trio.SocketStream) -> socket.socket:
    return socket.socket(fileno=stream.socket.detach())


async def test_a_body_that_is_cut_off_is_never_taken_for_whole(tmp_path):
    async def cut(peer: SecurePeer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it")

    async with (
        a_secure_service(PKI.leaf((NAME,)), tmp_path, cut) as service,
        proxy_to(service, Terms(NAME, roots=ROOTS)) as rig,
    ):
        client = await rig.connect()
        await client.send(GET)
        with pytest.raises(trio.BrokenResourceError):
            await client.everything()
        assert rig.records[0].code == "upstream_failed"


async def test_a_body_that_ends_with_close_notify_is_whole(tmp_path):
    async def end(peer: SecurePeer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        peer.stream._https_compatible = False
        with trio.move_on_after(5):
            await peer.stream.unwrap()

    async with (
        a_secure_service(PKI.leaf((NAME,)), tmp_path, end) as service,
        proxy_to(service, Terms(NAME, roots=ROOTS)) as rig,
    ):
        client = await rig.connect()
        answer = await client.ask()
        assert answer.body == b"all of it"


async def test_a_large_upload_and_its_echo_go_through(tmp_path):
    size = 3_000_000

    async def echo(peer: SecurePeer) -> None:
        await peer.head()
        body = await peer.exactly(size)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)

    async with (
        a_secure_service(PKI.leaf((NAME,)), tmp_path, echo) as service,
        proxy_to(service, Terms(NAME, roots=ROOTS)) as rig,
    ):
        client = await rig.connect()
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        request = b"POST / HTTP/1.1\r\nHost: device.test\r\nContent-Length: %d\r\n\r\n" % size
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, request + body)
            answer = await client.answer(b"POST")
        assert answer.body == body


async def test_an_upgrade_becomes_a_tunnel_both_ways(tmp_path):
    async def upgrade(peer: SecurePeer) -> None:
        await peer.head()
        await peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: thing\r\nConnection: Upgrade\r\n\r\nhello"
        )
        while data := await peer.stream.receive_some():
            await peer.send(data.upper())

    async with (
        a_secure_service(PKI.leaf((NAME,)), tmp_path, upgrade) as service,
        proxy_to(service, Terms(NAME, roots=ROOTS)) as rig,
    ):
        client = await rig.connect()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: device.test\r\nUpgrade: thing\r\nConnection: Upgrade\r\n\r\n"
        )
        assert b" 101 " in await client.head()
        assert await client.exactly(5) == b"hello"
        await client.send(b"and back")
        assert await client.exactly(8) == b"AND BACK"


async def test_a_service_that_speaks_no_tls_or_hangs_is_told_apart(tmp_path):
    async def plain(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    for handler, status, code in ((plain, 502, "upstream_tls_failed"), (silent, 504, "upstream_failed")):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, handler, [listener])
            service = SecureService(port=listener.socket.getsockname()[1])
            async with proxy_to(service, Terms(NAME, roots=ROOTS), connect_s=0.3) as rig:
                answer = await (await rig.connect()).ask()
                await rig.settle()
                assert (answer.status, rig.records[0].code) == (status, code)
            nursery.cancel_scope.cancel()


async def test_a_dead_service_is_unreachable(tmp_path):
    async with a_secure_service(PKI.leaf((NAME,)), tmp_path) as service:
        pass
    async with proxy_to(service, Terms(NAME, roots=ROOTS)) as rig:
        assert (await (await rig.connect()).ask()).status == 502
        await rig.settle()
        assert rig.records[0].code == "upstream_unreachable"


@pytest.mark.parametrize("wants_ours", [False, True])
async def test_a_check_says_that_tls_is_what_fails(wants_ours, tmp_path):
    made = a_secure_service(PKI.leaf((NAME,)), tmp_path, once, client_roots=ROOTS if wants_ours else "")
    async with made as service:
        address = UpstreamAddress("https", "127.0.0.1", service.port)
        for name, result in ((NAME, "tls" if wants_ours else "passed"), ("other.test", "tls")):
            dial = dial_by("secure", address, 20.0, Terms(name, roots=ROOTS))
            outcome = await probe(dial, request_for("x", "/healthz"), 20.0, ("2xx",))
            assert outcome.result == result
            assert bool(outcome.words) is (result == "tls")


def test_no_key_is_in_a_repr():
    assert "SECRET" not in repr(Terms(NAME, key="SECRET"))
