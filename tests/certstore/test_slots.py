from __future__ import annotations

from datetime import UTC, datetime

import pytest

from certstore.slots import Slot, Source, bundles_named, in_order, slot_id

AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)


def slot(source=Source.CUSTOMER, names=("a.test",), bundle="a" * 64, **more):
    facts = {"last_confirmed": None, "via": "api", "sealed": False, "receipt": "000001-00000000"}
    return Slot(source, names, bundle, stored_at=AT, **{**facts, **more})


def test_the_customer_ranks_before_acme_before_the_factory_before_ourselves():
    assert [source.rank for source in Source] == [0, 1, 2, 3]
    assert list(Source) == ["customer", "acme", "factory", "generated"]


def test_a_slot_is_named_by_its_set_of_names():
    assert slot_id(["b", "a"]) == slot_id(["a", "b", "a"])
    assert slot_id(["a", "b"]) != slot_id(["a"])
    assert slot_id(["a.b"]) != slot_id(["a", "b"])
    assert len(slot_id([])) == 32


def test_the_newer_slot_is_the_one_from_the_later_generation_even_if_the_clock_was_set_back():
    earlier, later = slot(since=3), slot(since=4)
    assert later.newness > earlier.newness


def test_a_slot_comes_back_from_its_file_as_it_was():
    for one in (slot(), slot(last_confirmed="b" * 64, sealed=True, since=12, names=("*.x", "10.0.0.1"))):
        assert Slot.from_json(one.to_json()) == one


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "nobody"),
        ("names", "a.test"),
        ("names", [1]),
        ("bundle", "../../etc/passwd"),
        ("bundle", None),
        ("last_confirmed", "short"),
        ("sealed", 1),
        ("since", True),
        ("since", "1"),
        ("stored_at", "2026-11-20T12:00:00"),
        ("stored_at", "yesterday"),
    ],
)
def test_a_damaged_slot_is_noticed_when_it_is_read(field, value):
    with pytest.raises(ValueError):
        Slot.from_json({**slot().to_json(), field: value})


@pytest.mark.parametrize("field", slot().to_json())
def test_a_slot_without_one_of_its_fields_is_noticed(field):
    data = slot().to_json()
    del data[field]
    with pytest.raises(ValueError):
        Slot.from_json(data)


def test_slots_have_one_order_and_name_their_bundles():
    a, b = slot(Source.GENERATED, last_confirmed="c" * 64), slot(Source.ACME, bundle="b" * 64)
    assert in_order([a, b]) == in_order([b, a]) == (b, a)
    assert bundles_named([a, b]) == {"a" * 64, "b" * 64, "c" * 64}
