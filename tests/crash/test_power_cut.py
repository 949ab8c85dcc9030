"""The power fails before any step, and takes with it all that was not synced."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.atomic import Disk
from certstore.bundle import Bundle
from certstore.examination import InProcess
from certstore.slots import Source
from certstore.store import Store
from tests.crash.powercut import PowerCut
from tests.crash.stopping import on_probation
from tests.crash.wholeness import assert_whole


def clock() -> datetime:
    return datetime.now(UTC)


def put(store: Store, bundle: Bundle) -> str:
    receipt = store.propose(bundle, source=Source.CUSTOMER, via="test", examiner=InProcess())
    assert receipt.bundle is not None
    return receipt.bundle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "cuts"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    "seed", [None, 1, 2, 3], ids=lambda seed: "all is lost" if seed is None else f"coin {seed}"
)
def test_what_was_reported_done_survives_and_what_wasnt_leaves_the_old_certificate(root, target, pki, seed):
    coin = random.Random(seed)
    with Store.open(root, clock=clock) as store:
        old = put(store, pki.leaf().bundle())
    power = PowerCut(root, target, (lambda _: True) if seed is None else (lambda _: coin.random() < 0.5))
    with Store.open(root, clock=clock, disk=Disk(power)) as store:
        new = put(store, pki.leaf().bundle())
        power.loss = lambda _: True
        done = power.cut()
    assert len(power.cuts) > 20
    outcomes = [assert_whole(cut, pki, {old, new}).bundle for cut in power.cuts]
    assert outcomes[0] == old
    assert outcomes[-1] == new, "propose returned, so it must be there"
    if seed is None:
        turn = outcomes.index(new)
        assert outcomes == [old] * turn + [new] * (len(outcomes) - turn)
        assert (
            power.steps[turn - 1] == f"sync_folder {root.name}"
        )  # the name isn't sure before its folder is synced
    assert done.is_dir()
    power.close()


def test_a_power_cut_while_it_prunes_loses_nothing_that_is_needed(root, target, pki):
    with Store.open(root, clock=clock) as store:
        *_, last = [put(store, pki.leaf().bundle()) for _ in range(4)]
    power = PowerCut(root, target)
    with Store.open(root, clock=clock, disk=Disk(power)) as store:
        store.prune(keep=0)
        power.cut()
    for cut in power.cuts:
        assert_whole(cut, pki, {last})
    power.close()


def test_without_the_sync_before_the_rename_a_power_cut_would_be_noticed_here(root, target, pki, monkeypatch):
    """A test of these tests: leave one sync out, and a start finds an empty file."""
    with Store.open(root, clock=clock) as store:
        old = put(store, pki.leaf().bundle())
    power = PowerCut(root, target)

    def forgetful(step: str, path: Path) -> None:
        if step != "sync":
            power(step, path)

    with Store.open(root, clock=clock, disk=Disk(forgetful)) as store:
        new = put(store, pki.leaf().bundle())
        power.cut()

    def is_whole(cut: Path) -> bool:
        try:
            assert_whole(cut, pki, {old, new})
        except AssertionError:
            return False
        return True

    assert not all(is_whole(cut) for cut in power.cuts)
    power.close()


def test_a_power_cut_while_it_is_on_probation_ends_with_what_was_confirmed(root, target, pki):
    """The device starts anew, so the boot is another one."""
    with Store.open(root, clock=clock) as store:
        old = put(store, pki.leaf().bundle())
    power = PowerCut(root, target)
    with on_probation(root, Disk(power)) as store:
        receipt = store.propose(
            pki.leaf().bundle(), source=Source.CUSTOMER, via="x", examiner=InProcess(), confirm_within_s=600
        )
        power.cut()
        before = len(power.cuts)
        store.confirm(receipt.id, via="x")
        power.cut()
    outcomes = [assert_whole(cut, pki, {old, receipt.bundle}).bundle for cut in power.cuts]
    assert set(outcomes[:before]) == {old}
    assert outcomes[-1] == receipt.bundle, "confirm returned, so it holds"
    power.close()


def assert_turned_once(power: PowerCut, pki, before, after) -> None:
    """Each cut left the one or the other whole, and from some step on the other."""
    outcomes = [assert_whole(cut, pki, {before, after}).bundle for cut in power.cuts]
    turn = outcomes.index(after)
    assert outcomes == [before] * turn + [after] * (len(outcomes) - turn)
    power.close()


def test_a_power_cut_while_a_slot_goes_back_ends_with_the_one_or_the_other(root, target, pki):
    with Store.open(root, clock=clock) as store:
        old, new = (put(store, pki.leaf().bundle()) for _ in range(2))
    power = PowerCut(root, target)
    with Store.open(root, clock=clock, disk=Disk(power)) as store:
        store.roll_back(store.slots()[0].key, via="x")
        power.cut()
    assert_turned_once(power, pki, new, old)


def test_a_power_cut_while_a_slot_is_removed_ends_with_it_or_without_it(root, target, pki):
    with Store.open(root, clock=clock) as store:
        own = store.propose(
            pki.leaf(issuer=None).bundle(), source=Source.GENERATED, via="x", examiner=InProcess()
        ).bundle
        mine = put(store, pki.leaf().bundle())
    power = PowerCut(root, target)
    with Store.open(root, clock=clock, disk=Disk(power)) as store:
        store.remove(store.slots()[0].key, via="x")
        power.cut()
    assert_turned_once(power, pki, mine, own)
