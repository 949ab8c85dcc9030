"""Pairs in any store: what is served of them, and that they are written and read back field by field."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.generation import BundleFacts, Generation, bundles_served, compute
from certstore.slots import Slot, Source, in_order

NOW = datetime(2026, 11, 1, tzinfo=UTC)
IDS = [letter * 64 for letter in "abcdef"]
PAIR = Slot(Source.CUSTOMER, ("a.test",), IDS[0], IDS[0], "law", False, "000001-00000000", NOW, beside=IDS[1])
NAMES = [("a.test",), ("a.test", "b.test"), ("*.test",), ("10.0.0.1",)]

ids = st.sampled_from(IDS)


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    bundle = draw(ids)
    beside = draw(st.none() | ids.filter(lambda id_: id_ != bundle))
    confirmed = draw(st.none() | ids)
    confirmed_beside = draw(st.none() | ids) if confirmed is not None else None
    source, names, since = (
        draw(st.sampled_from(Source)),
        draw(st.sampled_from(NAMES)),
        draw(st.integers(0, 9)),
    )
    told = (source, names, bundle, confirmed, "law", False, "000001-00000000", NOW, since)
    return Slot(*told, beside=beside, confirmed_beside=confirmed_beside)


def facts_of(loaded: dict[str, int], names: tuple[str, ...]) -> dict[str, BundleFacts]:
    begun = NOW - timedelta(days=30)
    return {id_: BundleFacts(names, begun, NOW + timedelta(days=days), False) for id_, days in loaded.items()}


stores = st.lists(slots(), max_size=6, unique_by=lambda slot: slot.key)
loaded = st.dictionaries(ids, st.sampled_from([-1, 5]))


@given(slots())
def test_a_slot_is_read_back_as_it_was_written(slot):
    assert Slot.from_json(slot.to_json()) == slot
    assert slot.confirmed().is_confirmed
    assert slot.confirmed().bundles == slot.bundles
    assert slot.is_confirmed == (slot.put_back() is not None and slot.put_back().bundles == slot.bundles)


@given(stores, loaded, st.booleans())
def test_a_generation_is_read_back_as_it_was_written(every, known, plausible):
    served = compute(every, facts_of(known, ("a.test",)), NOW, plausible)
    made = Generation(
        3, served.rows, served.default, in_order(every), "proposal", None, NOW, (), served.beside
    )
    assert Generation.from_json(made.to_json()) == made
    assert made.bundles() == bundles_served(served)


@given(stores, loaded, st.booleans())
def test_only_what_one_slot_has_stands_beside_each_other(every, known, plausible):
    served = compute(every, facts_of(known, ("a.test", "b.test")), NOW, plausible)
    told = {(slot.bundle, slot.beside) for slot in every}
    told |= {(slot.last_confirmed, slot.confirmed_beside) for slot in every}
    pairs = {(row.bundle, row.beside) for row in served.rows} | {(served.default, served.beside)}
    assert {pair for pair in pairs if pair[1] is not None} <= told
    assert bundles_served(served) <= known.keys()


@given(stores, loaded)
def test_no_expired_ec_bundle_hides_a_valid_rsa_one(every, known):
    served = compute(every, facts_of(known, ("a.test",)), NOW, True)
    for row in served.rows:
        assert row.beside is None or known[row.bundle] > 0 or known[row.beside] < 0


@given(stores, loaded, st.booleans())
def test_somebody_is_served_while_any_half_can_be_loaded(every, known, plausible):
    served = compute(every, facts_of(known, ("a.test",)), NOW, plausible)
    assert (served.default is None) == known.keys().isdisjoint(id_ for slot in every for id_ in slot.ways)


def test_a_revoked_ec_bundle_leaves_its_clients_to_the_rsa_one_whatever_the_clock_says():
    facts = facts_of({IDS[0]: 5, IDS[1]: 5}, ("a.test",))
    for plausible in (True, False):
        revoked = facts | {IDS[0]: replace(facts[IDS[0]], revoked=True)}
        assert compute([PAIR], revoked, NOW, plausible).default == IDS[1]


@pytest.mark.parametrize("plausible", [True, False])
def test_a_revoked_rsa_bundle_is_not_served_beside_a_good_ec_one(plausible):
    facts = facts_of({IDS[0]: 5, IDS[1]: 5}, ("a.test",))
    facts[IDS[1]] = replace(facts[IDS[1]], revoked=True)
    served = compute([PAIR], facts, NOW, plausible)
    assert bundles_served(served) == {IDS[0]}


@pytest.mark.parametrize("ec", ["expired", "revoked", "not valid yet"])
def test_a_revoked_rsa_bundle_goes_on_where_nothing_else_is_good(ec):
    facts = facts_of({IDS[0]: -1 if ec == "expired" else 5, IDS[1]: 5}, ("a.test",))
    facts[IDS[1]] = replace(facts[IDS[1]], revoked=True)
    if ec == "revoked":
        facts[IDS[0]] = replace(facts[IDS[0]], revoked=True)
    if ec == "not valid yet":
        facts[IDS[0]] = replace(facts[IDS[0]], not_before=NOW + timedelta(days=1))
    assert compute([PAIR], facts, NOW, True)[1:] == (IDS[0], IDS[1])


def test_a_pair_of_which_both_are_revoked_yields_to_another_source():
    other = Slot(Source.ACME, ("a.test",), IDS[2], IDS[2], "law", False, "000001-00000000", NOW)
    facts = facts_of(dict.fromkeys(IDS[:3], 5), ("a.test",))
    facts |= {id_: replace(facts[id_], revoked=True) for id_ in IDS[:2]}
    assert bundles_served(compute([PAIR, other], facts, NOW, True)) == {IDS[2]}
