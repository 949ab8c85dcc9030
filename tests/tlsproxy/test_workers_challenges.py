"""What one worker answers to ACME authorities, and to whom else it says what."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncIterator

import pytest
import trio
from cryptography import x509

from certstore import Cause, Generation, Source
from certstore.generation import Row
from tests.forwarding import GET
from tests.planes import Plane, serving
from tests.tlsproxy.tls_pair import client_context
from tests.tlsproxy.tls_wire import Wire
from tlsproxy.workers.proofs import Answers, PendingAnswer

TEXT = "token-1.thumbprint"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
ACME = ("acme-tls/1",)
NO_PROTOCOL, UNRECOGNIZED = 120, 112


@pytest.fixture(params=["system", "bundled"])
async def plane(request, pki) -> AsyncIterator[Plane]:
    bundle = pki.leaf(("device.test",)).bundle()
    async with serving(bundle, request.param) as plane:
        rows = (Row("device.test", bundle.id, Source.CUSTOMER),)
        generation = Generation(2, rows, bundle.id, (), Cause.PROPOSAL, None, bundle.not_before)
        plane.serving.prepare(generation)
        plane.serving.commit(generation)
        yield plane


def answers(*pending: PendingAnswer) -> Answers:
    return Answers(1, 1_795_000_000.0, list(pending))


def text(holds_s: float = 60.0) -> PendingAnswer:
    return PendingAnswer("http-01", "token-1", TEXT, holds_s)


def proof(name: str = "device.test", holds_s: float = 60.0) -> PendingAnswer:
    return PendingAnswer("tls-alpn-01", name, DIGEST, holds_s)


async def asked(plane: Plane, path: str, method: str = "GET") -> bytes:
    stream = await plane.plain()
    async with stream:
        await stream.send_all(
            f"{method} {path} HTTP/1.1\r\nHost: device.test\r\nConnection: close\r\n\r\n".encode()
        )
        return b"".join([part async for part in stream])


async def ask(wire: Wire) -> None:
    await wire.send(GET)
    await wire.receive(1)


async def probe(plane: Plane, name: str, alpn: tuple[str, ...] = ACME) -> Wire:
    return await plane.client(client_context(alpn=alpn), server_name=name)


async def alert_to(plane: Plane, name: str, alpn: tuple[str, ...] = ACME) -> int:
    wire = await probe(plane, name, alpn)
    async with wire.stream:
        wire.handshake()
        await wire.flush()
        data = await wire.stream.receive_some(100)
    assert data[:1] == b"\x15", "an alert and nothing else: no certificate was shown"
    return data[-1]


async def test_a_token_that_waits_gets_its_text_and_everything_else_the_redirect(plane):
    plane.worker.challenges.take(answers(text()))
    answer = await asked(plane, "/.well-known/acme-challenge/token-1")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"application/octet-stream" in head
    assert body == TEXT.encode()
    bodiless = await asked(plane, "/.well-known/acme-challenge/token-1", "HEAD")
    assert bodiless.endswith(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(TEXT) in bodiless
    for path in (
        "/.well-known/acme-challenge/token-2",
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/token-1/",
        "/.well-known/acme-challenge/token-1?x",
        "/.well-known/acme-challenge/../acme-challenge/token-1",
        "/.well-known/acme-challenge/%74oken-1",
        "/.well-known/ACME-challenge/token-1",
        "/.well-known/acme-challenge/TOKEN-1",
        "/",
    ):
        assert TEXT.encode() not in await asked(plane, path), path
    assert TEXT.encode() not in await asked(plane, "/.well-known/acme-challenge/token-1", "POST")


async def test_a_text_is_given_no_longer_than_it_holds_and_not_after_it_was_taken_back(plane):
    plane.worker.challenges.take(answers(text(holds_s=0.0)))
    assert TEXT.encode() not in await asked(plane, "/.well-known/acme-challenge/token-1")
    plane.worker.challenges.take(answers(text()))
    plane.worker.challenges.take(answers())
    assert TEXT.encode() not in await asked(plane, "/.well-known/acme-challenge/token-1")


@pytest.mark.parametrize(
    ("name", "asked_as"),
    [("device.test", "device.test"), ("new.test", "new.test"), ("192.0.2.7", "7.2.0.192.in-addr.arpa")],
)
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_name_that_waits_is_proved_by_the_handshake_and_no_request_follows(
    plane, name, asked_as, version
):
    plane.worker.challenges.take(answers(proof(name)))
    wire = await plane.client(client_context(alpn=ACME, version=version), server_name=asked_as)
    async with wire.stream:
        await wire.shake_hands()
        assert wire.tls.selected_alpn_protocol() == "acme-tls/1"
        shown = wire.tls.getpeercert(binary_form=True)
        assert shown is not None
        leaf = x509.load_der_x509_certificate(shown)
        found = leaf.extensions.get_extension_for_oid(IDENTIFIER).value
        assert isinstance(found, x509.UnrecognizedExtension)
        assert found.value.hex() == "0420" + DIGEST
        with pytest.raises((EOFError, ssl.SSLError, trio.BrokenResourceError)):
            await ask(wire)
    assert not plane.asked.is_set()


async def test_who_asks_in_vain_is_told_why_before_any_certificate_is_shown(plane):
    assert await alert_to(plane, "device.test") == NO_PROTOCOL, "ours, and not asked about"
    assert await alert_to(plane, "stranger.test") == UNRECOGNIZED
    plane.worker.challenges.take(answers(proof("other.test"), proof("late.test", holds_s=0.0)))
    assert await alert_to(plane, "device.test") == NO_PROTOCOL
    assert await alert_to(plane, "late.test") == UNRECOGNIZED
    assert await alert_to(plane, "other.test.evil.test") == UNRECOGNIZED


async def test_only_a_hello_for_nothing_else_is_answered_so(plane):
    plane.worker.challenges.take(answers(proof()))
    wire = await probe(plane, "device.test", ("acme-tls/1", "http/1.1"))
    async with wire.stream:
        await wire.shake_hands()
        assert wire.tls.selected_alpn_protocol() == "http/1.1"
        shown = wire.tls.getpeercert(binary_form=True)
        assert shown is not None
        assert DIGEST not in shown.hex()
    assert await alert_to(plane, "device.test", ("acme-tls/1", "h2")) == NO_PROTOCOL
    wire = await plane.client(client_context(), server_name="device.test")
    async with wire.stream:
        await wire.shake_hands()
        shown = wire.tls.getpeercert(binary_form=True)
        assert shown is not None
        assert DIGEST not in shown.hex()
