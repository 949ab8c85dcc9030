"""When a certificate is due, and when a failed try is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from certstore.issuers.acme.renewalinfo import RenewalInfo
from certstore.issuers.acme.schedule import due_at, pause, within

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


@given(st.integers(1, 10_000), CHANCES, st.booleans())
def test_a_pause_is_from_a_minute_to_a_day(failures, chance, is_lasting):
    waits = pause(failures, chance, is_lasting=is_lasting)
    assert timedelta(minutes=1) <= waits <= timedelta(days=1)
    if is_lasting:
        assert waits >= timedelta(hours=12)


@given(st.integers(1, 10_000))
def test_the_longest_pause_grows_with_each_failure_up_to_a_day(failures):
    assert pause(failures, 0.999) <= pause(failures + 1, 0.999)
    assert pause(20, 0.999) > timedelta(hours=23)


def test_ten_thousand_devices_that_were_made_in_one_moment_are_not_due_in_one():
    end = BEGIN + timedelta(days=90)
    due = sorted(due_at(BEGIN, end, number / 10_000) for number in range(10_000))
    busiest = max(sum(1 for one in due if start <= one < start + timedelta(hours=1)) for start in due[::500])
    assert due[-1] - due[0] > timedelta(days=4)
    assert busiest < 150
