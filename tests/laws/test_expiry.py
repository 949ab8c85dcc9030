"""Laws of the expiry ladder: for lives of any length, each step is told in its time, never in a flood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy import policy_notices as policy
from tlsproxy.observe.expiry import Role, Step, Told, is_due, rhythm, step_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

lives = st.one_of(
    st.timedeltas(timedelta(hours=6), 11 * 365 * DAY),
    st.sampled_from([6 * DAY, 90 * DAY, 397 * DAY, 3653 * DAY]),
)
moments = st.timedeltas(timedelta(0), 12 * 365 * DAY)
turns = st.timedeltas(timedelta(seconds=1), 3 * DAY)


def told_over_a_life(life: timedelta, turn: timedelta, beyond: timedelta | None = None) -> list[Told]:
    """Look again and again from the first third to some days after the end, as the caretaker does."""
    turn = max(turn, life / 400)
    now = BEGIN + life * 0.6
    told: list[Told] = []
    beyond = min(10 * DAY, life) if beyond is None else beyond
    while now <= BEGIN + life + beyond:
        step = step_of(BEGIN, BEGIN + life, now)
        last = told[-1] if told else None
        if is_due(last, step, Role.SERVED, now, rhythm(BEGIN, BEGIN + life, now)):
            told.append(Told(step, Role.SERVED, now))
        now += turn
    return told


@given(lives, moments, moments)
def test_no_step_is_ever_taken_back_by_time(life: timedelta, one: timedelta, other: timedelta) -> None:
    earlier, later = sorted((one, other))
    steps = [step_of(BEGIN, BEGIN + life, BEGIN + at).number for at in (earlier, later)]
    assert steps == sorted(steps)


@given(lives)
def test_steps_are_the_same_shares_of_every_life(life: timedelta) -> None:
    second = timedelta(seconds=1)

    def at(share: float, more: timedelta = timedelta(0)) -> Step:
        return step_of(BEGIN, BEGIN + life, BEGIN + life - life * share + more)

    assert at(1 / 3) is Step.FINE  # when whoever renews by himself does so
    assert [at(policy.NOTICE_SHARE, second), at(policy.WARNING_SHARE, second)] == [Step.NOTICE, Step.WARNING]
    assert [at(policy.URGENT_SHARE, second), at(0.0), at(0.0, second)] == [
        Step.URGENT,
        Step.URGENT,
        Step.EXPIRED,
    ]


@given(lives, moments)
def test_before_its_life_and_while_the_clock_cannot_be_right_all_is_fine(
    life: timedelta, at: timedelta
) -> None:
    assert step_of(BEGIN, BEGIN + life, BEGIN - at) is Step.FINE
    assert step_of(BEGIN, BEGIN + life, None) is Step.FINE


@given(lives, turns)
def test_each_step_is_told_at_the_first_look_that_finds_it(life: timedelta, turn: timedelta) -> None:
    told = told_over_a_life(life, turn)
    turn = max(turn, life / 400)
    expected = [step_of(BEGIN, BEGIN + life, one.at) for one in told]
    assert [one.step for one in told] == expected
    firsts = {one.step: one.at for one in reversed(told)}
    for step, share in ((Step.NOTICE, 0.3), (Step.WARNING, 0.2), (Step.URGENT, 0.1), (Step.EXPIRED, 0.0)):
        if step in firsts:
            reached = BEGIN + life - life * share
            assert reached - timedelta(milliseconds=1) <= firsts[step] <= reached + turn * 1.001
        else:
            assert turn > life * 0.1, "it may be missed only by who looks too seldom"


@given(lives, turns)
def test_between_two_tellings_of_a_step_lies_neither_too_little_nor_too_much(
    life: timedelta, turn: timedelta
) -> None:
    told = told_over_a_life(life, turn)
    turn = max(turn, life / 400)
    least = max(min(DAY, life / 24), timedelta(hours=1))
    for one, next_one in pairwise(told):
        pause = next_one.at - one.at
        if one.step is next_one.step:
            assert pause >= least
        assert pause <= timedelta(seconds=policy.AGAIN_MOST_S) + turn


@given(lives)
def test_no_life_is_told_of_more_than_some_dozen_times_before_its_end(life: timedelta) -> None:
    told = told_over_a_life(life, timedelta(minutes=1), beyond=timedelta(0))
    assert 3 <= len(told) <= 75


def test_a_certificate_of_six_days_is_told_of_in_time() -> None:
    told = told_over_a_life(6 * DAY, timedelta(minutes=1), beyond=timedelta(0))
    left = [(BEGIN + 6 * DAY - one.at) / timedelta(hours=1) for one in told]
    assert told[0].step is Step.NOTICE
    assert left[0] > 42
    assert 6 <= len(told) <= 9
    assert min(left) > 1


@given(lives, st.timedeltas(-3650 * DAY, 3650 * DAY), st.sampled_from(list(Step)[1:]))
def test_a_clock_that_was_far_ahead_silences_nobody(life: timedelta, ahead: timedelta, step: Step) -> None:
    now = BEGIN + life * 0.95
    again = rhythm(BEGIN, BEGIN + life, now)
    told = Told(step, Role.SERVED, now + ahead)
    due = is_due(told, Step.URGENT, Role.SERVED, now, again)
    assert due == (step is not Step.URGENT or abs(ahead) >= again)


def test_a_certificate_without_end_is_fine() -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert step_of(BEGIN, end, BEGIN + 3650 * DAY) is Step.FINE
    assert rhythm(BEGIN, end, BEGIN) == timedelta(seconds=policy.AGAIN_MOST_S)
