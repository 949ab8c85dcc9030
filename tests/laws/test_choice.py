"""The choice between EC and RSA, held against what both engines make of the very same hello."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pki import Pki
from tests.tlsproxy.test_tls_clienthello import load, names_of
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import PROFILES, TLS12_CIPHERS, Profile
from tlsproxy.tls.choice import CURVES, Curve, ecdsa_suites, takes_ecdsa
from tlsproxy.tls.clienthello import ClientHello, parse
from tlsproxy.tls.engines import Context, EngineName, make_context

KINDS: dict[str, type[ec.EllipticCurve]] = {
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
}
SUITES = ecdsa_suites(TLS12_CIPHERS)
ECDSA_GCM, RSA_GCM = 0xC02B, 0xC02F
P256, RSA_PSS, RSA_PKCS1 = 0x0403, 0x0804, 0x0401


def vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def shorts(numbers: tuple[int, ...]) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


def written(
    versions: tuple[int, ...], algorithms: tuple[int, ...], groups: tuple[int, ...], suites: tuple[int, ...]
) -> bytes:
    """Write a ClientHello; an empty tuple leaves its extension out. X25519's share is the base point."""
    listed = {0: vector(b"\0" + vector(b"device.test", 2), 2), 11: vector(b"\0", 1)}
    listed |= {10: vector(shorts(groups), 2)} if groups else {}
    listed |= {13: vector(shorts(algorithms), 2)} if algorithms else {}
    if 0x0304 in versions:
        listed |= {43: vector(shorts(versions), 1)}
        listed |= {51: vector(shorts((29,)) + vector(b"\x09" + bytes(31), 2), 2)}
    extensions = b"".join(struct.pack(">H", kind) + vector(data, 2) for kind, data in listed.items())
    body = b"\3\3" + bytes(32) + b"\0" + vector(shorts(suites), 2) + b"\1\0" + vector(extensions, 2)
    return b"\x16\3\1" + vector(b"\1" + vector(body, 3), 2)


@cache
def context_of(curve: str, engine: EngineName) -> Context:
    bundle = _PKI.leaf(key=ec.generate_private_key(KINDS[curve]())).bundle()
    return make_context(bundle, PROFILES[Profile.INTERMEDIATE], engine)


_PKI = Pki()


def is_answered(context: Context, hello: bytes) -> bool:
    engine = context.accept()
    engine.feed(hello)
    try:
        engine.handshake()
    except HandshakeError:
        return False
    assert engine.take()[:1] == b"\x16"
    return True


def subset_of(*numbers: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.sampled_from(numbers), unique=True).map(tuple)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CURVES)),
    st.sampled_from(("system", "bundled")),
    st.sampled_from(((0x0303,), (0x0304, 0x0303), (0x0304,))),
    subset_of(0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0401, 0x0501, 0x0203, 0x0201, 0x0807),
    subset_of(0x0017, 0x0018, 0x0019),
    subset_of(0xC02B, 0xC02C, 0xCCA9, 0xC02F, 0xC030, 0xC009),
)
def test_ec_is_chosen_just_where_the_handshake_with_it_goes_on(
    curve, engine, versions, algorithms, groups, suites
):
    is_new = 0x0304 in versions
    groups = (29, *groups) if groups or is_new else ()
    suites = (*suites, 0x1301) if is_new else suites or (0xC009,)
    data = written(versions, algorithms, groups, suites)
    hello = parse(data)
    assert hello is not None
    assert takes_ecdsa(hello, CURVES[curve], SUITES) == is_answered(context_of(curve, engine), data)


@pytest.mark.parametrize("path", names_of("hello"), ids=lambda path: path.stem)
def test_every_client_that_was_caught_takes_ec_on_p256(path: Path):
    """All were caught from clients of today; a hello without extensions names nothing that it can verify."""
    hello = parse(load(path)[1])
    assert hello is not None
    assert takes_ecdsa(hello, CURVES["secp256r1"], SUITES) == bool(hello.signature_algorithms)


def hello_of(versions: tuple[int, ...], algorithms: tuple[int, ...], suites: tuple[int, ...]) -> ClientHello:
    return ClientHello("device.test", (), versions, algorithms, (29, 0x17), suites)


@pytest.mark.parametrize(
    ("hello", "curve", "takes"),
    [
        (hello_of((0x0304,), (RSA_PSS, RSA_PKCS1), (0x1301,)), "secp256r1", False),
        (hello_of((0x0304,), (RSA_PSS, P256), (0x1301,)), "secp256r1", True),
        (hello_of((0x0304,), (RSA_PSS, P256), (0x1301,)), "secp384r1", False),
        (hello_of((0x0304, 0x0303), (RSA_PSS,), (0x1301, ECDSA_GCM)), "secp256r1", False),
        (hello_of((0x0303,), (P256, RSA_PKCS1), (RSA_GCM,)), "secp256r1", False),
        (hello_of((0x0303,), (P256, RSA_PKCS1), (RSA_GCM, ECDSA_GCM)), "secp256r1", True),
        (hello_of((0x0303,), (0x0503,), (ECDSA_GCM,)), "secp256r1", True),
        (hello_of((0x0303,), (P256,), (ECDSA_GCM,)), "secp384r1", False),
        (hello_of((0x0303,), (), (ECDSA_GCM,)), "secp256r1", False),
    ],
    ids=[
        "1.3 with RSA only",
        "1.3 with both",
        "1.3 without our curve",
        "1.3 with suites of 1.2 for ECDSA",
        "1.2 without a suite for ECDSA",
        "1.2 with both",
        "1.2 with another hash",
        "1.2 without our curve's group",
        "1.2 without algorithms",
    ],
)
def test_what_counts_in_each_version(hello, curve, takes):
    assert takes_ecdsa(hello, CURVES[curve], SUITES) is takes


def test_a_policy_without_suites_for_ecdsa_serves_rsa_to_tls_12():
    suites = ecdsa_suites(("ECDHE-RSA-AES128-GCM-SHA256",))
    hello = hello_of((0x0303,), (P256, RSA_PKCS1), (RSA_GCM, ECDSA_GCM))
    assert not takes_ecdsa(hello, Curve(0x17, P256), suites)


def test_every_suite_of_a_policy_that_wants_ecdsa_is_known():
    assert len(SUITES) == sum("ECDSA" in name for name in TLS12_CIPHERS)
