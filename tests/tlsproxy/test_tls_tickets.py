"""The name of a ticket's key: what a hello tells of it, and what a context is found to have."""

from __future__ import annotations

import ssl

import pytest

from tests.tlsproxy.tls_pair import Client, client_context, connect
from tlsproxy.policy_tls import PROFILES, Profile, TLSPolicy
from tlsproxy.tls.clienthello import parse
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import Context, make_context
from tlsproxy.tls.tickets import key_name

VERSIONS = ("TLSv1_2", "TLSv1_3")


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


def ticket_of(context: Context, version: str) -> bytes:
    """Give what the hello of a client that comes back tells."""
    asking = client_context(version=version)
    client, server = connect(context, asking)
    server.write(b"x")
    client.feed(server.take())
    client.read_all()
    again = Client(asking, client.tls.session)
    again.handshake()
    hello = parse(again.take())
    assert hello is not None
    return hello.ticket


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_begins_with_the_name_of_its_contexts_key(engine, pki, version):
    bundle = pki.leaf().bundle()
    one, other = (make_context(bundle, TLSPolicy(), engine) for _ in range(2))
    name = key_name(one)
    assert len(name) == 16
    assert key_name(one) == name, "it is the same for every ticket"
    assert ticket_of(one, version) == name
    assert ticket_of(other, version) == key_name(other) != name


def test_a_hello_without_a_ticket_tells_of_none():
    client = Client()
    client.handshake()
    hello = parse(client.take())
    assert hello is not None
    assert hello.ticket == b""


def test_a_context_without_tickets_has_no_name(engine, pki):
    assert key_name(make_context(pki.leaf().bundle(), TLSPolicy(tickets=False), engine)) == b""


def test_the_name_is_found_where_only_hybrid_groups_are_spoken(pki):
    context = make_context(pki.leaf().bundle(), PROFILES[Profile.PQ_ONLY], "bundled")
    assert len(key_name(context)) == 16


def test_whoever_wants_to_know_hears_of_each_context_that_is_made(engine, pki):
    made: list[Context] = []
    contexts = Contexts(TLSPolicy(), engine)
    contexts.on_made = made.append
    bundle = pki.leaf().bundle()
    contexts.serve_only(bundle)
    contexts.renew_tickets()
    assert [context.bundle_id for context in made] == [bundle.id, bundle.id]
    assert key_name(made[0]) != key_name(made[1])


class OddError(Exception):
    """What an engine has never raised before."""


@pytest.mark.parametrize(
    "error", [OddError("new here"), ssl.SSLError("engine"), RuntimeError(), MemoryError()]
)
def test_whatever_hinders_new_keys_the_old_ones_serve_on_and_it_is_told(engine, pki, error):
    contexts = Contexts(TLSPolicy(), engine)
    bundle = pki.leaf().bundle()
    contexts.serve_only(bundle)
    context = contexts.table.default
    assert context is not None
    before = context.ready()

    def make_nothing(*_arguments: object) -> Context:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlsproxy.tls.contexts.make_context", make_nothing)
        assert contexts.renew_tickets() == {bundle.id: str(error) or type(error).__name__}
    assert context.ready() is before
    assert contexts.renew_tickets() == {}
    assert context.ready() is not before
