"""upstream/pool.py: the law that nothing is lent twice, kept beyond its bounds, or lost."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tlsproxy.upstream.pool import Pool

MAX_IDLE, IDLE_S = 3, 10.0


class PoolLaw(RuleBasedStateMachine):
    """Every item is in exactly one of three places: idle in the pool, lent, or handed out to be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: Pool[int] = Pool(MAX_IDLE, IDLE_S)
        self.now = 0.0
        self.lent: set[int] = set()
        self.closed: set[int] = set()
        self.idle: dict[int, float] = {}
        self.made = 0

    def close(self, items):
        for item in items:
            assert item in self.idle, "closed twice, or never idle"
            del self.idle[item]
            self.closed.add(item)

    @rule()
    def borrow_a_new_one(self):
        self.lent.add(self.made)
        self.made += 1

    @rule(younger=st.none() | st.floats(0, 20))
    def borrow(self, younger):
        item = self.pool.take(self.now, younger)
        limit = min(IDLE_S, IDLE_S if younger is None else younger)
        fit = [since for since in self.idle.values() if self.now - since < limit]
        if item is None:
            assert not fit
        else:
            assert self.idle.pop(item) == max(fit), "not the warmest"
            self.lent.add(item)

    @rule(data=st.data())
    def give_back(self, data):
        if self.lent:
            item = data.draw(st.sampled_from(sorted(self.lent)))
            self.lent.remove(item)
            self.idle[item] = self.now
            surplus = self.pool.give_back(item, self.now)
            if surplus is not None:
                self.close([surplus])

    @rule(step=st.floats(0, 6))
    def time_passes(self, step):
        self.now += step

    @rule()
    def sweep(self):
        if self.pool.next_expiry <= self.now:
            self.close(self.pool.expire(self.now))
        assert self.pool.expire(self.now) == []
        assert all(self.now - since < IDLE_S for since in self.idle.values())

    @rule()
    def empty(self):
        self.close(self.pool.empty())
        assert not self.idle

    @invariant()
    def nothing_is_lost_and_no_more_is_kept_than_allowed(self):
        assert len(self.pool) == len(self.idle) <= MAX_IDLE
        assert len(self.idle) + len(self.lent) + len(self.closed) == self.made
        counts = self.pool.counts
        assert counts.evicted + counts.expired == len(self.closed)


TestPoolLaw = PoolLaw.TestCase


def test_a_pool_without_room_hands_back_at_once():
    pool: Pool[str] = Pool(0, IDLE_S)
    assert pool.give_back("x", 0) == "x"
    assert pool.take(0) is None
    assert pool.next_expiry == float("inf")
