"""Sockets shared out over workers: nobody waits in vain, nobody is idle, no socket moves needlessly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.workers.sharing import equal_share, share_out

seats_and_taken = st.integers(1, 8).flatmap(
    lambda seats: st.tuples(st.just(seats), st.sets(st.integers(0, seats - 1), min_size=1))
)
groups = st.lists(st.integers(1, 8), min_size=1, max_size=4)


@given(groups, seats_and_taken)
def test_every_socket_has_somebody_and_nobody_is_without(groups, seats_and_taken):
    seats, taken = seats_and_taken
    shares = share_out(groups, seats, taken)
    assert set(shares) == taken
    assert {place for places in shares.values() for place in places} == set(range(sum(groups)))
    first = 0
    for size in groups:  # on each address
        assert all(
            any(first <= place < first + size for place in shares[seat]) or size > seat for seat in taken
        )
        first += size


@given(groups, seats_and_taken)
def test_a_full_group_is_split_without_overlap(groups, seats_and_taken):
    seats, taken = seats_and_taken
    full = [seats for _ in groups]
    every = [place for places in share_out(full, seats, taken).values() for place in places]
    assert len(every) == len(set(every)) == sum(full)


@given(groups, seats_and_taken)
def test_whoever_stays_keeps_what_it_had_when_another_dies(groups, seats_and_taken):
    seats, taken = seats_and_taken
    everybody = share_out(groups, seats, range(seats))
    some = share_out(groups, seats, taken)
    assert all(set(everybody[seat]) <= set(some[seat]) for seat in taken)


def test_the_next_seat_has_a_dead_neighbours_sockets():
    assert share_out([3], 3, {0, 1, 2}) == {0: (0,), 1: (1,), 2: (2,)}
    assert share_out([3], 3, {0, 2}) == {0: (0,), 2: (1, 2)}
    assert share_out([3], 3, {1}) == {1: (0, 1, 2)}


def test_one_socket_is_shared_by_all():
    assert share_out([1], 3, {0, 1, 2}) == {0: (0,), 1: (0,), 2: (0,)}


def test_more_sockets_than_workers_are_spread_evenly():
    assert share_out([4, 4], 2, {0, 1}) == {0: (0, 2, 4, 6), 1: (1, 3, 5, 7)}


def test_nobody_gets_nothing():
    assert share_out([2], 2, set()) == {}


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_shares_of_a_limit_add_up_to_it_at_least_and_hardly_more(limit, workers):
    share = equal_share(limit, workers)
    assert limit <= share * workers < limit + workers
