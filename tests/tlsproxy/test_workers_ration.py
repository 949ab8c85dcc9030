"""What is told to the log is rationed: whoever can cause it must not fill the disk."""

from __future__ import annotations

from tlsproxy.workers.ration import Ration


def test_the_first_of_a_kind_are_told_and_the_rest_are_counted() -> None:
    ration = Ration(2, 60.0)
    assert [ration.admit("x", 0.0), ration.admit("x", 1.0)] == [0, 0]
    assert [ration.admit("x", 2.0) for _ in range(5)] == [None] * 5
    assert ration.admit("y", 2.0) == 0
    assert ration.admit("x", 60.0) == 5
    assert ration.admit("x", 61.0) == 0
    assert ration.admit("x", 62.0) is None
