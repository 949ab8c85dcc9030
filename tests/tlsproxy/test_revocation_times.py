"""When an authority is asked again: early, not all at once, and less often while it is down."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore import Judgement, Status
from tests.responding import AT, DAY, HOUR
from tlsproxy import policy_revocation as policy
from tlsproxy.revocationtimes import after_answer, after_failure

MINUTE = timedelta(minutes=1)
LONG = 30 * DAY
CHANCES = st.floats(0, 1, exclude_max=True)


def judgement(life: timedelta) -> Judgement:
    return Judgement(Status.GOOD, AT, AT + life)


@pytest.mark.parametrize(
    ("life", "passed", "pause"),
    [
        (8 * DAY, timedelta(0), 4 * DAY),
        (8 * DAY, 3 * DAY, 1 * DAY),
        (8 * DAY, 4 * DAY, 1 * DAY),
        (8 * DAY, 6 * DAY, 12 * HOUR),
        (2 * MINUTE, timedelta(0), MINUTE),
        (MINUTE, timedelta(0), policy.LEAST_PAUSE),
    ],
)
def test_the_next_is_asked_for_at_half_of_an_answers_life(life, passed, pause):
    now = AT + passed
    assert after_answer(judgement(life), now, LONG, 0.0) == now + pause


def test_however_long_an_answer_lives_a_revocation_is_known_after_the_longest_pause():
    assert after_answer(judgement(90 * DAY), AT, DAY, 0.0) == AT + DAY
    assert after_failure(100, AT, 5 * MINUTE, 0.0) == AT + 5 * MINUTE


def test_whoever_fails_waits_longer_each_time_up_to_an_hour():
    pauses = [after_failure(count, AT, LONG, 0.0) - AT for count in range(1, 12)]
    assert pauses[:4] == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
    assert pauses == sorted(pauses)
    assert pauses[-1] == policy.LONGEST_RETRY


@given(life=st.timedeltas(timedelta(hours=1), timedelta(days=60)), share=st.floats(0, 0.95), chance=CHANCES)
def test_there_is_time_for_more_tries_before_an_answer_ends(life, share, chance):
    now = AT + life * share
    again = after_answer(judgement(life), now, LONG, chance)
    assert now < again
    if life * (1 - share) > 2 * policy.LEAST_PAUSE:
        assert again < AT + life


@given(chance=CHANCES)
def test_devices_that_were_switched_on_together_do_not_ask_together(chance):
    early, late = (after_answer(judgement(8 * DAY), AT, LONG, c) for c in (0.0, chance))
    assert early <= late <= AT + 4 * DAY * (1 + policy.JITTER)
