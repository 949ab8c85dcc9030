"""How long a dead worker's seat stays empty."""

from __future__ import annotations

from tlsproxy import policy
from tlsproxy.workers.backoff import Backoff


def test_a_worker_that_served_for_a_while_is_replaced_at_once() -> None:
    assert Backoff().after(policy.WORKER_INFANCY_S) == 0.0


def test_one_that_dies_at_birth_again_and_again_is_tried_ever_more_rarely_but_for_ever() -> None:
    backoff = Backoff()
    waits = [backoff.after(0.1) for _ in range(20)]
    assert waits == sorted(waits)
    assert waits[0] == 0.0
    assert waits[-1] == policy.WORKER_RETRY_S[-1]


def test_a_long_life_makes_early_deaths_forgotten() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(0.1)
    backoff.after(3600)
    assert backoff.after(0.1) == 0.0
