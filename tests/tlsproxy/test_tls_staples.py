"""A staple is shown to who asks for one, while it holds; without one, handshakes are as they were."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from certstore import Bundle, Cause, Generation, Row, Source
from tests.pki import Pki
from tests.responding import AT, Responder
from tests.tlsproxy.tls_pair import connect
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import Context, Engine, make_context
from tlsproxy.tls.engines.bundled import BundledContext, BundledEngine
from tlsproxy.tls.engines.probe import Version
from tlsproxy.tls.engines.visitor import Visitor
from tlsproxy.tls.staples import Staples


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bundle(pki: Pki) -> Bundle:
    return pki.leaf().bundle()


@pytest.fixture
def answer(pki: Pki, bundle: Bundle) -> bytes:
    return Responder(pki).answer(bundle.leaf)


def meet(client: BundledEngine, server: Engine) -> None:
    for _ in range(6):
        if client.handshake():
            server.feed(client.take())
            server.handshake()
            return
        server.feed(client.take())
        server.handshake()
        client.feed(server.take())
    raise AssertionError("the handshake came to no end")


def stapled(context: Context, version: Version = Version.TLS13) -> list[bytes]:
    visitor = Visitor(version, "device.test")
    meet(visitor, context.accept())
    return [one for one in visitor._staples if one]


def contexts_of(bundle: Bundle, staples: Staples | None) -> Contexts:
    contexts = Contexts(TLSPolicy(), "bundled", staples=staples)
    rows = (Row(bundle.names[0], bundle.id, Source.CUSTOMER),)
    generation = Generation(1, rows, bundle.id, (), Cause.PROPOSAL, None, AT)
    contexts.commit(contexts.prepare(generation, {bundle.id: bundle}.__getitem__))
    return contexts


@pytest.mark.parametrize("version", list(Version), ids=str)
def test_who_asks_is_shown_the_staple_of_this_very_moment(bundle, answer, version):
    held = b""
    context = make_context(bundle, TLSPolicy(), "bundled", None, lambda: held)
    assert stapled(context, version) == []
    held = answer
    assert stapled(context, version) == [answer]
    held = b""
    assert stapled(context, version) == []


def test_who_does_not_ask_gets_none(bundle, answer):
    context = make_context(bundle, TLSPolicy(), "bundled", None, lambda: answer)
    connect(context)
    shown: list[bytes] = []
    asking = SSL.Context(SSL.TLS_CLIENT_METHOD)

    def keep(_tls: SSL.Connection, staple: bytes, _data: object) -> bool:
        shown.append(staple)
        return True

    asking.set_ocsp_client_callback(keep)
    meet(BundledEngine(asking, server_side=False), context.accept())
    assert not any(shown)


def test_the_system_engine_serves_without_a_staple(bundle, answer):
    context = make_context(bundle, TLSPolicy(), "system", None, lambda: answer)
    assert stapled(context) == []


def test_a_staple_is_given_for_its_own_bundle_and_until_its_end(answer):
    clock = Clock()
    staples = Staples(clock)
    assert staples.of("a") == b""
    staples.take([("a", answer, 60.0)])
    assert (staples.of("a"), staples.of("b")) == (answer, b"")
    clock.now += 59.9
    assert staples.of("a") == answer
    clock.now += 0.1
    assert staples.of("a") == b""
    staples.take([("a", answer, 60.0)])
    staples.take([])
    assert staples.of("a") == b""


def test_a_context_that_lives_on_shows_each_new_staple_and_none_when_it_has_ended(bundle, answer):
    clock = Clock()
    contexts = contexts_of(bundle, staples := Staples(clock))
    context = contexts.table.choose("device.test", None)
    assert context is not None
    assert stapled(context) == []
    staples.take([(bundle.id, answer, 60.0)])
    assert stapled(context) == [answer]
    assert contexts.renew_tickets() == {}
    assert stapled(context) == [answer], "a context that was made anew staples too"
    clock.now += 61
    assert stapled(context) == []


def test_where_nothing_is_ever_stapled_no_handshake_is_asked_about_it(bundle):
    context = contexts_of(bundle, None).table.choose("device.test", None)
    assert context is not None
    made = context.ready()
    assert isinstance(made, BundledContext)
    assert made._context._ocsp_callback is None
    assert stapled(context) == []


def test_of_a_pair_each_shows_its_own(pki, bundle, answer):
    other = pki.leaf(key="rsa").bundle()
    others = Responder(pki).answer(other.leaf)
    staples = Staples(Clock())
    contexts = Contexts(TLSPolicy(), "bundled", staples=staples)
    rows = (Row(bundle.names[0], bundle.id, Source.CUSTOMER, other.id),)
    generation = Generation(1, rows, bundle.id, (), Cause.PROPOSAL, None, AT, default_beside=other.id)
    known = {bundle.id: bundle, other.id: other}
    contexts.commit(contexts.prepare(generation, known.__getitem__))
    first = contexts.table.default
    assert first is not None
    second = contexts.table.beside(first)
    assert second is not None
    staples.take([(other.id, others, 60.0)])
    assert (stapled(first.ready()), stapled(second.ready())) == ([], [others])
    staples.take([(bundle.id, answer, 60.0), (other.id, others, 60.0)])
    assert (stapled(first.ready()), stapled(second.ready())) == ([answer], [others])
