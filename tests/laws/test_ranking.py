"""A ranking stays bounded, and what comes again stays in it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.observe.ranking import Ranking

things = st.lists(st.integers(0, 30), max_size=200)


@given(things)
def test_with_room_enough_it_counts_exactly(came):
    ranking: Ranking[int] = Ranking(31)
    for one in came:
        ranking.count(one)
    assert ranking.counts == Counter(came)


@given(things, st.integers(1, 10))
def test_it_is_bounded_and_never_counts_too_much(came, most):
    ranking: Ranking[int] = Ranking(most)
    for one in came:
        ranking.count(one)
    assert len(ranking.counts) <= most
    assert all(count <= Counter(came)[one] for one, count in ranking.counts.items())


@given(things, things)
def test_adding_is_counting(some, more):
    ranking: Ranking[int] = Ranking(31, Counter(some).items())
    ranking.add(Counter(more).items())
    assert ranking.counts == Counter(some) + Counter(more)


def test_a_flood_of_what_comes_once_drives_out_nothing_that_came_twice():
    ranking: Ranking[str] = Ranking(4, [("again", 2.0)])
    for number in range(1000):
        ranking.count(f"x{number}")
    assert ranking.counts["again"] == 2
    assert len(ranking.counts) == 4
