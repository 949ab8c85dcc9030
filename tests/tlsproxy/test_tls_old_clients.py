"""Clients of former times: each gets the alert that tells it what is missing, from both engines.

Their hellos are written here, as they were: no library of today would send them (RFC 6101, 2246, 4346, 5246).
"""

from __future__ import annotations

import struct

import pytest
import trio

from tests.tlsproxy.tls_wire import sockets, table_of
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import PROFILES, Profile
from tlsproxy.tls.engines import Context, make_context
from tlsproxy.tls.handshake import accept_tls

SSL3, TLS10, TLS11, TLS12 = 0x0300, 0x0301, 0x0302, 0x0303
ECDHE_ECDSA_GCM, ECDHE_RSA_GCM = 0xC02B, 0xC02F
ECDHE_ECDSA_CBC, ECDHE_RSA_CBC = 0xC009, 0xC013
RSA_GCM, RSA_CBC, RSA_3DES, RSA_RC4, RSA_EXPORT = 0x009C, 0x002F, 0x000A, 0x0005, 0x0003
RSA_DES, EXPORT_1024, PSK_GCM, SRP_CBC, ECDHE_CCM, ECDHE_NULL = 0x0009, 0x0062, 0x00A8, 0xC01E, 0xC0AC, 0xC006
DHE_GCM, ANONYMOUS, NULL, FALLBACK = 0x009E, 0x0034, 0x0001, 0x5600
AES_128, INTEGRITY_ONLY = 0x1301, 0xC0B4
HANDSHAKE_FAILURE, PROTOCOL_VERSION, INAPPROPRIATE_FALLBACK, MISSING_EXTENSION = 40, 70, 86, 109
X25519, P256, SECP160 = 29, 23, 16
ECDSA, PSS, ECDSA_SHA1, RSA_SHA1 = 0x0403, 0x0804, 0x0203, 0x0201
NEW = (TLS12, (ECDHE_ECDSA_GCM, ECDHE_RSA_GCM), (X25519, P256))


def vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def shorts(numbers: tuple[int, ...]) -> bytes:
    return b"".join(struct.pack(">H", number) for number in numbers)


def hello(version: int, suites: tuple[int, ...], groups: tuple[int, ...] = (P256,)) -> bytes:
    """Write a ClientHello in one record."""
    extensions = b""
    if version > SSL3:
        name = vector(b"\0" + vector(b"device.test", 2), 2)
        points = vector(b"\0", 1)
        signatures = vector(shorts((0x0403, 0x0804, 0x0401, 0x0201)), 2)
        listed = {0: name, 10: vector(shorts(groups), 2), 11: points}
        listed |= {13: signatures} if version == TLS12 else {}
        extensions = vector(b"".join(struct.pack(">H", k) + vector(v, 2) for k, v in listed.items()), 2)
    body = struct.pack(">H", version) + bytes(32) + b"\0" + vector(shorts(suites), 2) + b"\x01\0" + extensions
    return b"\x16" + struct.pack(">H", min(version, TLS10)) + vector(b"\x01" + vector(body, 3), 2)


def newer(
    suites: tuple[int, ...] = (AES_128,),
    groups: tuple[int, ...] = (P256, X25519),
    signatures: tuple[int, ...] = (ECDSA, PSS),
    *,
    without: int | None = None,
) -> bytes:
    """Write a ClientHello of TLS 1.3 that guesses no group; `without` one of its extensions."""
    listed = {
        0: vector(b"\0" + vector(b"device.test", 2), 2),
        10: vector(shorts(groups), 2),
        13: vector(shorts(signatures), 2),
        43: vector(shorts((0x0304,)), 1),
        51: vector(b"", 2),
    }
    extensions = b"".join(struct.pack(">H", k) + vector(v, 2) for k, v in listed.items() if k != without)
    body = struct.pack(">H", TLS12) + bytes(32) + b"\0" + vector(shorts(suites), 2) + b"\x01\0"
    return b"\x16\x03\x01" + vector(b"\x01" + vector(body + vector(extensions, 2), 3), 2)


async def answer_to(context: Context, sent: bytes) -> tuple[str | None, bytes]:
    """Send bytes; gives why the handshake failed (None: it goes on), and what came back."""
    client, server = await sockets()
    reason: list[str] = []

    async def accept() -> None:
        try:
            await accept_tls(server, table_of(context))
        except HandshakeError as error:
            reason.append(error.reason)

    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await client.send_all(sent)
            came = await client.receive_some(10_000)
            if came[:1] == b"\x16":
                nursery.cancel_scope.cancel()
    server.close()
    return (reason[0] if reason else None), came


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@pytest.fixture(params=["ec", "rsa"])
def context(request, engine, pki) -> Context:
    return make_context(pki.leaf(key=request.param).bundle(), PROFILES[Profile.INTERMEDIATE], engine)


