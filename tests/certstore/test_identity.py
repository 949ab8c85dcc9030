"""The device's own certificate is made anew in time, for what is missing, and never for what went away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certstore.bundle import Bundle
from certstore.firstboot import BUILD_DATE
from certstore.identity import PATIENCE, Cause, due_at, missing_names, plan
from certstore.issuers.selfsigned import LIFETIME, Identity, issue, new_key

NOW = BUILD_DATE + timedelta(days=30)
HERE = Identity(("device.local", "192.0.2.7"), "1", "device")
MOVED = Identity(("device.local", "192.0.2.8"), "1", "device")


@pytest.fixture(scope="module")
def current() -> Bundle:
    return issue(HERE, new_key(), NOW)


def test_without_a_certificate_one_is_made_with_a_new_key():
    reissue = plan(None, HERE, NOW, None)
    assert reissue is not None
    assert (reissue.identity, reissue.key, reissue.cause) == (HERE, None, Cause.FIRST)


def test_a_fresh_certificate_stays(current):
    assert plan(current, HERE, NOW, None) is None


def test_a_third_of_its_life_before_its_end_it_is_made_anew_with_the_same_key(current):
    due = due_at(current)
    assert abs(current.not_after - due - LIFETIME / 3) < timedelta(seconds=2)
    assert plan(current, HERE, due - timedelta(seconds=1), None) is None
    reissue = plan(current, HERE, due, None)
    assert reissue is not None
    assert (reissue.key, reissue.cause) == (current.key, Cause.ENDING)
    assert plan(current, HERE, current.not_after + timedelta(days=999), None) == reissue


def test_a_missing_name_is_added_when_it_has_been_missing_for_ten_minutes(current):
    since = NOW + timedelta(days=2)
    assert missing_names(current, MOVED) == ("192.0.2.8",)
    assert plan(current, MOVED, since + PATIENCE - timedelta(seconds=1), since) is None
    reissue = plan(current, MOVED, since + PATIENCE, since)
    assert reissue is not None
    assert (reissue.identity, reissue.key, reissue.cause) == (MOVED, current.key, Cause.NAME_MISSING)


def test_a_name_that_went_away_is_no_reason(current):
    less = Identity(("device.local",), "1", "device")
    assert missing_names(current, less) == ()
    assert plan(current, less, NOW + timedelta(days=50), NOW) is None


def test_what_came_back_before_the_patience_ended_is_no_reason(current):
    assert plan(current, HERE, NOW + timedelta(hours=5), NOW) is None


def test_a_new_serial_number_or_device_name_alone_is_no_reason(current):
    assert plan(current, Identity(HERE.names, "2", "renamed"), NOW, NOW - timedelta(days=1)) is None


def test_the_reissue_cures_what_it_was_made_for(current):
    later = NOW + timedelta(days=2)
    new = issue(MOVED, current.key, later)
    assert plan(new, MOVED, later, later - PATIENCE) is None


def test_a_certificate_of_a_clock_that_ran_ahead_is_made_anew_when_the_clock_is_right(current):
    ahead = issue(HERE, current.key, NOW + timedelta(days=5000))
    reissue = plan(ahead, HERE, NOW, None)
    assert reissue is not None
    assert reissue.cause is Cause.NOT_BEGUN
    new = issue(HERE, current.key, NOW)
    assert plan(new, HERE, NOW, None) is None


def test_a_clock_before_the_build_date_makes_nothing_anew_again_and_again():
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert plan(issue(HERE, new_key(), epoch), HERE, epoch, None) is None


def test_a_plan_does_not_show_the_key(current):
    assert "key" not in repr(plan(current, HERE, due_at(current), None)).lower()
