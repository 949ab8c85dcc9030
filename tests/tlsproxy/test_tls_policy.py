"""What a policy makes of a context, with both engines, and of a table's strangers."""

from __future__ import annotations

import ssl

import pytest
import trio
from OpenSSL import SSL

from tests.tlsproxy.tls_pair import Client, client_context, connect, read_all, shake_hands
from tests.tlsproxy.tls_wire import Wire, sockets
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import PROFILES, Profile, TLSPolicy
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import Context, EngineLacks, make_context, resolve
from tlsproxy.tls.engines.bundled import BundledEngine, set_groups
from tlsproxy.tls.engines.system import has_mlkem
from tlsproxy.tls.handshake import accept_tls
from tlsproxy.tls.selector import Table

ENGINES = ("system", "bundled")


def facts_of(context: Context, groups: str):
    asking = SSL.Context(SSL.TLS_CLIENT_METHOD)
    set_groups(asking, groups)
    client, server = BundledEngine(asking, server_side=False, server_name="device.test"), context.accept()
    for _ in range(5):
        done = client.handshake()
        server.feed(client.take())
        if server.handshake() and done:
            return server.facts()
        client.feed(server.take())
    raise AssertionError("the handshake came to no end")


def test_pq_only_takes_hybrid_groups_and_no_others(pki):
    context = make_context(pki.leaf().bundle(), PROFILES[Profile.PQ_ONLY], "bundled")
    assert facts_of(context, "X25519MLKEM768").group == "X25519MLKEM768"
    assert facts_of(context, "SecP256r1MLKEM768").group == "SecP256r1MLKEM768"
    with pytest.raises(HandshakeError, match="no_shared_group"):
        facts_of(context, "X25519:P-256")


def test_a_client_that_knows_a_hybrid_group_is_asked_for_it_though_it_guessed_another(pki):
    context = make_context(pki.leaf().bundle(), TLSPolicy(), "bundled")
    assert facts_of(context, "*X25519:X25519MLKEM768").group == "X25519MLKEM768"


def test_a_custom_order_of_groups_is_kept_where_the_client_has_sent_both(pki):
    policy = TLSPolicy(Profile.CUSTOM, groups=("P-384", "X25519"))
    context = make_context(pki.leaf().bundle(), policy, "bundled")
    assert facts_of(context, "*X25519:*P-384").group == "secp384r1"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_custom_choice_of_ciphers_is_kept(pki, engine):
    policy = TLSPolicy(Profile.CUSTOM, ciphers=("ECDHE-ECDSA-AES256-GCM-SHA384",))
    context = make_context(pki.leaf().bundle(), policy, engine)
    _, server = connect(context, client_context(version="TLSv1_2"))
    assert server.facts().cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"
    with pytest.raises(HandshakeError, match="no_shared_cipher"):
        connect(context, client_context(version="TLSv1_2", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"))


def test_an_engine_that_lacks_all_groups_of_a_policy_is_refused_with_what_to_do():
    if has_mlkem():
        assert resolve("system", PROFILES[Profile.PQ_ONLY]) == "system"
    else:
        with pytest.raises(EngineLacks, match="has none of the groups X25519MLKEM768") as caught:
            resolve("system", PROFILES[Profile.PQ_ONLY])
        assert "bundled" in caught.value.hint
    assert resolve("bundled", PROFILES[Profile.PQ_ONLY]) == "bundled"


# --- tickets


def session_of(context: Context, version: str, asking: ssl.SSLContext) -> ssl.SSLSession | None:
    client, server = connect(context, asking)
    server.write(b"x")
    client.feed(server.take())
    assert client.read_all() == b"x"
    session = client.tls.session
    return session if session is not None and (version == "TLSv1_2" or session.has_ticket) else None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_without_tickets_no_ticket_is_given(pki, engine, version):
    context = make_context(pki.leaf().bundle(), TLSPolicy(tickets=False), engine)
    asking = client_context(version=version)
    session = session_of(context, version, asking)
    assert session is None or not session.has_ticket or engine == "bundled"
    if session is not None and engine == "bundled":  # its stateful ones name nothing that was kept
        _, server = connect(context, asking, session)
        assert not server.facts().resumed


@pytest.mark.parametrize("engine", ENGINES)
def test_renewed_tickets_resume_nothing_that_was_before_and_keep_serving(pki, engine):
    bundle = pki.leaf().bundle()
    contexts = Contexts(TLSPolicy(), engine)
    contexts.serve_only(bundle)
    context = contexts.table.default
    assert context is not None
    asking = client_context(version="TLSv1_3")
    session = session_of(context, "TLSv1_3", asking)
    open_client, open_server = connect(context, asking)
    contexts.renew_tickets()

    assert contexts.table.default is context
    _, server = connect(context, asking, session)
    assert not server.facts().resumed
    open_client.write(b"still here")
    open_server.feed(open_client.take())
    assert read_all(open_server) == b"still here"
    again = session_of(context, "TLSv1_3", asking)
    _, server = connect(context, asking, again)
    assert server.facts().resumed


# --- strangers


async def refused(table: Table[Context], server_name: str) -> tuple[str, bytes]:
    client, server = await sockets()
    wire = Wire(client, server_name=server_name)
    with trio.fail_after(10):
        async with client:
            wire.handshake()
            await wire.flush()
            with pytest.raises(HandshakeError) as caught:
                await accept_tls(server, lambda: table)
            return caught.value.reason, await client.receive_some(100)


@pytest.fixture(params=ENGINES)
def strict(request, pki) -> Table[Context]:
    context = make_context(pki.leaf().bundle(), TLSPolicy(strict_names=True), request.param)
    return Table(1, {"device.test": context, "*.device.test": context}, {}, context, strict=True)


async def test_a_strict_table_refuses_a_stranger_before_any_certificate_is_shown(strict):
    assert await refused(strict, "stranger.test") == ("unknown_name", b"\x15\x03\x03\x00\x02\x02\x70")


async def test_a_strict_table_refuses_whoever_names_nothing(strict):
    # `ssl` sends no name for an address
    assert await refused(strict, "127.0.0.1") == ("no_server_name", b"\x15\x03\x03\x00\x02\x02\x6d")


@pytest.mark.parametrize("name", ["device.test", "a.device.test"])
async def test_a_strict_table_serves_whom_it_knows(strict, name):
    client, server = await sockets()
    wire = Wire(client, server_name=name)
    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(wire.shake_hands)
            stream = await accept_tls(server, lambda: strict)
    stream.close()


async def test_a_strict_table_serves_an_address_that_a_certificate_names(strict):
    context = strict.default
    table = Table(1, {}, {"127.0.0.1": context}, context, strict=True)
    client, server = await sockets()
    wire = Wire(client, server_name="127.0.0.1")
    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(wire.shake_hands)
            stream = await accept_tls(server, lambda: table)
    stream.close()


def test_a_strict_table_keeps_its_default_for_those_who_prepare_it(strict):
    assert strict.default is not None
    assert strict.choose(None, None) is None
    assert strict.is_strict
    assert strict.default in strict.entries()
    lone = Table(1, {}, {}, strict.default)
    assert not lone.is_strict
    assert lone.choose("anybody.test", None) is lone.default
    ends = Client(), strict.default.accept()
    shake_hands(*ends)
