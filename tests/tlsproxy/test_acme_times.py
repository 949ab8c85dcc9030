"""When the next word goes to which ACME authority, with a real store and what stands on its disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certstore import Challenge, KeyType, Source, Store
from certstore.atomic import Disk
from certstore.findings import found
from certstore.issuers.acme.enrolment import Enrolment, Enrolments, Fallback
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.issuing import Issuer, Surroundings
from tests.storing import Clock, propose
from tlsproxy.acmetimes import Times, is_shadowed
from tlsproxy.acmewishes import why_held

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
FIRST, SECOND = "https://first.test/dir", "https://second.test/dir"
ENROLMENT = Enrolment(FIRST, ("a.test", "b.test"), Challenge.HTTP_01, KeyType.EC, None, None, "", AT)


@pytest.fixture
def clock(now) -> Clock:
    return Clock(now)


@pytest.fixture
def store(tmp_path, clock):
    with Store.open(tmp_path / "s", clock=clock) as store:
        yield store


def times(store: Store, enrolment: Enrolment) -> Times:
    enrolments = Enrolments(store.path, Disk())
    enrolments.enrol(enrolment)
    issuer = Issuer(store.path, Disk(), Surroundings(lambda: AT, lambda: 0.5))
    return Times(enrolments, issuer, enrolment, ())


def fail(
    made: Times, now: datetime, retry_at: datetime | None = None, *, is_lasting: bool = False
) -> datetime:
    error = AcmeError(found("acme_unreachable", host="x", why="y"), retry_at=retry_at, is_lasting=is_lasting)
    made.enrolments.note(made.after_failure(now, made.whose_turn(now), error))
    next_at = made.enrolments.renewal.next_at
    assert next_at is not None
    return next_at


def test_the_second_authority_has_its_turn_after_three_failures(store):
    made, now, asked = times(store, replace(ENROLMENT, fallback=Fallback(SECOND))), AT, list[str]()
    for _ in range(7):
        asked.append(made.whose_turn(now).directory)
        now = fail(made, now)
    assert asked == [FIRST, FIRST, FIRST, SECOND, FIRST, SECOND, FIRST]


def test_who_will_not_listen_for_a_week_is_passed_over_and_who_is_alone_is_waited_for(store):
    week = AT + timedelta(days=7)
    alone = times(store, ENROLMENT)
    assert fail(alone, AT, week) == week
    made = times(store, replace(ENROLMENT, fallback=Fallback(SECOND)))
    now = fail(made, AT, week)
    assert now < AT + timedelta(hours=1)
    assert made.whose_turn(now).directory == SECOND
    sooner = AT + timedelta(days=2)
    both = fail(made, now, sooner)
    assert both == sooner, "nobody listens before"
    assert made.whose_turn(both).directory == SECOND
    assert made.whose_turn(week).directory == FIRST


def test_a_short_wait_is_waited_for(store):
    made, until = times(store, replace(ENROLMENT, fallback=Fallback(SECOND))), AT + timedelta(minutes=50)
    assert fail(made, AT, until) == until
    assert made.whose_turn(until).directory == FIRST


def test_what_only_a_person_can_mend_waits_for_the_day_when_all_were_asked(store):
    made, now = times(store, replace(ENROLMENT, fallback=Fallback(SECOND))), AT
    waits = []
    for _ in range(8):
        then = fail(made, now, is_lasting=True)
        waits.append(then - now)
        now = then
    assert max(waits[:6]) <= timedelta(hours=6)
    assert min(waits[6:]) >= timedelta(hours=12)
    alone = times(store, ENROLMENT)
    assert fail(alone, AT, is_lasting=True) >= AT + timedelta(hours=12)


def test_a_customers_certificate_shadows_only_with_all_names_and_while_it_is_good(store, pki, clock):
    def shadowed() -> bool:
        return is_shadowed(store, ENROLMENT, clock())

    assert not shadowed()
    propose(store, pki.leaf(("a.test",)))
    assert not shadowed()
    propose(store, pki.leaf(("a.test", "b.test")), Source.ACME)
    assert not shadowed()
    propose(store, pki.leaf(("*.test",), days=20))
    assert shadowed()
    clock.go(days=30)
    assert not shadowed()


def test_what_holds_everything_up_is_said(store, clock, pki):
    assert why_held(store) is None
    propose(store, pki.leaf(("a.test",)))
    clock.go(days=-3_000)
    assert "clock" in str(why_held(store))
