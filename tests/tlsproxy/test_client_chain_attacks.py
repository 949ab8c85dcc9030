"""Clients that try to get in by odd chains, by lists of a namesake, and behind their handshake."""

from __future__ import annotations

import ssl
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from certstore import TrustSet
from certstore.trustchecks import check_trust
from tests.pki import Issued, Key, Pki, crl
from tests.tlsproxy.test_client_certificate_attacks import (
    NOW,
    REFUSED,
    VERSIONS,
    asking,
    below,
    ca,
    certificate,
    ec_key,
    named,
    showing,
)
from tests.tlsproxy.test_client_certificates import refused
from tests.tlsproxy.tls_pair import Client
from tests.tlsproxy.tls_pair import shake_hands as connect
from tlsproxy.policy_clients import DEPTH
from tlsproxy.tls.clientidentity import Acceptance, identify
from tlsproxy.tls.engines.bundled import BundledEngine

WRONG_USE = "client_certificate_wrong_purpose"


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


def der(issued: Issued, authority: x509.Certificate) -> list[bytes]:
    return [one.public_bytes(Encoding.DER) for one in (issued.certificate, authority)]


def issued_by(authority: x509.Certificate, key: Key) -> Issued:
    own = ec_key()
    by_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False
    return Issued(own, certificate("pump", own, (authority.subject, key), [by_key]), ())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chain_of_a_hundred_is_verified_and_then_too_deep(tmp_path, pki, engine, version):
    server = asking(pki, engine, TrustSet.of([pki.root])).accept()
    connect(Client(showing(tmp_path, below(pki, *[[ca()]] * 98), version)), server)
    known = identify(server.client_chain())
    assert (len(known.chain), known.between > DEPTH) == (100, True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chain_of_a_megabyte_is_refused_before_it_is_read(tmp_path, pki, engine, version):
    good, key = pki.leaf(("pump.test",), issuer="root", eku=False), ec_key()
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.2")
    ballast = x509.UnrecognizedExtension(oid, b"\x04\x83\x01\x00\x00" + b"x" * 65_536), False
    fat = tuple(certificate(f"Fat {i}", key, (pki.root.subject, key), [ballast]) for i in range(16))
    why, told = refused(
        asking(pki, engine, TrustSet.of([pki.root])),
        Client(showing(tmp_path, Issued(good.key, good.certificate, fat), version)),
    )
    assert (why, "alert" in told) == ("excessive_message_size", True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("has_root", [True, False])
def test_below_an_authority_of_the_set_that_has_expired_nobody_gets_in(
    tmp_path, pki, engine, version, *, has_root: bool
):
    key = ec_key()
    ended = pki.authority("Ended", key, pki.root, pki.root_key, now=NOW, end=NOW - timedelta(days=1))
    held = TrustSet.of([pki.root, ended] if has_root else [ended])
    shown = Issued((issued := issued_by(ended, key)).key, issued.certificate, (ended,))
    why, _ = refused(asking(pki, engine, held), Client(showing(tmp_path, shown, version)))
    assert why == "client_certificate_expired"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_authority_does_not_pass_for_a_client_of_its_own(tmp_path, pki, engine, version):
    for anchor, key in ((pki.root, pki.root_key), (pki.intermediate, pki.intermediate_key)):
        context = asking(pki, engine, TrustSet.of([anchor]))
        assert refused(context, Client(showing(tmp_path, Issued(key, anchor, ()), version)))[0] == WRONG_USE


@pytest.mark.parametrize("use", [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.SERVER_AUTH])
def test_a_certificate_without_client_auth_among_its_uses_is_no_clients(tmp_path, pki, engine, use):
    shown = pki.leaf(("pump.test",), issuer="root", eku=(use,))
    context = asking(pki, engine, TrustSet.of([pki.root]))
    assert refused(context, Client(showing(tmp_path, shown, "TLSv1_3")))[0] == WRONG_USE


def test_no_list_of_a_stranger_or_of_changes_makes_anybody_pass(tmp_path, pki, engine):
    """They are refused when they are handed in; should one be there all the same, nobody is let in by it."""
    good = pki.leaf(("pump.test",), issuer="root", eku=False)
    strangers = crl(pki.root, ec_key())
    changes = crl(pki.root, pki.root_key, delta=True)
    cases = (
        (strangers, REFUSED, "crl_signature"),
        (changes, "client_certificate_without_list", "crl_unsupported"),
    )
    for one, why, code in cases:
        held = TrustSet.from_pem(pki.root_pem, one)
        context = asking(pki, engine, held)
        assert refused(context, Client(showing(tmp_path, good, "TLSv1_3")))[0] == why
        assert code in [finding.code for finding in check_trust("plant", held, None, NOW)]


def test_a_list_of_who_may_sign_none_is_not_taken(pki):
    key, name = ec_key(), named("Signs No Lists")
    its_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    anchor = certificate("Signs No Lists", key, (name, key), [ca(), (usage, True), (its_key, False)])
    signed = x509.load_pem_x509_crl(crl(anchor, key))
    codes = [one.code for one in check_trust("plant", TrustSet.of([anchor], [signed]), None, NOW)]
    assert "crl_signature" in codes


class TestAnAuthorityThatHasChangedItsKey:
    """It keeps its name; each list speaks for the clients of its own key, in handshakes and behind them."""

    @pytest.mark.parametrize(
        ("old_revokes", "new_revokes"), [("nobody", None), ("nobody", "the old one's"), ("its own", "nobody")]
    )
    def test_open_connections_are_judged_as_new_ones_are(
        self, tmp_path, pki: Pki, engine, old_revokes, new_revokes
    ):
        key = ec_key()
        renewed = pki.authority("Test Root", key, None, key, now=NOW)
        assert renewed.subject == pki.root.subject
        olds, news = issued_by(pki.root, pki.root_key), issued_by(renewed, key)
        serial = (olds.certificate.serial_number,)
        lists = [crl(pki.root, pki.root_key, serial if old_revokes == "its own" else ())]
        if new_revokes is not None:
            lists.append(crl(renewed, key, serial if new_revokes == "the old one's" else ()))
        held = TrustSet.of([pki.root, renewed], map(x509.load_pem_x509_crl, lists))
        context, acceptance = asking(pki, engine, held), Acceptance(held)
        for issued, authority in ((olds, pki.root), (news, renewed)):
            client = Client(showing(tmp_path, issued, "TLSv1_3"))
            if acceptance.lets_in(identify(der(issued, authority))):
                connect(client, context.accept())
            else:
                refused(context, client)
        assert acceptance.lets_in(identify(der(olds, pki.root))) is (old_revokes == "nobody")
        assert acceptance.lets_in(identify(der(news, renewed))) is (new_revokes is not None)


# --- behind the handshake


def test_a_client_that_renegotiates_gets_nowhere(tmp_path, pki, engine):
    """In TLS 1.2 a second handshake could bring another certificate."""
    good = pki.leaf(("pump.test",), issuer="root", eku=False)
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(good.certificate)
    context.use_privatekey(good.key)
    client = BundledEngine(context, server_side=False)
    server = asking(pki, engine, TrustSet.of([pki.root])).accept()
    for _ in range(3):
        client.handshake()
        server.feed(client.take())
        server.handshake()
        client.feed(server.take())
    before = server.client_chain()
    assert len(before) == 2
    client._tls.renegotiate()
    with pytest.raises(SSL.WantReadError):
        client._tls.do_handshake()
    server.feed(client.take())
    server.read(100)
    client.feed(server.take())
    with pytest.raises(SSL.Error, match="no renegotiation"):
        client._tls.do_handshake()
    assert server.client_chain() == before


@pytest.mark.parametrize("shows", [True, False])
def test_an_offer_to_show_a_certificate_later_changes_nothing(tmp_path, pki, engine, *, shows: bool):
    """In TLS 1.3 (RFC 8446 section 4.6.2) a server may ask behind the handshake: ours never does."""
    good = pki.leaf(("pump.test",), issuer="root", eku=False)
    offering = showing(tmp_path, good, "TLSv1_3") if shows else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    offering.check_hostname, offering.verify_mode = False, ssl.CERT_NONE
    offering.post_handshake_auth = True
    context = asking(pki, engine, TrustSet.of([pki.root]))
    if not shows:
        assert refused(context, Client(offering))[0] == "client_certificate_missing"
        return
    server = context.accept()
    connect(Client(offering), server)
    assert len(server.client_chain()) == 2