@pytest.mark.parametrize("version", [SSL3, TLS10, TLS11])
async def test_a_version_of_former_times_is_named_as_what_is_wrong(context, version):
    reason, came = await answer_to(context, hello(version, (ECDHE_ECDSA_CBC, ECDHE_RSA_CBC, RSA_CBC)))
    assert came[0] == 21
    # SSL 3.0 has no alert for a version (RFC 6101 section 5.4), and OpenSSL before 4.0 minds that
    told = {HANDSHAKE_FAILURE, PROTOCOL_VERSION} if version == SSL3 else {PROTOCOL_VERSION}
    assert came[5] == 2
    assert came[6] in told
    assert reason == "unsupported_version"


@pytest.mark.parametrize(
    "suites",
    [
        (RSA_GCM,),
        (RSA_CBC, RSA_3DES),
        (RSA_RC4,),
        (RSA_DES,),
        (RSA_EXPORT, EXPORT_1024),
        (NULL, ECDHE_NULL),
        (ANONYMOUS,),
        (DHE_GCM,),
        (PSK_GCM, SRP_CBC),
        (ECDHE_CCM,),
        (ECDHE_ECDSA_CBC, ECDHE_RSA_CBC),
    ],
    ids=(
        [
            "static-rsa",
            "3des",
            "rc4",
            "des",
            "export",
            "null",
            "anonymous",
            "finite-field",
            "password",
            "ccm",
            "cbc",
        ]
    ),
)
async def test_a_cipher_of_former_times_fails_the_handshake(context, suites):
    reason, came = await answer_to(context, hello(TLS12, suites))
    assert came[0] == 21
    assert came[5:] == bytes((2, HANDSHAKE_FAILURE))
    assert reason == "no_shared_cipher"


async def test_a_group_that_nobody_speaks_fails_the_handshake(context):
    reason, came = await answer_to(context, hello(TLS12, NEW[1], (SECP160,)))
    assert came[:1] == b"\x15"
    assert came[5:] == bytes((2, HANDSHAKE_FAILURE))
    assert reason in {"no_shared_cipher", "no_shared_group"}


async def test_the_same_hello_with_what_is_spoken_goes_on(context):
    reason, came = await answer_to(context, hello(*NEW))
    assert came[:1] == b"\x16", "a ServerHello"
    assert reason is None


async def test_tls_12_is_a_version_of_former_times_to_the_modern_profile(engine, pki):
    context = make_context(pki.leaf().bundle(), PROFILES[Profile.MODERN], engine)
    reason, came = await answer_to(context, hello(*NEW))
    assert came[5:] == bytes((2, PROTOCOL_VERSION))
    assert reason == "unsupported_version"


async def test_a_client_that_was_made_to_fall_back_to_tls_12_is_told_so(context):
    reason, came = await answer_to(context, hello(TLS12, (*NEW[1], FALLBACK), NEW[2]))  # RFC 7507
    assert came[5:] == bytes((2, INAPPROPRIATE_FALLBACK))
    assert reason == "inappropriate_fallback"


@pytest.mark.parametrize(
    ("sent", "alert", "why"),
    [
        (newer(suites=(INTEGRITY_ONLY,)), HANDSHAKE_FAILURE, "no_shared_cipher"),
        (newer(groups=(SECP160,)), HANDSHAKE_FAILURE, "no_shared_group"),
        (newer(signatures=(ECDSA_SHA1, RSA_SHA1)), HANDSHAKE_FAILURE, "no_shared_signature_algorithm"),
        (newer(without=13), MISSING_EXTENSION, "missing_extension"),
        (newer(without=10), MISSING_EXTENSION, "missing_extension"),
    ],
    ids=["suites", "groups", "signatures", "no-signatures", "no-groups"],
)
async def test_a_hello_of_tls_13_that_shares_too_little_is_told_in_what(context, sent, alert, why):
    reason, came = await answer_to(context, sent)
    assert (came[0], came[5:]) == (21, bytes((2, alert)))
    assert reason == why


async def test_a_hello_of_tls_13_without_a_guess_is_asked_for_a_group(context):
    reason, came = await answer_to(context, newer())
    assert came[:1] == b"\x16", "a HelloRetryRequest"
    assert reason is None


async def test_an_ssl_2_hello_is_hung_up_on_without_a_word(context):
    offered = bytes.fromhex("010080 020080 00000a")  # three bytes a cipher: two of SSL 2.0, 3DES
    body = struct.pack(">BHHHH", 1, SSL3, len(offered), 0, 16) + offered + bytes(16)
    reason, came = await answer_to(context, struct.pack(">H", 0x8000 | len(body)) + body)
    assert (reason, came) == ("not_tls", b"")  # RFC 5246 appendix E.2 lets a server be without it
