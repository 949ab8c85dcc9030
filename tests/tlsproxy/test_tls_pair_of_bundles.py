"""A row with an EC and an RSA bundle: the hello decides, and no session goes from one to the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from certstore import Bundle, Cause, Generation, Row, Source
from tests.tlsproxy.tls_pair import Client, client_context
from tests.tlsproxy.tls_wire import Wire, sockets
from tlsproxy import policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.handshake import accept_tls
from tlsproxy.tls.stream import TLSStream

AT = datetime(2026, 11, 25, tzinfo=UTC)
RSA_ONLY = {"version": "TLSv1_2", "ciphers": "ECDHE-RSA-AES128-GCM-SHA256"}
EC_ONLY = {"version": "TLSv1_2", "ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"}


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def pair(pki) -> tuple[Bundle, Bundle]:
    return pki.leaf(("device.test",)).bundle(), pki.leaf(("device.test",), key="rsa").bundle()


@pytest.fixture(scope="module")
def bundles_of_others(pki) -> tuple[Bundle, ...]:
    return tuple(pki.leaf((f"other-{number}.test",)).bundle() for number in range(4))


def generation(number: int, bundle: str, beside: str | None) -> Generation:
    rows = (Row("device.test", bundle, Source.CUSTOMER, beside),)
    return Generation(number, rows, bundle, (), Cause.PROPOSAL, None, AT, default_beside=beside)


def serving(engine, pair: tuple[Bundle, Bundle]) -> Contexts:
    known = {bundle.id: bundle for bundle in pair}
    contexts = Contexts(TLSPolicy(), engine)
    first, second = pair
    contexts.commit(contexts.prepare(generation(1, first.id, second.id), known.__getitem__))
    return contexts


async def shake_hands(
    contexts: Contexts, context, session=None, name="device.test"
) -> tuple[Wire, TLSStream]:
    client, server = await sockets()
    wire = Wire(client, context, session=session, server_name=name)
    streams: list[TLSStream] = []

    async def accept() -> None:
        streams.append(await accept_tls(server, lambda: contexts.table))
        await streams[0].send_owed()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await wire.shake_hands()
    return wire, streams[0]


def kind_shown(wire: Client) -> str:
    der = wire.tls.getpeercert(binary_form=True)
    assert der is not None
    public = x509.load_der_x509_certificate(der).public_key()
    return "RSA" if isinstance(public, RSAPublicKey) else "EC"


@pytest.mark.parametrize("name", ["device.test", "stranger.test"])
@pytest.mark.parametrize(
    ("asks", "kind"),
    [({}, "EC"), ({"version": "TLSv1_2"}, "EC"), (EC_ONLY, "EC"), (RSA_ONLY, "RSA")],
    ids=["newest", "1.2 with both", "1.2 with EC only", "1.2 with RSA only"],
)
async def test_each_client_gets_the_one_it_can_use(engine, pair, asks, kind, name):
    contexts = serving(engine, pair)
    wire, stream = await shake_hands(contexts, client_context(**asks), name=name)
    assert kind_shown(wire) == kind
    assert stream.bundle_id == pair[kind == "RSA"].id
    stream.close()
    await wire.stream.aclose()


async def test_no_session_is_resumed_across_the_two(engine, pair):
    contexts = serving(engine, pair)
    asks = client_context(version="TLSv1_2")
    wire, stream = await shake_hands(contexts, asks)
    session = wire.tls.session
    assert kind_shown(wire) == "EC"
    assert session is not None
    assert session.has_ticket
    again, second = await shake_hands(contexts, asks, session)
    assert second.facts.resumed, "back at its own, it is"
    asks.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    other, third = await shake_hands(contexts, asks, session)
    assert kind_shown(other) == "RSA"
    assert not third.facts.resumed
    for one in (stream, second, third):
        one.close()
    for each in (wire, again, other):
        await each.stream.aclose()


async def test_where_the_ec_one_cant_be_made_the_rsa_one_serves_all(engine, pair):
    contexts = serving(engine, pair)
    entry = contexts.table.choose("device.test", None)
    assert entry is not None
    entry.drop()

    def damaged(_id: str) -> Bundle:
        raise OSError("the disk is damaged")

    entry._bundle_of = damaged
    wire, stream = await shake_hands(contexts, client_context())
    assert kind_shown(wire) == "RSA"
    assert stream.bundle_id == pair[1].id
    stream.close()
    await wire.stream.aclose()


def test_each_keeps_its_context_when_the_other_is_renewed(engine, pair, pki):
    contexts = serving(engine, pair)
    before = {entry.wanted: entry for entry in contexts.table.entries()}
    renewed = pki.leaf(("device.test",)).bundle()
    known = {bundle.id: bundle for bundle in (*pair, renewed)}
    contexts.commit(contexts.prepare(generation(2, renewed.id, pair[1].id), known.__getitem__))
    after = {entry.wanted: entry for entry in contexts.table.entries()}
    assert after.keys() == {renewed.id, pair[1].id}
    assert after[pair[1].id] is before[pair[1].id]
    assert all(entry.is_made for entry in after.values())


def test_of_a_bounded_number_both_halves_of_the_default_are_kept(pair, bundles_of_others, monkeypatch):
    monkeypatch.setattr(policy, "CONTEXTS_KEPT", 3)
    contexts = Contexts(TLSPolicy(), "bundled")
    known = {bundle.id: bundle for bundle in (*pair, *bundles_of_others)}
    others = tuple(Row(one.names[0], one.id, Source.CUSTOMER) for one in bundles_of_others)
    made = generation(1, pair[0].id, pair[1].id)
    contexts.commit(contexts.prepare(replace(made, rows=(*made.rows, *others)), known.__getitem__))
    table = contexts.table
    assert table.default is not None
    halves = table.default, table.beside(table.default)
    for entry in (*filter(None, halves), *table.entries(), *table.entries()):
        entry.accept()
        assert all(half is not None and half.is_made for half in halves if entry not in halves)
        assert sum(one.is_made for one in table.entries()) <= 3


def test_what_is_prepared_and_never_served_stands_in_for_nobody(pair, bundles_of_others):
    contexts = Contexts(TLSPolicy(), "bundled")
    served, coming = bundles_of_others[:2]
    known = {bundle.id: bundle for bundle in (*pair, *bundles_of_others)}
    row = Row("device.test", pair[0].id, Source.CUSTOMER)
    before = replace(generation(1, served.id, None), rows=(row,))
    contexts.commit(contexts.prepare(before, known.__getitem__))
    entry = contexts.table.choose("device.test", None)
    assert entry is not None
    contexts.prepare(replace(generation(2, coming.id, None), rows=(row,)), known.__getitem__)
    assert entry.fallback is not None
    assert entry.fallback.wanted == served.id
