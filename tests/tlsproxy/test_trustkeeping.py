"""Trust sets as time goes by: each end is told when it begins and daily, and its date is measured."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from certstore.store import Store
from tests.pki import Pki, crl
from tests.storing import Clock
from tlsproxy.trustkeeping import TrustKeeper

NOT_AFTER, MISSING = "tlsproxy_trust_not_after_timestamp_seconds", "tlsproxy_trust_missing"


class Scene:
    """A store with a list of four days, and a keeper that is told which sets are needed."""

    def __init__(self, store: Store, clock: Clock, pki: Pki, *needed: str) -> None:
        self.told: list[str] = []
        self.clock, self.store = clock, store
        self.end = clock.now + timedelta(days=4)
        self.crl = crl(pki.root, pki.root_key, start=clock.now, end=self.end)
        self.keeper = TrustKeeper(store, needed, clock, lambda one: self.told.append(one.code))

    def put(self, *parts: bytes, name: str = "plant") -> None:
        receipt = self.store.trust.put(name, [(f"{i}.pem", one) for i, one in enumerate(parts)], via="test")
        assert receipt.state == "confirmed", receipt.codes

    def turn(self, **by: float) -> list[str]:
        self.clock.go(**by)
        self.told.clear()
        self.keeper.turn()
        return self.told

    def measured(self) -> dict[tuple[str, ...], float]:
        return dict(self.keeper.measured())


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    with Store.open(tmp_path / "store", clock=clock) as store:
        yield store


def test_a_list_that_ends_is_told_when_it_begins_and_daily_until_a_newer_one_comes(store, clock, pki):
    scene = Scene(store, clock, pki)
    scene.put(pki.root_pem, scene.crl)
    assert scene.turn(days=2) == []
    assert scene.turn(days=1.1) == ["crl_expiring"]
    assert scene.turn(minutes=1) == []
    assert scene.turn(days=1) == ["crl_ended"]
    assert scene.turn(minutes=1) == []
    assert scene.turn(days=1) == ["crl_ended"]
    scene.put(crl(pki.root, pki.root_key, start=clock.now, end=clock.now + timedelta(days=4)))
    assert scene.turn(minutes=1) == []


def test_a_set_that_is_asked_for_and_is_not_there_is_told_at_once_and_daily(store, clock, pki):
    scene = Scene(store, clock, pki, "plant")
    assert scene.turn() == ["trust_missing"]
    assert scene.measured() == {(MISSING,): 1.0}
    assert scene.turn(hours=1) == []
    assert scene.turn(days=1) == ["trust_missing"]
    scene.put(pki.root_pem)
    assert scene.turn() == []
    assert scene.measured()[MISSING,] == 0.0
    store.trust.remove("plant", via="test")
    assert scene.turn() == ["trust_missing"]


def test_a_damaged_set_counts_as_one_that_is_not_there(store, clock, pki):
    scene = Scene(store, clock, pki, "plant")
    scene.put(pki.root_pem)
    (store.path / "trust" / store.active.trust[0].id / "anchors.pem").write_bytes(b"")
    assert scene.turn() == ["trust_damaged"]
    assert scene.measured() == {(MISSING,): 1.0}


def test_of_each_set_and_kind_what_ends_first_is_measured(store, clock, pki):
    scene = Scene(store, clock, pki)
    later = crl(pki.intermediate, pki.intermediate_key, start=clock.now, end=scene.end + timedelta(days=1))
    scene.put(pki.root_pem + pki.intermediate_pem, scene.crl, later)
    scene.put(pki.root_pem, name="other")
    scene.turn()
    ends = {key[1:]: value for key, value in scene.measured().items() if key[0] == NOT_AFTER}
    first = min(pki.root.not_valid_after_utc, pki.intermediate.not_valid_after_utc)
    assert ends == {
        ("plant", "authority"): first.timestamp(),
        ("plant", "list"): scene.end.timestamp(),
        ("other", "authority"): pki.root.not_valid_after_utc.timestamp(),
    }
