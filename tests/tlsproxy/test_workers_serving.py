"""What a worker serves: prepared beside what is served, published whole, and never taken half."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import Bundle, Generation, Row, Source
from certstore.errors import NotFound
from tests.pki import Pki
from tests.tlsproxy.tls_pair import Client as TLSClient
from tests.tlsproxy.tls_pair import client_context, connect, shake_hands
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import Context, ContextError
from tlsproxy.workers.serving import Serving


def generation_of(number: int, default: Bundle, rows: Mapping[str, Bundle] | None = None) -> Generation:
    made = tuple(Row(name, bundle.id, Source.CUSTOMER) for name, bundle in sorted((rows or {}).items()))
    return Generation(number, made, default.id, (), "proposal", None, datetime(2026, 11, 1, tzinfo=UTC))


def served(serving: Serving, name: str | None = None) -> Context:
    context = serving.table.choose(name, None)
    assert context is not None
    return context


@pytest.fixture
def one(pki: Pki) -> Bundle:
    return pki.leaf(("one.test",)).bundle()


@pytest.fixture
def other(pki: Pki) -> Bundle:
    return pki.leaf(("other.test",), key="rsa").bundle()


@pytest.fixture
def weak(pki: Pki) -> Bundle:
    return pki.leaf(("weak.test",), key=rsa.generate_private_key(65_537, 1024)).bundle()


@pytest.fixture(params=["system", "bundled"])
def serving(request: pytest.FixtureRequest, one: Bundle, other: Bundle, weak: Bundle) -> Serving:
    shelf = {bundle.id: bundle for bundle in (one, other, weak)}

    def load(bundle_id: str) -> Bundle:
        if bundle_id not in shelf:
            raise NotFound("bundle", bundle_id)
        return shelf[bundle_id]

    serving = Serving(Contexts(TLSPolicy(), request.param))
    serving.load_from(load)
    return serving


def publish(serving: Serving, generation: Generation) -> None:
    serving.prepare(generation)
    serving.commit(generation)


def test_nothing_changes_before_the_commit(serving, one, other):
    publish(serving, generation_of(1, one))
    before = serving.table
    serving.prepare(generation_of(2, other))
    assert serving.table is before
    serving.commit(generation_of(2, other))
    assert (serving.table.number, served(serving).bundle_id) == (2, other.id)


def test_a_generation_that_cannot_be_prepared_changes_nothing_and_the_next_one_is_not_mixed_with_it(
    serving, one, other, weak
):
    publish(serving, generation_of(1, one))
    with pytest.raises(ContextError):
        serving.prepare(generation_of(2, other, {"weak.test": weak}))
    assert served(serving).bundle_id == one.id
    publish(serving, generation_of(3, one, {"other.test": other}))
    assert served(serving, "weak.test").bundle_id == one.id
    assert served(serving, "other.test").bundle_id == other.id


def test_what_was_prepared_for_another_generation_is_never_committed(serving, one, other):
    """The disk failed between the two steps, and the store went on with the next change."""
    serving.prepare(generation_of(1, one))
    serving.commit(generation_of(2, other))
    assert (serving.table.number, served(serving).bundle_id) == (2, other.id)


def test_a_handshake_that_began_on_the_old_table_ends_with_the_old_bundle(serving, one, other):
    publish(serving, generation_of(1, one))
    server = served(serving).accept()
    publish(serving, generation_of(2, other))
    client = TLSClient(server_name="one.test")
    shake_hands(client, server)
    assert client.tls.getpeercert(binary_form=True) == der_of(one)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_ticket_of_a_replaced_bundle_does_not_resume(serving, one, other, version):
    asking = client_context(version=version)
    publish(serving, generation_of(1, one))
    client, server = connect(served(serving), asking)
    server.write(b"!")  # in TLS 1.3 the ticket comes behind the handshake
    client.feed(server.take())
    assert client.read_all() == b"!"
    session = client.tls.session
    assert connect(served(serving), asking, session)[1].facts().resumed
    publish(serving, generation_of(2, one, {"other.test": other}))
    assert connect(served(serving), asking, session)[1].facts().resumed, "this bundle stayed"
    publish(serving, generation_of(3, other))
    assert not connect(served(serving), asking, session)[1].facts().resumed


def test_a_connection_learns_its_fingerprint_for_one_table_longer_than_its_bundle_is_served(
    serving, one, other
):
    publish(serving, generation_of(1, one))
    assert serving.fingerprint(one.id) == one.fingerprint
    publish(serving, generation_of(2, other))
    assert serving.fingerprint(one.id) == one.fingerprint
    publish(serving, generation_of(3, other))
    assert serving.fingerprint(one.id) == ""
    assert serving.fingerprint(other.id) == other.fingerprint


def test_the_last_rung_serves_one_bundle_to_everybody_and_is_left_by_the_next_generation(serving, one, other):
    serving.serve_in_memory(one)
    assert serving.table.number == 0
    assert served(serving, "whoever.test").bundle_id == one.id
    assert serving.fingerprint(one.id) == one.fingerprint
    publish(serving, generation_of(1, other))
    assert served(serving, "whoever.test").bundle_id == other.id


def der_of(bundle: Bundle) -> bytes:
    return bundle.leaf.public_bytes(Encoding.DER)
