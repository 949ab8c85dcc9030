"""The contract of the engine port, part one, for both libraries: what is spoken, refused and resumed."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tests.tlsproxy.tls_pair import Client, client_context, connect, read_all, shake_hands
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import PROFILES, TICKETS, Profile, TLSPolicy
from tlsproxy.tls.engines import Context, ContextError, Engine, make_context, reason_of, resolve
from tlsproxy.tls.engines.bundled import BundledEngine

VERSIONS = ("TLSv1_2", "TLSv1_3")


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@pytest.fixture(params=["ec", "rsa"])
def bundle(request, pki):
    return pki.leaf(key=request.param).bundle()


@pytest.fixture
def context(engine, bundle) -> Context:
    return make_context(bundle, TLSPolicy(), engine)


@pytest.fixture
def ec_context(engine, pki) -> Context:
    return make_context(pki.leaf().bundle(), TLSPolicy(), engine)


def refusal(context: Context, client: Client) -> str:
    """Give the reason why a handshake fails, and let the client have the alert."""
    server = context.accept()
    with pytest.raises(HandshakeError) as caught:
        shake_hands(client, server)
    client.feed(server.take())
    return caught.value.reason


def connect_pyopenssl(asking: SSL.Context, context: Context) -> tuple[BundledEngine, Engine]:
    """Shake hands with the client that can be told more than Python's own."""
    client, server = BundledEngine(asking, server_side=False), context.accept()
    served = False
    for _ in range(6):
        if client.handshake() and served:
            return client, server
        server.feed(client.take())
        served = server.handshake()
        client.feed(server.take())
    raise AssertionError("the handshake came to no end")


# --- what is spoken


@pytest.mark.parametrize("version", VERSIONS)
def test_a_verifying_client_is_served_the_bundle_with_its_chain(context, bundle, pki, version):
    client, server = connect(context, client_context(version=version, trust=pki.root_pem))
    assert client.tls.version() == server.facts().version == version.replace("_", ".")
    assert client.tls.getpeercert(binary_form=True) == bundle.leaf.public_bytes(Encoding.DER)
    assert context.bundle_id == bundle.id


@pytest.mark.parametrize("version", VERSIONS)
def test_a_handshake_may_arrive_byte_by_byte(context, version):
    client, server = Client(client_context(version=version)), context.accept()
    shake_hands(client, server, piece=1)
    client.write(b"hello")
    for byte in client.take():
        assert read_all(server) == b""
        server.feed(bytes([byte]))
    assert server.read(100) == b"hello"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_request_that_comes_with_the_last_flight_is_not_lost(context, version):
    client, server = Client(client_context(version=version)), context.accept()
    while not client.handshake():
        server.feed(client.take())
        server.handshake()
        client.feed(server.take())
    client.write(b"GET / HTTP/1.1\r\n\r\n")
    server.feed(client.take())
    assert server.handshake()
    assert server.read(100) == b"GET / HTTP/1.1\r\n\r\n"


def test_a_client_that_prefers_aes_128_gets_it(ec_context):
    """As browsers do. Our own preference counts on `system` only with its OPENSSL_CONF (see there)."""
    asking = SSL.Context(SSL.TLS_CLIENT_METHOD)
    asking.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384")
    assert connect_pyopenssl(asking, ec_context)[1].facts().cipher == "TLS_AES_128_GCM_SHA256"


def test_a_client_without_aes_in_hardware_gets_chacha(ec_context):
    ciphers = "ECDHE+CHACHA20:ECDHE+AESGCM"
    _, server = connect(ec_context, client_context(version="TLSv1_2", ciphers=ciphers))
    assert server.facts().cipher == "ECDHE-ECDSA-CHACHA20-POLY1305"


def test_nothing_is_compressed(context):
    client, _ = connect(context, client_context(version="TLSv1_2"))
    assert client.tls.compression() is None


# --- what is refused


def test_nothing_older_than_tls_12_is_spoken(context):
    client = Client(client_context(version="TLSv1_1", ciphers="ALL:@SECLEVEL=0"))
    assert refusal(context, client) == "unsupported_version"
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        client.tls.do_handshake()


@pytest.mark.parametrize(
    "ciphers",
    ["ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"],
    ids=["cbc", "static rsa", "finite-field dhe"],
)
def test_only_ecdhe_with_aead_is_spoken_over_tls_12(context, ciphers):
    client = Client(client_context(version="TLSv1_2", ciphers=ciphers))
    assert refusal(context, client) == "no_shared_cipher"


