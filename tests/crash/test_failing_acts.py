"""All that changes a store, on a disk that fails at each of its steps, in each way: old or new, told true.

An act that raises has changed nothing; one that returns has done it, and a start on a mended disk finds that.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from certstore.atomic import Disk
from certstore.backup import Backup
from certstore.bundle import Bundle
from certstore.erasure import Reset, Scope
from certstore.errors import StoreNotWritable
from certstore.examination import InProcess
from certstore.findings import found
from certstore.receipts import State
from certstore.slots import Slot, Source
from certstore.store import Store
from tests.crash.stopping import BOOT, WITHIN_S, now
from tests.crash.test_disk_errors import Failing
from tests.crash.wholeness import assert_consistent
from tests.storing import served

CUSTOMER, ACME, FACTORY, GENERATED = Source
WAYS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO)
BOTH = frozenset(Scope)


class Boot:
    """A boot's time that an act may let go by."""

    def __init__(self) -> None:
        self.now = BOOT

    def __call__(self):
        return self.now


@dataclass
class Scene:
    """One store that is open, and what an act may need."""

    store: Store
    boot: Boot
    bundle: Bundle


def put(store: Store, bundle: Bundle, source: Source = CUSTOMER, within_s: float | None = None) -> Any:
    return store.propose(bundle, source=source, via="x", examiner=InProcess(), confirm_within_s=within_s)


def mine(store: Store) -> Slot:
    return next(slot for slot in store.slots() if slot.source is CUSTOMER)


def import_(scene: Scene) -> None:
    put(scene.store, scene.bundle)


def import_on_probation(scene: Scene) -> None:
    put(scene.store, scene.bundle, within_s=WITHIN_S)


def import_of_our_own(scene: Scene) -> None:
    put(scene.store, scene.bundle, GENERATED)


def confirm(scene: Scene) -> None:
    scene.store.confirm(scene.store.probations()[0].receipt, via="x")


def end_probation(scene: Scene) -> None:
    scene.boot.now = replace(BOOT, seconds=BOOT.seconds + WITHIN_S)
    scene.store.end_probation()


def roll_back(scene: Scene) -> None:
    scene.store.roll_back(mine(scene.store).key, via="x")


def remove(scene: Scene) -> None:
    scene.store.remove(mine(scene.store).key, via="x")


def activate(scene: Scene) -> None:
    scene.store.activate(3, via="x")


def restore(scene: Scene) -> None:
    at, one = now(), scene.bundle
    slot = Slot(CUSTOMER, one.names, one.id, one.id, "x", False, "000001-00000000", at, 1)
    scene.store.restore(Backup(at, 7, (slot,), (one,)), via="x")


def reset(scene: Scene) -> None:
    scene.store.reset(Reset(BOTH, scene.bundle, (scene.store.path / "inbox",)), via="x")


def reset_the_customers(scene: Scene) -> None:
    scene.store.reset(Reset(frozenset({Scope.CUSTOMER}), beside=(scene.store.path / "inbox",)), via="x")


def refuse(scene: Scene) -> None:
    scene.store.refused(CUSTOMER, "x", (found("nothing_before_removal"),))


def prune(scene: Scene) -> None:
    scene.store.prune(keep=0)


Act = Callable[[Scene], None]
SETTLED: tuple[Act, ...] = (
    *(import_, import_on_probation, import_of_our_own, roll_back, remove, activate, restore),
    *(reset, reset_the_customers, refuse, prune),
)
WAITING: tuple[Act, ...] = (confirm, end_probation, roll_back, import_, remove, reset)


def fill(root: Path, pki: Any, *, waiting: bool) -> None:
    """Have somebody's certificate from everywhere, and two states to go back to."""
    with Store.open(root, clock=now, boot_clock=Boot()) as store:
        put(store, pki.leaf(names=("factory.test",)).bundle(), FACTORY)
        put(store, pki.leaf(names=("own.test",), issuer=None).bundle(), GENERATED)
        put(store, pki.leaf().bundle())
        put(store, pki.leaf(names=("acme.test",)).bundle(), ACME)
        put(store, pki.leaf().bundle(), within_s=WITHIN_S if waiting else None)
    (root / "inbox").mkdir()
    (root / "inbox" / "a.pem").write_bytes(b"x")


Standing = tuple[str | None, frozenset[tuple[object, ...]], bool]


