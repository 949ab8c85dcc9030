"""The gate and the contexts: what clients can't use never reaches them, what stays keeps its sessions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certstore.bundle import Bundle
from certstore.findings import Severity
from certstore.generation import Generation, Row
from certstore.slots import Source
from tests.tlsproxy.tls_pair import client_context, connect
from tlsproxy.policy_tls import PROFILES, TLSPolicy
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import Context, ContextError, make_context
from tlsproxy.tls.gate import HandshakeGate, prove


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@pytest.fixture(params=list(PROFILES.values()), ids=list(PROFILES))
def gate(engine, request) -> HandshakeGate:
    return HandshakeGate(request.param, "bundled" if request.param.needs_hybrid else engine)


@pytest.mark.parametrize("key", ["ec", "rsa"])
@pytest.mark.parametrize("issuer", ["intermediate", None])
def test_a_good_bundle_passes_without_a_finding(gate, pki, key, issuer):
    names = ("device.test", "*.device.test", "192.0.2.7", "2001:db8::7")
    assert gate.try_out(pki.leaf(names, key=key, issuer=issuer).bundle()) == ()


@pytest.mark.parametrize("names", [(), ("192.0.2.7",), ("*.device.test",), ("x" * 63 + ".test",)])
def test_any_set_of_names_can_be_tried(gate, pki, names):
    assert gate.try_out(pki.leaf(names).bundle()) == ()


def test_a_key_that_openssl_refuses_fails_with_its_reason(gate, pki):
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    (finding,) = gate.try_out(pki.leaf(key=small).bundle())
    assert finding.code == "gate_failed"
    assert finding.severity is Severity.ERROR
    assert "ee_key_too_small" in finding.words


@pytest.mark.parametrize(
    "make", [lambda pki: pki.make_key("ed25519"), lambda _: ec.generate_private_key(ec.SECP521R1())]
)
def test_a_key_that_only_programs_can_use_is_a_warning(engine, pki, make):
    (finding,) = HandshakeGate(TLSPolicy(), engine).try_out(pki.leaf(key=make(pki)).bundle())
    assert finding.code == "gate_browser_failed"
    assert finding.severity is Severity.WARNING


def test_a_worker_does_not_ask_again_what_browsers_can_use(engine, pki):
    bundle = pki.leaf(key=pki.make_key("ed25519")).bundle()
    assert prove(make_context(bundle, TLSPolicy(), engine), bundle) == ()


def test_a_context_that_shows_another_certificate_is_found_out(engine, pki):
    context = make_context(pki.leaf().bundle(), TLSPolicy(), engine)
    (finding,) = prove(context, pki.leaf().bundle())
    assert finding.code == "gate_failed"
    assert "another certificate" in finding.words


def test_a_fault_in_the_library_refuses_the_bundle_and_nothing_else(pki, monkeypatch):
    def burst(self):
        raise ValueError("a certificate that nobody expected")

    monkeypatch.setattr(Bundle, "key_pem", burst)
    (finding,) = HandshakeGate(TLSPolicy(), "system").try_out(pki.leaf().bundle())
    assert finding.code == "gate_failed"
    assert "ValueError" in finding.words


# --- contexts over generations


def generation_of(number: int, rows: dict[str, Bundle], default: Bundle) -> Generation:
    made = tuple(Row(pattern, bundle.id, Source.CUSTOMER) for pattern, bundle in sorted(rows.items()))
    return Generation(number, made, default.id, (), "proposal", None, datetime(2026, 11, 1, tzinfo=UTC))


def served(contexts: Contexts, name: str | None = None) -> Context:
    context = contexts.table.choose(name, None)
    assert context is not None
    return context


@pytest.fixture
def shop(pki):
    """Two bundles, and where to find them by their ids."""
    bundles = [pki.leaf(("a.test",)).bundle(), pki.leaf(("b.test",), key="rsa").bundle()]
    return bundles, {bundle.id: bundle for bundle in bundles}.__getitem__


def test_a_bundle_that_stays_keeps_its_context_and_a_new_one_gets_its_own(engine, shop):
    (a, b), bundle_of = shop
    contexts = Contexts(TLSPolicy(), engine)
    first = contexts.prepare(generation_of(1, {"a.test": a}, a), bundle_of)
    assert contexts.table.choose("a.test", None) is None, "nothing is served before the commit"
    contexts.commit(first)
    contexts.commit(contexts.prepare(generation_of(2, {"a.test": a, "b.test": b}, a), bundle_of))
    assert contexts.table.number == 2
    assert contexts.table.choose("a.test", None) is first.choose("a.test", None)
    assert served(contexts, "b.test").bundle_id == b.id
    assert {context.engine_name for context in contexts.table.entries()} == {engine}


def test_a_bundle_that_comes_back_gets_a_fresh_context_so_old_sessions_are_gone(engine, shop):
    (a, b), bundle_of = shop
    contexts = Contexts(TLSPolicy(), engine)
    asking = client_context(version="TLSv1_2")
    contexts.commit(contexts.prepare(generation_of(1, {}, a), bundle_of))
    session = connect(served(contexts), asking)[0].tls.session
    contexts.commit(contexts.prepare(generation_of(2, {}, b), bundle_of))
    assert not connect(served(contexts), asking, session)[1].facts().resumed
    contexts.commit(contexts.prepare(generation_of(3, {}, a), bundle_of))
    assert not connect(served(contexts), asking, session)[1].facts().resumed


def test_a_generation_that_can_not_be_prepared_changes_nothing(engine, shop, pki):
    (a, _), bundle_of = shop
    contexts = Contexts(TLSPolicy(), engine)
    contexts.commit(contexts.prepare(generation_of(1, {}, a), bundle_of))
    small = pki.leaf(key=rsa.generate_private_key(public_exponent=65_537, key_size=1024)).bundle()
    with pytest.raises(ContextError):
        contexts.prepare(generation_of(2, {"x.test": small}, a), lambda _: small)
    with pytest.raises(KeyError):
        contexts.prepare(generation_of(2, {"x.test": small}, a), bundle_of)
    assert contexts.table.number == 1
    assert served(contexts, "x.test").bundle_id == a.id