def test_the_modern_profile_refuses_tls_12(engine, pki):
    context = make_context(pki.leaf().bundle(), PROFILES[Profile.MODERN], engine)
    assert refusal(context, Client(client_context(version="TLSv1_2"))) == "unsupported_version"
    connect(context, client_context(version="TLSv1_3"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_refuses_the_certificate_is_told_by_its_alert(engine, pki, version):
    context = make_context(pki.leaf(issuer=None).bundle(), TLSPolicy(), engine)
    stranger = Client(client_context(version=version, trust=pki.root_pem))
    server = context.accept()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(stranger, server)
    server.feed(stranger.take())
    with pytest.raises(HandshakeError) as caught:
        server.handshake()
    assert caught.value.reason == "client_alert_unknown_ca"


def test_garbage_in_place_of_a_flight_is_refused_with_an_alert(context):
    client, server = Client(), context.accept()
    client.handshake()
    server.feed(client.take())
    assert not server.handshake()
    assert server.take()
    server.feed(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(HandshakeError):
        server.handshake()
    assert server.take()


def test_a_client_that_renegotiates_is_refused_and_the_connection_goes_on(ec_context):
    asking = SSL.Context(SSL.TLS_CLIENT_METHOD)
    asking.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, server = connect_pyopenssl(asking, ec_context)
    client._tls.renegotiate()
    assert not client.handshake()
    server.feed(client.take())
    assert server.read(100) is None
    client.feed(server.take())
    with pytest.raises(HandshakeError, match="no_renegotiation"):
        client.handshake()
    assert server.facts().version == "TLSv1.2"


# --- protocols


def test_http_1_is_chosen_of_what_a_browser_offers(context):
    client, server = connect(context, client_context(alpn=("h2", "http/1.1")))
    assert client.tls.selected_alpn_protocol() == server.facts().alpn == "http/1.1"


@pytest.mark.parametrize("offered", [(), ("h2",)])
def test_no_protocol_is_named_that_a_client_did_not_offer(context, offered):
    """A client that offers only others never comes so far: tls/handshake.py refuses it."""
    client, server = connect(context, client_context(alpn=offered))
    assert client.tls.selected_alpn_protocol() is server.facts().alpn is None


# --- resumption


def session_of(context: Context, version: str, asking: ssl.SSLContext) -> ssl.SSLSession:
    client, server = connect(context, asking)
    server.write(b"x")  # TLS 1.3 tickets travel with or before it
    client.feed(server.take())
    assert client.read_all() == b"x"
    assert client.tls.session is not None
    return client.tls.session


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_resumes_with_its_own_context_and_with_no_other(context, bundle, engine, version):
    asking = client_context(version=version)
    session = session_of(context, version, asking)
    _, server = connect(context, asking, session)
    assert server.facts().resumed

    fresh = make_context(bundle, TLSPolicy(), engine)
    client, server = connect(fresh, asking, session)
    assert not server.facts().resumed
    assert not client.tls.session_reused


def test_a_new_connection_gets_no_more_tickets_than_it_needs(ec_context):
    asking = client_context(version="TLSv1_3")
    seen: list[str] = []
    asking._msg_callback = (  # type: ignore[attr-defined]  # there, but not for the public
        lambda _tls, way, _version, _content, kind, _data: seen.append(f"{way} {kind.name}")
    )
    client, server = connect(ec_context, asking)
    server.write(b"x")
    client.feed(server.take())
    client.read_all()
    tickets = sum("read" in what and "NEWSESSION_TICKET" in what for what in seen)
    # pyOpenSSL has no way to ask for one
    assert tickets == (TICKETS if ec_context.engine_name == "system" else 2)


# --- contexts


def test_auto_means_the_engine_that_has_mlkem(pki):
    named = resolve("auto", TLSPolicy())
    assert make_context(pki.leaf().bundle(), TLSPolicy()).engine_name == named
    assert (named == "system") == (ssl.OPENSSL_VERSION_INFO >= (3, 5))


def test_bundled_speaks_the_hybrid_group_and_says_so(pki):
    context = make_context(pki.leaf().bundle(), TLSPolicy(), "bundled")
    _, server = connect_pyopenssl(SSL.Context(SSL.TLS_CLIENT_METHOD), context)
    assert server.facts().group == "X25519MLKEM768"


def test_a_key_that_is_too_small_is_refused_in_the_same_words(engine, pki):
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    with pytest.raises(ContextError) as caught:
        make_context(pki.leaf(key=small).bundle(), TLSPolicy(), engine)
    assert caught.value.reason == "ee_key_too_small"
    assert caught.value.engine_name == engine
    assert "ee_key_too_small" in str(caught.value)


def test_a_refused_bundle_leaves_the_next_one_unharmed(engine, pki):
    """OpenSSL keeps a queue of errors for each thread; what is left in it would end another's handshake."""
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    with pytest.raises(ContextError):
        make_context(pki.leaf(key=small).bundle(), TLSPolicy(), engine)
    connect(make_context(pki.leaf().bundle(), TLSPolicy(), engine))


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_contexts_leave_no_descriptor_open(engine, pki):
    bundle = pki.leaf().bundle()
    make_context(bundle, TLSPolicy(), engine)
    before = open_descriptors()
    for _ in range(5):
        make_context(bundle, TLSPolicy(), engine)
    assert open_descriptors() == before


def test_an_openssl_reason_gives_one_code_whatever_its_spelling():
    assert reason_of("NO_SHARED_CIPHER") == reason_of("no shared cipher") == "no_shared_cipher"
    assert reason_of("SSLV3_ALERT_BAD_CERTIFICATE") == reason_of("ssl/tls alert bad certificate")
    assert reason_of("TLSV1_ALERT_UNKNOWN_CA") == "client_alert_unknown_ca"
    assert reason_of(None) == "broken"


def test_a_curve_that_clients_offer_is_served(engine, pki):
    key = ec.generate_private_key(ec.SECP384R1())
    connect(make_context(pki.leaf(key=key).bundle(), TLSPolicy(), engine))
