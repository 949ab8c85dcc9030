"""upstream/breaker.py and streak.py: nobody is locked out, nothing that is down is flooded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tlsproxy.upstream.breaker import Breaker, Leave, retry_after
from tlsproxy.upstream.streak import Streak, is_among

FAILURES, WITHIN_S, DOWN_S = 3, 10.0, 4.0


class BreakerLaw(RuleBasedStateMachine):
    """Requests come, succeed, fail and go in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(FAILURES, WITHIN_S, DOWN_S)
        self.now = 0.0
        self.under_way: list[tuple[Leave, int]] = []  # with the number of changes before it
        self.changes = 0
        self.in_a_row: list[float] = []  # failures since the last success or change, as news of now
        self.trials: list[float] = []  # since the breaker has opened
        self.returned = 0
        self.last_event = 0.0

    def draw(self, data) -> tuple[Leave, bool]:
        leave, changes = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        return leave, changes == self.changes

    def note_change(self, *, changed: bool, opens: bool) -> None:
        if changed:
            assert self.breaker.is_open is opens
            self.changes += 1
            self.in_a_row, self.trials, self.returned = [], [], 0

    @rule(step=st.sampled_from([0.0, 0.5, 1.0, DOWN_S - 0.5, DOWN_S, WITHIN_S + 1]))
    def time_passes(self, step):
        self.now += step

    @rule()
    def come(self):
        leave = self.breaker.admit(self.now)
        if not self.breaker.is_open:
            assert leave is not None, "a closed breaker refuses nobody"
        elif leave is not None:
            self.trials.append(self.now)
            self.last_event = self.now
        if leave is not None:
            self.under_way.append((leave, self.changes))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def succeed(self, data):
        leave, is_news = self.draw(data)
        was_open = self.breaker.is_open
        changed = self.breaker.succeeded(leave)
        assert changed is (was_open and is_news)
        if is_news:
            self.in_a_row = []
        self.note_change(changed=changed, opens=False)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def fail(self, data):
        leave, is_news = self.draw(data)
        was_open = self.breaker.is_open
        if is_news and not was_open:
            self.in_a_row.append(self.now)
        last = self.in_a_row[-FAILURES:]
        enough = len(last) == FAILURES and self.now - last[0] <= WITHIN_S
        changed = self.breaker.failed(leave, self.now)
        assert changed is (is_news and not was_open and enough)
        if is_news:
            self.last_event = self.now
        self.note_change(changed=changed, opens=True)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def leave(self, data):
        leave, is_news = self.draw(data)
        was_open = self.breaker.is_open
        self.breaker.returned(leave, self.now)
        assert self.breaker.is_open is was_open
        if is_news and was_open:
            self.returned += 1

    @invariant()
    def nobody_is_locked_out_for_longer_than_agreed(self):
        assert self.breaker.wait_s(self.now) <= max(self.last_event + DOWN_S - self.now, 0.0)

    @invariant()
    def what_is_down_is_asked_once_in_so_long(self):
        for start in self.trials:
            near = [at for at in self.trials if start <= at < start + DOWN_S]
            assert len(near) <= 1 + self.returned

    @invariant()
    def a_closed_breaker_never_makes_anybody_wait(self):
        assert self.breaker.is_open or self.breaker.wait_s(self.now) == 0.0


TestBreakerLaw = BreakerLaw.TestCase


@given(wait=st.floats(0, 86_400), spread=st.floats(0, 1))
def test_who_comes_again_when_told_comes_neither_too_soon_nor_twice_too_late(wait, spread):
    seconds = retry_after(wait, spread)
    assert seconds >= 1
    assert wait <= seconds <= max(2 * wait, 1) + 1


@given(rise=st.integers(1, 4), fall=st.integers(1, 4), results=st.lists(st.booleans(), max_size=40))
def test_only_so_many_contrary_results_in_a_row_change_anything(rise, fall, results):
    streak, up, row = Streak(rise, fall), True, 0
    for passed in results:
        row = row + 1 if passed is not up else 0
        flips = row == (rise if passed else fall) and row > 0
        assert streak.note(passed=passed) is flips
        if flips:
            up, row = passed, 0
        assert streak.is_up is up
        assert streak.to_go == (0 if up else rise - (row if passed else 0))


@given(status=st.integers(100, 599))
def test_a_status_is_among_its_own_class_and_no_other(status):
    assert is_among(status, [str(status)])
    assert [name for name in ("1xx", "2xx", "3xx", "4xx", "5xx") if is_among(status, [name])] == [
        f"{status // 100}xx"
    ]
