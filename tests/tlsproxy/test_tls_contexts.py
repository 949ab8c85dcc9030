"""Contexts made when they are needed: what is proved before, what is kept, and what a damaged one harms."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from certstore import Bundle, Cause, Generation, NotFound, Row, Source
from tlsproxy import policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.contexts import Contexts, LazyContext
from tlsproxy.tls.engines import ContextError

AT = datetime(2026, 11, 25, tzinfo=UTC)
COUNT = 6


@pytest.fixture(scope="module")
def bundles(pki) -> dict[str, Bundle]:
    made = [pki.leaf((f"n{number}.test",)).bundle() for number in range(COUNT)]
    return {bundle.id: bundle for bundle in made}


def generation(number: int, bundles: dict[str, Bundle]) -> Generation:
    rows = tuple(Row(bundle.names[0], id_, Source.CUSTOMER) for id_, bundle in bundles.items())
    default = next(iter(bundles))
    return Generation(number, rows, default, (), Cause.PROPOSAL, None, AT)


def entries(contexts: Contexts) -> dict[str, LazyContext]:
    return {entry.wanted: entry for entry in contexts.table.entries()}


def serve(contexts: Contexts, number: int, bundles: dict[str, Bundle]) -> dict[str, LazyContext]:
    contexts.commit(contexts.prepare(generation(number, bundles), bundles.__getitem__))
    return entries(contexts)


def test_of_a_large_table_only_the_default_is_proved_and_the_rest_is_made_at_first_use(
    bundles, monkeypatch
) -> None:
    monkeypatch.setattr(policy, "CONTEXTS_PROVED", COUNT - 1)
    contexts = Contexts(TLSPolicy(), "bundled")
    found = serve(contexts, 1, bundles)
    assert [entry for entry in found.values() if entry.is_made] == [contexts.table.choose(None, None)]
    last = list(found.values())[-1]
    assert not last.is_made
    last.accept()
    assert last.is_made


def test_what_is_not_too_much_at_once_is_proved_whole(bundles, monkeypatch) -> None:
    monkeypatch.setattr(policy, "CONTEXTS_PROVED", COUNT)
    contexts = Contexts(TLSPolicy(), "bundled")
    *first, last = bundles.items()
    assert all(entry.is_made for entry in serve(contexts, 1, dict(first)).values())
    monkeypatch.setattr(policy, "CONTEXTS_PROVED", 1)  # so much is new in the next one
    assert serve(contexts, 2, dict([*first, last]))[last[0]].is_made


def test_a_bounded_number_is_kept_and_the_default_always(bundles, monkeypatch) -> None:
    monkeypatch.setattr(policy, "CONTEXTS_KEPT", 3)
    contexts = Contexts(TLSPolicy(), "bundled")
    found = serve(contexts, 1, bundles)
    default = contexts.table.choose(None, None)
    assert default is not None
    for entry in (*found.values(), *found.values()):
        entry.accept()
        assert sum(one.is_made for one in found.values()) <= 3
        assert default.is_made


def test_a_context_stays_through_generations_and_goes_with_its_bundle(bundles) -> None:
    contexts = Contexts(TLSPolicy(), "bundled")
    before = {id_: entry.ready() for id_, entry in serve(contexts, 1, bundles).items()}
    fewer = dict(list(bundles.items())[:-1])
    assert {id_: entry.ready() for id_, entry in serve(contexts, 2, fewer).items()} == {
        id_: before[id_] for id_ in fewer
    }
    gone = next(id_ for id_ in bundles if id_ not in fewer)
    assert serve(contexts, 3, bundles)[gone].ready() is not before[gone]
    assert len(contexts._kept) == COUNT


def test_one_that_cannot_be_made_is_told_once_and_served_by_the_default(bundles, monkeypatch) -> None:
    monkeypatch.setattr(policy, "CONTEXTS_PROVED", 0)
    lost: list[str] = []
    contexts = Contexts(TLSPolicy(), "bundled", lambda id_, _why: lost.append(id_))
    default, *_, damaged = bundles

    def load(id_: str) -> Bundle:
        if id_ == damaged:
            raise NotFound("bundle", id_)
        found: Bundle = bundles[id_]
        return found

    contexts.commit(contexts.prepare(generation(1, bundles), load))
    entry = entries(contexts)[damaged]
    for _ in range(3):
        entry.accept()
        assert entry.bundle_id == default
    assert lost == [damaged]
    # the next generation tries again, and is not refused for it
    contexts.commit(contexts.prepare(generation(2, bundles), bundles.__getitem__))
    entry.accept()
    assert lost == [damaged, damaged]  # its own way to the bundle is the old one


def test_where_not_even_the_default_can_be_made_nothing_is_served(bundles) -> None:
    def load(id_: str) -> Bundle:
        raise NotFound("bundle", id_)

    entry = LazyContext(Contexts(TLSPolicy(), "bundled"), next(iter(bundles)), load)
    with pytest.raises(ContextError):
        entry.accept()
