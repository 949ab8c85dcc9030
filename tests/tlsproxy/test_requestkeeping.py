"""Requests as time goes by: a successor is asked for, what nobody answers goes, and each is told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from certstore.requesting import KEPT, Wish
from certstore.slots import Source
from certstore.store import Store
from tests.requesting import answered, hand_in
from tests.storing import Clock, propose
from tests.tlsproxy.test_caretaker import Scene
from tlsproxy.requestkeeping import keep_requests


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    with Store.open(tmp_path / "store", clock=clock) as store:
        yield store


@pytest.fixture
def told():
    return []


@pytest.fixture
def keep(store, told):
    def keep() -> None:
        keep_requests(store, lambda *said: told.append(said))

    return keep


def test_the_successor_of_a_certificate_that_ends_is_ready_and_told_once(store, keep, told, clock, pki):
    made = store.requests.make(Wish(("device.test",)), via="test")
    receipt = hand_in(store, answered(pki, made))
    keep()
    assert told == []
    clock.go(days=61)
    for _ in range(3):
        keep()
    ((what, facts, finding),) = told
    (next_one,) = store.requests.all()
    assert (what, facts["request"], facts["renews"]) == ("prepare_request", next_one.id, receipt.bundle)
    assert finding.code == "request_prepared"
    assert next_one.id in finding.words
    assert f"{store.meta(receipt.bundle).facts.not_after:%Y-%m-%d}" in finding.words
    assert hand_in(store, answered(pki, next_one, days=400)).state == "confirmed"


def test_what_waits_in_vain_goes_and_is_told_once(store, keep, told, clock):
    made = store.requests.make(Wish(("device.test",)), via="test")
    clock.go(days=KEPT.days + 1)
    for _ in range(2):
        keep()
    ((what, facts, finding),) = told
    assert (what, facts["request"], finding.code) == ("expire_request", made.id, "request_expired")
    assert store.requests.all() == ()


def test_by_a_clock_that_lost_its_battery_nothing_goes(store, keep, told, clock, pki):
    propose(store, pki.leaf(), Source.CUSTOMER)
    store.requests.make(Wish(("device.test",)), via="test")
    clock.go(days=-9000)
    keep()
    assert told == []
    assert len(store.requests.all()) == 1


async def test_the_caretaker_looks_at_them_each_turn(tmp_path, now):
    scene = Scene(tmp_path / "store", now)
    looked = []
    scene.caretaker.look_at_requests = lambda: looked.append(scene.now)
    await scene.caretaker.first_start()
    scene.pass_time(minutes=1)
    assert looked[-1] == scene.now
    scene.store.close()
