"""A trust set is parsed once for all contexts that verify by it, and goes with the last of them."""

from __future__ import annotations

import gc

import pytest

from certstore import Cause, Generation, Trusted, TrustSet
from tests.pki import crl
from tests.tlsproxy.test_client_certificates import NOW, generation, refused, showing
from tests.tlsproxy.tls_pair import Client
from tests.tlsproxy.tls_pair import shake_hands as connect
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.asking import Asking
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import Context, make_context
from tlsproxy.tls.engines.bundled import BundledContext
from tlsproxy.tls.engines.truststore import SharedStore


def stores() -> list[SharedStore]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, SharedStore)]


def store_of(context: Context) -> SharedStore:
    assert isinstance(context, BundledContext)
    assert context._trust is not None
    return context._trust


def test_contexts_of_one_set_share_it_and_others_do_not(tmp_path, pki):
    lost = pki.leaf(("pump-7.test",), issuer="root", eku=False)
    good = pki.leaf(("pump-8.test",), issuer="root", eku=False)
    revoking = crl(pki.root, pki.root_key, (lost.certificate.serial_number,))

    def asking(mode, *, revokes: bool) -> Context:
        held = TrustSet.from_pem(pki.root_pem, revoking if revokes else b"")
        rule = ClientAuth(mode)
        return make_context(pki.leaf().bundle(), TLSPolicy(tickets=False), "bundled", Asking(rule, held))

    one, two = asking("required", revokes=True), asking("optional", revokes=True)
    other = asking("required", revokes=False)
    assert store_of(one) is store_of(two)
    assert store_of(one) is not store_of(other)
    for context in (one, two):
        assert refused(context, Client(showing(tmp_path, lost, "TLSv1_3")))[0] == "client_certificate_revoked"
        connect(Client(showing(tmp_path, good, "TLSv1_3")), context.accept())
    connect(Client(showing(tmp_path, lost, "TLSv1_3")), other.accept())
    del one
    connect(Client(showing(tmp_path, good, "TLSv1_3")), two.accept())


def test_a_set_goes_with_the_last_context_that_was_made_with_it(pki):
    before = len(stores())
    held = TrustSet.of([pki.root])
    kept = [
        make_context(pki.leaf().bundle(), TLSPolicy(), "bundled", Asking(ClientAuth(), held))
        for _ in range(3)
    ]
    assert len(stores()) == before + 1
    del kept[1:]
    assert len(stores()) == before + 1
    kept.clear()
    assert len(stores()) == before


def test_a_set_that_stays_is_not_read_again_for_the_next_generation(pki):
    read: list[str] = []

    def trust_of(id_: str) -> TrustSet:
        read.append(id_)
        return TrustSet.of([pki.root])

    bundle = pki.leaf(("api.test", "open.test")).bundle()
    contexts = Contexts(TLSPolicy(), rules=[ClientAuth("required", trust="plant")], trust_of=trust_of)
    for number, id_ in enumerate("aab", 1):
        trusted = Trusted("plant", id_ * 64)
        contexts.commit(contexts.prepare(generation(number, bundle.id, trusted), lambda _: bundle))
    assert read == ["a" * 64, "b" * 64]


@pytest.mark.parametrize("engine", ["system", "bundled"])
def test_a_context_that_asks_is_not_made_anew_with_the_ticket_keys(pki, engine):
    bundle, rule = pki.leaf().bundle(), ClientAuth("required", trust="plant")
    contexts = Contexts(TLSPolicy(), engine, rules=[rule], trust_of=lambda _: TrustSet.of([pki.root]))
    served = Generation(1, (), bundle.id, (), Cause.TRUST, None, NOW, (Trusted("plant", "a" * 64),))
    contexts.commit(contexts.prepare(served, lambda _: bundle))
    asks, plain = contexts.table.asks, contexts.table.default
    assert asks is not None
    assert plain is not None
    before, its_own = asks.entry(bundle.id, rule).ready(), plain.ready()
    assert contexts.renew_tickets() == {}
    assert asks.entry(bundle.id, rule).ready() is before
    assert plain.ready() is not its_own
