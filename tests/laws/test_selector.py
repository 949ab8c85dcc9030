"""The selector's law: its two lookups answer as a walk over all rows with `covers` would."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from certstore.generation import Generation, Row
from certstore.names import covers
from certstore.slots import Source
from tlsproxy.tls.selector import build_table

# few labels, so that names and patterns meet often
labels = st.sampled_from(["a", "b", "www", "test"])
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)
wildcards = st.lists(labels, min_size=1, max_size=3).map(lambda words: "*." + ".".join(words))
addresses = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"])
patterns = st.one_of(hosts, wildcards, addresses)
tables = st.dictionaries(patterns, st.sampled_from(["one", "two", "three"]), max_size=8)


def generation_of(rows: dict[str, str], default: str | None) -> Generation:
    made = tuple(Row(pattern, bundle, Source.CUSTOMER) for pattern, bundle in sorted(rows.items()))
    return Generation(7, made, default, (), "proposal", None, datetime(2026, 11, 1, tzinfo=UTC))


def by_walking(rows: dict[str, str], default: str | None, name: str) -> str | None:
    """Choose without a table: the exact row, else the wildcard that covers it, else the default."""
    fitting = [pattern for pattern in rows if covers(pattern, name)]
    fitting.sort(key=lambda pattern: pattern.startswith("*."))
    return rows[fitting[0]] if fitting else default


@given(tables, st.sampled_from([None, "fallback"]), hosts)
def test_a_name_gets_what_a_walk_over_the_rows_would_give(rows, default, name):
    table = build_table(generation_of(rows, default), str)
    assert table.choose(name, "192.0.2.1") == by_walking(rows, default, name)


@given(tables, st.sampled_from([None, "fallback"]), addresses)
def test_without_a_name_the_address_decides(rows, default, address):
    table = build_table(generation_of(rows, default), str)
    assert table.choose(None, address) == rows.get(address, default)
    assert table.choose(None, None) == default


@given(tables, st.sampled_from([None, "fallback"]))
def test_a_table_knows_each_entry_of_its_generation_once(rows, default):
    generation = generation_of(rows, default)
    made: dict[str, str] = {}
    table = build_table(generation, lambda bundle: made.setdefault(bundle, bundle))
    assert sorted(table.entries()) == sorted(generation.bundles())
    assert table.number == 7
    assert table.has_addresses == any(row[0] in "12" for row in rows)