def state_of(store: Store) -> Standing:
    """What is served, what each slot has, and what waits."""
    slots = frozenset((slot.source, slot.names, slot.bundle, slot.is_confirmed) for slot in store.slots())
    return served(store), slots, store.watches_suspended


def seen(standing: Standing) -> Standing:
    """What clients see of it, and the next change."""
    served_now, slots, suspended = standing
    return served_now, frozenset(slot[:-1] for slot in slots), suspended


def open_at(root: Path, boot: Boot, disk: Disk | None = None) -> Store:
    return Store.open(root, clock=now, boot_clock=boot, disk=disk)


def whole(template: Path, root: Path, act: Act, bundle: Bundle) -> tuple[Standing, Standing]:
    """Run an act on a good disk; gives the states before and after it."""
    boot = Boot()
    with open_at(shutil.copytree(template, root), boot) as store:
        before = state_of(store)
        act(Scene(store, boot, bundle))
        return before, state_of(store)


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize(
    ("act", "waiting"),
    [*((act, False) for act in SETTLED), *((act, True) for act in WAITING)],
    ids=lambda value: value.__name__ if callable(value) else "in probation" if value else "settled",
)
def test_an_act_on_a_disk_that_fails_at_any_step_is_done_or_has_not_begun(
    tmp_path, pki, act, waiting, for_good
):
    template = tmp_path / "template"
    fill(template, pki, waiting=waiting)
    own = act in {import_of_our_own, reset}
    bundle = pki.leaf(names=("new.test",), issuer=None).bundle() if own else pki.leaf().bundle()
    before, after = whole(template, tmp_path / "whole", act, bundle)
    outcomes: list[str] = []
    words: list[tuple[str, str]] = []
    for at in range(1, 200):
        root, boot = tmp_path / str(at), Boot()
        shutil.copytree(template, root)
        failing = Failing(WAYS[at % len(WAYS)], for_good=for_good)
        with open_at(root, boot, Disk(failing)) as store:
            failing.arm(at)
            try:
                act(Scene(store, boot, bundle))
            except StoreNotWritable as error:
                outcomes.append("raised")
                words.append((str(error), os.strerror(failing.number)))
                assert state_of(store) == before
            else:
                outcomes.append("done")  # perhaps not yet written down that it is confirmed
                assert seen(state_of(store)) == seen(after)
            assert all(one.is_settled or one.state is State.LIVE for one in store.receipts())
            failed = failing.failed
            failing.disarm()
            if not for_good and at % 3 == 0:  # the same process goes on, and owes nothing in the end
                last = put(store, pki.leaf(names=("next.test",)).bundle())
                assert last.state is State.CONFIRMED
                store.prune()
                assert not (root / "reset.json").exists()
        with open_at(root, boot) as store:
            if for_good or at % 3:
                allowed = (after,) if outcomes[-1] == "done" else (before, after)
                assert state_of(store) in allowed
            assert_consistent(store)
            told = {one.code for one in store.recovered}
            assert told <= {"slot_put_back", "probation_over", "reset_completed"}
        shutil.rmtree(root)
        if not failed:
            break
    assert outcomes[-1] == "done"
    assert len(outcomes) > 2
    assert all(why in line for line, why in words)


@pytest.mark.parametrize("number", WAYS, ids=errno.errorcode.get)
def test_a_store_whose_disk_takes_no_write_at_all_serves_on_and_says_so(tmp_path, pki, number):
    template = tmp_path / "template"
    fill(template, pki, waiting=True)
    failing, boot = Failing(number, for_good=True), Boot()
    with open_at(template, boot, Disk(failing)) as store:
        before = state_of(store)
        failing.arm(1)
        bundle = pki.leaf().bundle()
        for act in (import_, confirm, roll_back, remove, activate, restore, reset, refuse):
            bundle = pki.leaf(issuer=None).bundle() if act is reset else pki.leaf().bundle()
            with pytest.raises(StoreNotWritable, match=os.strerror(number)):
                act(Scene(store, boot, bundle))
            assert state_of(store) == before
        end_probation(Scene(store, boot, bundle))  # goes back all the same, in memory
        assert served(store) != before[0]
    failing.disarm()
    with open_at(template, boot) as store:
        assert served(store) != before[0]
        assert_consistent(store)
