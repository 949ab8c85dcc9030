"""When a certificate is due, and when a failed try is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from certstore.issuers.acme.renewalinfo import RenewalInfo
from certstore.issuers.acme.schedule import HOUR_KEPT, after_absence, due_at, next_try, pause, turn_of, within

BEGIN = datetime(2026, 11, 26, tzinfo=UTC)
CHANCES = st.floats(0, 1, exclude_max=True)
LIVES = st.integers(60, 4_000 * 86_400).map(lambda seconds: timedelta(seconds=seconds))


@given(LIVES, CHANCES)
def test_it_is_due_with_a_third_of_its_life_left_or_half_of_a_short_one(life, chance):
    due = due_at(BEGIN, BEGIN + life, chance)
    left = (BEGIN + life - due) / life
    least = 1 / 2 if life < timedelta(days=10) else 1 / 3
    assert least - 1e-6 <= left <= least + 0.05 + 1e-6


@given(LIVES, CHANCES)
def test_a_point_in_the_window_is_in_the_window(length, chance):
    info = RenewalInfo(BEGIN, BEGIN + length, None, BEGIN)
    assert info.start <= within(info, chance) <= info.end


@given(st.integers(1, 10_000), CHANCES, st.booleans(), st.none() | LIVES)
def test_a_pause_is_from_a_minute_to_a_day(failures, chance, is_lasting, left):
    waits = pause(failures, chance, is_lasting=is_lasting, left=left)
    assert timedelta(minutes=1) <= waits <= timedelta(days=1)
    if is_lasting and left is None:
        assert waits >= timedelta(hours=12)


@given(st.integers(1, 10_000))
def test_the_longest_pause_grows_with_each_failure_up_to_a_day(failures):
    left = timedelta(days=60)
    assert pause(failures, 0.999, left=left) <= pause(failures + 1, 0.999, left=left)
    assert pause(20, 0.999, left=left) > timedelta(hours=23)


@given(st.integers(1, 10_000), CHANCES, st.booleans(), LIVES)
def test_no_pause_takes_a_certificate_to_its_end(failures, chance, is_lasting, left):
    waits = pause(failures, chance, is_lasting=is_lasting, left=left)
    assert waits <= max(left / 8, timedelta(minutes=1))


@given(
    st.integers(1, 10_000), CHANCES, st.integers(0, 10**6).map(lambda seconds: timedelta(seconds=-seconds))
)
def test_without_a_good_certificate_nobody_waits_a_day_for_what_passes(failures, chance, left):
    assert pause(failures, chance, left=left) <= timedelta(hours=6)


@given(st.lists(st.tuples(st.integers(60, 4_000), CHANCES), min_size=5, max_size=40))
def test_no_hour_sees_more_than_five_tries(waits):
    now, failed = BEGIN, [BEGIN]
    for seconds, _ in waits:
        now = next_try(now, timedelta(seconds=seconds), failed[-HOUR_KEPT:])
        failed.append(now)
    for first, sixth in zip(failed, failed[5:], strict=False):
        assert sixth - first >= timedelta(hours=1)


@given(st.integers(1, 40), st.integers(1, 10**9))
def test_a_clock_that_was_set_back_stops_nobody(count, ahead_s):
    later = [BEGIN + timedelta(seconds=ahead_s + number) for number in range(count)]
    assert next_try(BEGIN, timedelta(minutes=1), later) == BEGIN + timedelta(minutes=1)


@given(st.integers(0, 10**8), CHANCES, st.none() | LIVES)
def test_who_was_away_waits_by_chance_and_who_was_there_does_not(late_s, chance, left):
    late = timedelta(seconds=late_s)
    waits = after_absence(BEGIN, BEGIN + late, left, chance)
    if late < timedelta(minutes=5):
        assert not waits
    else:
        assert timedelta() <= waits <= timedelta(hours=1)
        assert waits <= (left / 8 if left is not None else timedelta(minutes=10))


def test_ten_thousand_devices_that_were_made_in_one_moment_are_not_due_in_one():
    end = BEGIN + timedelta(days=90)
    due = sorted(due_at(BEGIN, end, number / 10_000) for number in range(10_000))
    busiest = max(sum(1 for one in due if start <= one < start + timedelta(hours=1)) for start in due[::500])
    assert due[-1] - due[0] > timedelta(days=4)
    assert busiest < 150


@given(st.integers(0, 50))
def test_the_first_authority_is_asked_three_times_then_each_by_turns(failures):
    whose = turn_of(failures, [False, False])
    assert whose == (0 if failures < 3 else (failures - 2) % 2)
    assert turn_of(failures, [False]) == 0


@given(st.integers(0, 50), st.lists(st.booleans(), min_size=1, max_size=4))
def test_no_authority_is_asked_that_will_not_listen(failures, barred):
    whose = turn_of(failures, barred)
    assert (whose is None) is all(barred)
    if whose is not None:
        assert not barred[whose]
