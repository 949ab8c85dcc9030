"""The pure parts of the scenarios: how long a block is, what a rotation tells, whose share is least."""

from __future__ import annotations

import pytest

from benchmarks.scenarios.rotation import PERIOD_S, Tally, block_s, figures
from benchmarks.scenarios.workers import CLIENTS, address, least_share


@pytest.mark.parametrize(
    ("left", "pace", "seconds"), [(1000, 0.15, 8.0), (30, 0.15, 4.0), (1, 0.15, 1.0), (10, 3.0, 8.0)]
)
def test_a_block_of_load_is_as_long_as_the_rotations_that_are_left_within_its_bounds(left, pace, seconds):
    assert block_s(left, pace, 8.0) == seconds


def test_a_slow_peer_sets_its_own_pace_and_a_quick_one_waits_for_the_period():
    assert Tally().pace_s == PERIOD_S
    assert Tally(seen=[0.001, 0.002]).pace_s == PERIOD_S
    assert Tally(seen=[1.0, 2.0, 3.0]).pace_s == 2.0


def test_a_rotation_tells_milliseconds_megabytes_and_every_blocks_latency_ratio():
    tally = Tally(
        lives=[0.01] * 98 + [0.1, 0.2], seen=[0.02] * 100, failed=3, ratios=[1.1, 1.3], settled=10**7
    )
    told = figures(tally, 12 * 10**6, lost_sockets=2, ended=1)
    assert told["live"] == pytest.approx(10.0)
    assert told["live99"] == pytest.approx(100.0)
    assert told["seen"] == pytest.approx(20.0)
    assert told["p99"] == [1.1, 1.3]
    assert told["growth"] == pytest.approx(2.0)
    assert (told["rotations"], told["failed"], told["lost"], told["ended"]) == (100, 3, 2, 1)


def test_who_does_not_say_when_it_is_live_or_was_too_slow_to_settle_has_no_such_figure():
    told = figures(Tally(seen=[2.0]), 10**7, lost_sockets=0, ended=0)
    assert told.keys().isdisjoint({"live", "live99", "growth"})


def test_the_lesser_share_is_that_of_the_second_worker_and_masters_have_none():
    assert least_share({1: 0, 2: 120, 3: 80, 4: 0}) == 40.0
    assert least_share({1: 0, 2: 200, 3: 0}) == 0.0
    assert least_share({1: 200}) is None
    assert least_share({1: 0, 2: 0}) is None


def test_each_client_comes_from_an_address_of_its_own():
    assert len({address(number) for number in range(CLIENTS)}) == CLIENTS
