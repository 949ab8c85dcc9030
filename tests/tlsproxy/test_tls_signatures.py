"""What a handshake is told to be signed with is what a client must offer, and nothing else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from tests.tlsproxy.test_tls_engines import connect_pyopenssl
from tests.tlsproxy.tls_pair import client_context, connect
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import Context, make_context
from tlsproxy.tls.signatures import SIGNATURES

# By the names that OpenSSL takes (SSL_CTX_set1_sigalgs_list(3)).
ALL = (
    *("ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512", "ed25519"),
    *("rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384", "rsa_pss_rsae_sha512", "rsa_pkcs1_sha256"),
)
TLS12, TLS13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


def offering(names: tuple[str, ...], version: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    lib = SSL._lib  # type: ignore[attr-defined]
    assert lib.SSL_CTX_set1_sigalgs_list(context._context, ":".join(names).encode()) == 1
    return context


def told(context: Context, names: tuple[str, ...], version: int = TLS13) -> str:
    return connect_pyopenssl(offering(names, version), context)[1].facts().signature


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        (ec.SECP256R1(), "ecdsa_secp256r1_sha256"),
        (ec.SECP384R1(), "ecdsa_secp384r1_sha384"),
        (ec.SECP521R1(), "ecdsa_secp521r1_sha512"),
        ("ed25519", "ed25519"),
    ],
    ids=["P-256", "P-384", "P-521", "Ed25519"],
)
def test_in_tls_13_a_key_other_than_rsa_signs_with_what_is_told_and_nothing_else(pki, engine, key, signature):
    own = key if isinstance(key, str) else ec.generate_private_key(key)
    context = make_context(pki.leaf(key=own).bundle(), TLSPolicy(), engine)
    assert told(context, ALL) == signature
    assert told(context, (signature,)) == signature
    with pytest.raises(HandshakeError, match="no_shared_signature_algorithm"):
        told(context, tuple(name for name in ALL if name != signature))


def test_of_an_rsa_key_the_hash_is_left_open_since_it_can_be_any(pki, engine):
    context = make_context(pki.leaf(key="rsa").bundle(), TLSPolicy(), engine)
    for name in ("rsa_pss_rsae_sha256", "rsa_pss_rsae_sha512"):
        assert told(context, (name,)) == "rsa_pss_rsae"
    for name in ("rsa_pss_rsae_sha384", "rsa_pkcs1_sha256"):
        assert told(context, (name,), TLS12) == "rsa"


def test_in_tls_12_an_ec_key_signs_with_any_hash(pki, engine):
    context = make_context(pki.leaf().bundle(), TLSPolicy(), engine)
    for name in ("ECDSA+SHA256", "ECDSA+SHA512"):
        assert told(context, (name,), TLS12) == "ecdsa"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_resumed_session_is_not_signed(pki, engine, version):
    context = make_context(pki.leaf().bundle(), TLSPolicy(), engine)
    asking = client_context(version=version)
    client, server = connect(context, asking)
    server.write(b"x")
    client.feed(server.take())
    assert client.read_all() == b"x"
    again = connect(context, asking, session=client.tls.session)[1].facts()
    assert again.resumed
    assert again.signature == "none"
    assert server.facts().signature in SIGNATURES - {"none", "unknown"}
