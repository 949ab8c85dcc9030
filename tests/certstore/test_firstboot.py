"""A key is made only from real randomness, and a clock is believed only where it can be right."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from certstore.firstboot import BUILD_DATE, clock_plausible, random_ready

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_this_machine_has_gathered_randomness_long_ago():
    assert random_ready()


def test_a_kernel_that_would_block_is_not_ready(monkeypatch):
    def would_block(size, flags):
        assert flags & os.GRND_NONBLOCK
        raise BlockingIOError

    monkeypatch.setattr(os, "getrandom", would_block)
    assert not random_ready()


def test_a_kernel_without_the_call_counts_as_ready_because_waiting_would_not_help(monkeypatch):
    def unknown(size, flags):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "getrandom", unknown)
    assert random_ready()


def test_a_clock_before_the_build_date_is_not_believed():
    assert not clock_plausible(EPOCH, BUILD_DATE, None)
    assert not clock_plausible(BUILD_DATE - timedelta(seconds=1), BUILD_DATE, None)
    assert clock_plausible(BUILD_DATE, BUILD_DATE, None)


def test_a_clock_set_back_behind_what_was_seen_is_not_believed_but_a_small_step_is():
    seen = BUILD_DATE + timedelta(days=100)
    assert clock_plausible(seen - timedelta(hours=14), BUILD_DATE, seen)
    assert not clock_plausible(seen - timedelta(days=2), BUILD_DATE, seen)
    assert clock_plausible(seen + timedelta(days=1), BUILD_DATE, seen)
