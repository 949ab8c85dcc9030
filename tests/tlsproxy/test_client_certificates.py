"""Contexts that ask for a client's certificate, of both engines: whom they let in, what others are told."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore import Cause, Generation, Row, Source, Trusted, TrustSet
from tests.pki import Issued, Pki, crl
from tests.tlsproxy.tls_pair import Client, client_context
from tests.tlsproxy.tls_pair import shake_hands as connect
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.asking import Asking
from tlsproxy.tls.clientidentity import Acceptance, identify
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import Context, EngineName, make_context
from tlsproxy.tls.gate import prove_shut

NOW = datetime.now(UTC)
VERSIONS = ["TLSv1_2", "TLSv1_3"]
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


def client_leaf(pki: Pki, **how) -> Issued:
    return pki.leaf(("pump-7.test",), **{"eku": CLIENT, "issuer": "root", **how})


def trust_of(pki: Pki, *lists: bytes) -> TrustSet:
    return TrustSet.of([pki.root], [x509.load_pem_x509_crl(one) for one in lists])


def asking(pki: Pki, engine: EngineName, rule: ClientAuth, *lists: bytes) -> Context:
    policy = TLSPolicy(tickets=False)
    return make_context(pki.leaf().bundle(), policy, engine, Asking(rule, trust_of(pki, *lists)))


def showing(tmp_path, issued: Issued | None, version: str) -> ssl.SSLContext:
    context = client_context(version=version)
    if issued is not None:
        path = tmp_path / "client.pem"
        path.write_bytes(issued.chain_pem + issued.key_pem)
        context.load_cert_chain(path)
    return context


def _go_on(client: Client) -> None:
    client.tls.do_handshake()
    client.tls.read(1)


def refused(context: Context, client: Client) -> tuple[str, str]:
    """Give why a client was refused, and what it was told."""
    server = context.accept()
    with pytest.raises(HandshakeError) as error:
        connect(client, server)
    client.feed(server.take())
    with pytest.raises(ssl.SSLError) as told:
        _go_on(client)
    return error.value.reason, (told.value.reason or "").lower()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["optional", "required"])
def test_a_client_of_the_authority_is_known_by_its_verified_chain(tmp_path, pki, engine, mode, version):
    issued = client_leaf(pki, issuer="intermediate")
    context = asking(pki, engine, ClientAuth(mode))
    server = context.accept()
    connect(Client(showing(tmp_path, issued, version)), server)
    identity = identify(server.client_chain())
    assert identity.shown.dns == ("pump-7.test",)
    assert identity.serial == issued.certificate.serial_number
    assert (identity.between, len(identity.chain)) == (1, 3)
    assert Acceptance(trust_of(pki)).lets_in(identity)
    assert not Acceptance(TrustSet.of([pki.intermediate])).lets_in(identity)


@pytest.mark.parametrize("version", VERSIONS)
def test_who_shows_nothing_gets_in_only_where_it_is_optional(tmp_path, pki, engine, version):
    server = asking(pki, engine, ClientAuth("optional")).accept()
    connect(Client(showing(tmp_path, None, version)), server)
    assert server.client_chain() == ()
    closed = asking(pki, engine, ClientAuth("required"))
    why, told = refused(closed, Client(showing(tmp_path, None, version)))
    assert why == "client_certificate_missing"
    assert ("certificate_required" if version == "TLSv1_3" else "handshake_failure") in told
    assert prove_shut(closed) == ()


def test_an_open_context_does_not_pass_for_a_shut_one(pki, engine):
    context = asking(pki, engine, ClientAuth("optional"))
    (finding,) = prove_shut(context)
    assert "was let in" in finding.words


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("how", "lists", "why", "alert"),
    [
        ({"issuer": None}, 0, "client_certificate_unknown_authority", "unknown_ca"),
        (
            {"start": NOW - timedelta(days=9), "days": 2},
            0,
            "client_certificate_expired",
            "certificate_expired",
        ),
        (
            {"eku": (ExtendedKeyUsageOID.SERVER_AUTH,)},
            0,
            "client_certificate_wrong_purpose",
            "unsupported_certificate",
        ),
        ({}, 1, "client_certificate_revoked", "certificate_revoked"),
        ({"issuer": "intermediate"}, 1, "client_certificate_without_list", "unknown_ca"),
        ({}, 2, "client_certificate_list_ended", "certificate_expired"),
    ],
)
def test_a_client_that_is_refused_is_told_by_the_alert_that_fits(
    tmp_path, pki, engine, version, how, lists, why, alert
):
    issued = client_leaf(pki, **how)
    end = NOW - timedelta(hours=1) if lists == 2 else None
    revoked = (issued.certificate.serial_number,) if lists == 1 else ()
    several = [crl(pki.root, pki.root_key, revoked, end=end)] if lists else []
    context = asking(pki, engine, ClientAuth("required"), *several)
    found, told = refused(context, Client(showing(tmp_path, issued, version)))
    assert found == why
    assert alert in told


def test_a_sub_authority_is_an_anchor_by_itself(tmp_path, pki, engine):
    policy, rule = TLSPolicy(tickets=False), ClientAuth("required")
    held = TrustSet.of([pki.intermediate])
    context = make_context(pki.leaf().bundle(), policy, engine, Asking(rule, held))
    server = context.accept()
    connect(Client(showing(tmp_path, client_leaf(pki, issuer="intermediate"), "TLSv1_3")), server)
    assert Acceptance(held).lets_in(identify(server.client_chain()))
    assert refused(context, Client(showing(tmp_path, client_leaf(pki), "TLSv1_3")))[0] == (
        "client_certificate_unknown_authority"
    )


# --- contexts of a generation


def generation(number: int, bundle: str, *trust: Trusted) -> Generation:
    rows = (Row("api.test", bundle, Source.CUSTOMER), Row("open.test", bundle, Source.CUSTOMER))
    return Generation(number, rows, bundle, (), Cause.PROPOSAL, None, NOW, trust)


def test_another_set_makes_other_contexts_for_its_rule_and_for_no_other(pki, engine):
    bundle = pki.leaf(("api.test", "open.test")).bundle()
    sets = {"a" * 64: trust_of(pki), "b" * 64: TrustSet.of([pki.intermediate])}
    rules = [ClientAuth("required", ("api.test",), trust="plant"), ClientAuth("optional", ("x.test",))]
    contexts = Contexts(TLSPolicy(), engine, rules=rules, trust_of=sets.__getitem__)

    def serve(number: int, id_: str) -> tuple[object, object]:
        table = contexts.prepare(generation(number, bundle.id, Trusted("plant", id_)), lambda _: bundle)
        contexts.commit(table)
        assert table.asks is not None
        rule = table.asks.rule_for("api.test", 443)
        assert rule is rules[0]
        plain = table.choose("open.test", None)
        assert table.asks.rule_for("open.test", 443) is None
        return plain, table.asks.entry(bundle.id, rule)

    first, same, other = serve(1, "a" * 64), serve(2, "a" * 64), serve(3, "b" * 64)
    assert first == same
    assert (other[0], other[1] is first[1]) == (first[0], False), "what doesn't ask keeps its sessions"


def test_without_its_set_a_rule_lets_nobody_in(tmp_path, pki, engine):
    bundle = pki.leaf(("api.test", "open.test")).bundle()
    contexts = Contexts(TLSPolicy(), engine, rules=[ClientAuth("required", trust="gone")])
    table = contexts.prepare(generation(1, bundle.id), lambda _: bundle)
    assert table.asks is not None
    rule = table.asks.rule_for("api.test", 443)
    assert rule is not None
    why, _ = refused(
        table.asks.entry(bundle.id, rule), Client(showing(tmp_path, client_leaf(pki), "TLSv1_3"))
    )
    assert why == "client_certificate_unknown_authority"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_of_a_name_that_asks_is_resumed_nowhere_else(tmp_path, pki, engine, version):
    """The class of CVE-2025-23419: a session of one name must not open another that asks for more."""
    bundle = pki.leaf(("api.test", "open.test")).bundle()
    rule = ClientAuth("required", ("api.test",), trust="plant")
    contexts = Contexts(TLSPolicy(), engine, rules=[rule], trust_of=lambda _: trust_of(pki))
    table = contexts.prepare(generation(1, bundle.id, Trusted("plant", "a" * 64)), lambda _: bundle)
    assert table.asks is not None
    plain, asks = table.choose("open.test", None), table.asks.entry(bundle.id, rule)
    assert plain is not None
    asked = showing(tmp_path, client_leaf(pki), version)
    for before, after in ((plain, asks), (asks, plain)):
        client, server = Client(asked), before.accept()
        connect(client, server)
        server.write(b"?")
        client.feed(server.take())
        client.tls.read(1)
        again = after.accept()
        connect(Client(asked, session=client.tls.session), again)
        assert not again.facts().resumed
