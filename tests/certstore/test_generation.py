from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certstore.generation import BundleFacts, Cause, Generation, Row, Served, compute
from certstore.slots import Slot, Source

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)
CUSTOMER, ACME, FACTORY, GENERATED = Source


class Table:
    """Slots and facts, told in few words; each bundle's id is its letter, 64 times."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.facts: dict[str, BundleFacts] = {}

    def add(self, source, letter, *names, days=90, since=None, self_signed=False, confirmed=None):
        since = len(self.slots) + 1 if since is None else since
        self.slots.append(
            Slot(source, names, letter * 64, confirmed, "test", False, "000001-00000000", NOW, since)
        )
        self.facts[letter * 64] = BundleFacts(names, NOW - 365 * DAY, NOW + days * DAY, self_signed)
        return self

    def rows(self, *, plausible=True):
        rows, _, _ = compute(self.slots, self.facts, NOW, plausible)
        return {row.pattern: row.bundle[0] for row in rows}

    def default(self, *, plausible=True):
        _, default, _ = compute(self.slots, self.facts, NOW, plausible)
        return default and default[0]


@pytest.fixture
def table():
    return Table()


def test_every_name_has_a_row_with_its_source_in_the_order_of_the_names(table):
    table.add(CUSTOMER, "a", "b.test", "10.0.0.1")
    rows, default, _ = compute(table.slots, table.facts, NOW, True)
    assert rows == (Row("10.0.0.1", "a" * 64, CUSTOMER), Row("b.test", "a" * 64, CUSTOMER))
    assert default == "a" * 64


def test_without_slots_nothing_is_served(table):
    assert compute((), {}, NOW, True) == Served((), None, None)


def test_the_higher_source_wins_a_name_even_if_it_came_first(table):
    table.add(CUSTOMER, "c", "x.test").add(ACME, "a", "x.test").add(GENERATED, "g", "x.test")
    assert table.rows() == {"x.test": "c"}


def test_a_customers_wildcard_beats_our_own_exact_certificate(table):
    table.add(CUSTOMER, "c", "*.test").add(GENERATED, "g", "x.test", "10.0.0.1")
    assert table.rows() == {"*.test": "c", "x.test": "c", "10.0.0.1": "g"}


def test_within_a_source_the_exact_name_beats_a_newer_wildcard(table):
    table.add(CUSTOMER, "e", "x.test").add(CUSTOMER, "w", "*.test")
    assert table.rows() == {"*.test": "w", "x.test": "e"}


def test_within_a_source_the_newer_slot_wins_a_shared_name(table):
    table.add(CUSTOMER, "o", "x.test", "old.test").add(CUSTOMER, "n", "x.test", "new.test")
    assert table.rows() == {"new.test": "n", "old.test": "o", "x.test": "n"}


def test_a_wildcard_covers_one_label_only_and_no_address(table):
    table.add(CUSTOMER, "c", "*.test", "*.0.0.1").add(GENERATED, "g", "a.b.test", "10.0.0.1")
    rows = table.rows()
    assert (rows["a.b.test"], rows["10.0.0.1"]) == ("g", "g")


def test_strangers_get_the_newest_bundle_of_the_highest_source(table):
    table.add(CUSTOMER, "a", "a.test").add(CUSTOMER, "b", "b.test").add(ACME, "c", "c.test")
    assert table.default() == "b"


def test_a_certificate_that_names_nobody_is_served_to_strangers_only(table):
    table.add(CUSTOMER, "c").add(GENERATED, "g", "x.test")
    assert table.rows() == {"x.test": "g"}
    assert table.default() == "c"


def test_expiry_moves_a_row_to_a_valid_bundle_of_another_real_source(table):
    table.add(CUSTOMER, "c", "x.test", days=-1).add(ACME, "a", "*.test").add(FACTORY, "f", "x.test")
    assert table.rows() == {"*.test": "a", "x.test": "a"}
    assert table.default() == "a"


def test_expiry_passes_by_a_source_that_has_expired_too(table):
    table.add(CUSTOMER, "c", "x.test", days=-1).add(ACME, "a", "x.test", days=-2).add(FACTORY, "f", "x.test")
    assert table.rows() == {"x.test": "f"}


def test_an_older_valid_certificate_of_the_same_source_rescues_the_row(table):
    table.add(CUSTOMER, "o", "x.test").add(CUSTOMER, "n", "x.test", "y.test", days=-1)
    assert table.rows() == {"x.test": "o", "y.test": "n"}


@pytest.mark.parametrize(
    ("source", "self_signed"), [(GENERATED, True), (GENERATED, False), (FACTORY, True), (ACME, True)]
)
def test_an_expired_certificate_stays_rather_than_a_stranger_takes_its_place(table, source, self_signed):
    table.add(CUSTOMER, "c", "x.test", days=-1).add(source, "s", "x.test", self_signed=self_signed)
    assert table.rows() == {"x.test": "c"}
    assert table.default() == "c"


def test_a_certificate_is_valid_through_its_last_second(table):
    table.add(CUSTOMER, "c", "x.test", days=0).add(ACME, "a", "x.test")
    assert table.rows() == {"x.test": "c"}


def test_a_certificate_that_isnt_valid_yet_rescues_nobody(table):
    table.add(CUSTOMER, "c", "x.test", days=-1).add(ACME, "a", "x.test")
    table.facts["a" * 64] = BundleFacts(("x.test",), NOW + DAY, NOW + 90 * DAY, False)
    assert table.rows() == {"x.test": "c"}


def test_a_clock_that_cant_be_right_moves_nothing(table):
    table.add(CUSTOMER, "c", "x.test", days=-1).add(ACME, "a", "x.test")
    assert table.rows(plausible=False) == {"x.test": "c"}
    assert table.default(plausible=False) == "c"


def test_a_bundle_that_cant_be_loaded_falls_to_the_last_confirmed_one(table):
    table.add(CUSTOMER, "o", "x.test").add(CUSTOMER, "n", "x.test", confirmed="o" * 64)
    del table.slots[0], table.facts["n" * 64]
    assert table.rows() == {"x.test": "o"}


def test_then_it_falls_down_the_order_of_sources_and_at_last_there_is_nothing(table):
    table.add(CUSTOMER, "c", "x.test", confirmed="d" * 64).add(GENERATED, "g", "x.test")
    del table.facts["c" * 64]
    assert (table.rows(), table.default()) == ({"x.test": "g"}, "g")
    table.facts.clear()
    assert (table.rows(), table.default()) == ({}, None)


def test_a_generation_names_what_it_serves_and_comes_back_from_its_file(table):
    table.add(CUSTOMER, "a", "x.test").add(GENERATED, "b", "x.test", "y.test")
    rows, default, _ = compute(table.slots, table.facts, NOW, True)
    generation = Generation(7, rows, default, tuple(table.slots), Cause.PROPOSAL, "000001-00000000", NOW)
    assert generation.bundles() == {"a" * 64, "b" * 64}
    assert Generation.from_json(generation.to_json()) == generation
    dark = Generation(8, (), None, (), Cause.RECOVERY, None, NOW)
    assert dark.bundles() == frozenset()
    assert Generation.from_json(dark.to_json()) == dark


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", "7"),
        ("number", True),
        ("rows", [{"pattern": "x", "bundle": "../x", "source": "acme"}]),
        ("rows", None),
        ("default", "x"),
        ("slots", [{}]),
        ("cause", None),
        ("made_at", 5),
    ],
)
def test_a_damaged_generation_is_noticed_when_it_is_read(field, value):
    data = Generation(8, (), None, (), Cause.RECOVERY, None, NOW).to_json()
    with pytest.raises(ValueError):
        Generation.from_json({**data, field: value})
