"""SIGKILL before every disk step of what is done with a store beside proposing, and a reboot after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from certstore.atomic import Disk
from certstore.examination import InProcess
from certstore.probation import BootTime
from certstore.slots import Source
from certstore.store import Store
from tests.crash import stopping
from tests.crash.stopping import BOOT, WITHIN_S
from tests.crash.test_killed import assert_one_turn, kill, put, template
from tests.crash.wholeness import Outcome, assert_whole
from tests.pki import Issued

__all__ = ["kill", "template"]  # fixtures


def same_boot() -> BootTime:
    return BOOT


def next_boot() -> BootTime:
    return BootTime("of the next start", 1.0)


def when_it_is_over() -> BootTime:
    return replace(BOOT, seconds=BOOT.seconds + WITHIN_S)


def put_on_probation(root: Path, issued: Issued) -> str:
    with stopping.on_probation(root, Disk()) as store:
        receipt = store.propose(
            issued.bundle(),
            source=Source.CUSTOMER,
            via="before",
            examiner=InProcess(),
            confirm_within_s=WITHIN_S,
        )
    assert receipt.bundle is not None
    return receipt.bundle


def outcomes(roots, pki, allowed, boot_clock=same_boot) -> list[Outcome]:
    return [assert_whole(root, pki, allowed, boot_clock) for root in roots]


def test_killed_while_a_slot_goes_back_the_next_start_serves_the_one_or_the_other(kill, template, pki):
    old, new = (put(template, pki.leaf()) for _ in range(2))
    steps, roots = kill(stopping.roll_back, template)
    assert len(steps) > 8
    turn = assert_one_turn(outcomes(roots, pki, {old, new}), new, old)
    assert steps[turn - 1] == "rename active"


def test_killed_while_all_slots_go_back_they_go_together_or_not_at_all(kill, template, pki):
    a = put(template, pki.leaf(names=("a.test",)))
    b = put(template, pki.leaf())
    a2 = put(template, pki.leaf(names=("a.test",)))
    b2 = put(template, pki.leaf())
    put(template, pki.leaf(names=("c.test",)), Source.ACME)
    steps, roots = kill(stopping.activate, template)
    assert len(steps) > 16  # two slots change, and one goes
    tables = []
    for root in roots:
        with Store.open(root, clock=stopping.now) as store:
            assert store.active is not None
            tables.append(({row.bundle for row in store.active.rows}, len(store.slots())))
    turn = tables.index(({a, b}, 2))
    assert all(a2 in served and b2 in served and count == 3 for served, count in tables[:turn])
    assert tables[turn:] == [({a, b}, 2)] * (len(tables) - turn)
    assert steps[turn - 1] == "rename active"
    outcomes(roots, pki, {b, b2})


def test_killed_while_a_slot_is_removed_it_is_there_or_gone(kill, template, pki):
    own = put(template, pki.leaf(issuer=None), Source.GENERATED)
    mine = put(template, pki.leaf())
    steps, roots = kill(stopping.remove, template)
    turn = assert_one_turn(outcomes(roots, pki, {own, mine}), mine, own)
    assert steps[turn - 1] == "rename active"


def test_killed_while_a_backup_comes_back_all_of_it_is_there_or_nothing(kill, template, pki):
    put(template, pki.leaf(names=("a.test",)))
    old, issued = put(template, pki.leaf()), pki.leaf()
    steps, roots = kill(stopping.restore, template, issued)
    new = issued.bundle().id
    counts = []
    for root in roots:
        with Store.open(root, clock=stopping.now) as store:
            counts.append(len(store.slots()))
    turn = assert_one_turn(outcomes(roots, pki, {old, new}), old, new)
    assert counts == [2] * turn + [1] * (len(counts) - turn)
    assert steps[turn - 1] == "rename active"


@pytest.mark.parametrize("first", [True, False], ids=["the first import", "a second import"])
def test_killed_while_a_probation_begins_it_is_watched_over_from_the_first_moment_that_it_is_served(
    kill, template, pki, first
):
    old, issued = put(template, pki.leaf()), pki.leaf()
    before = old if first else put_on_probation(template, pki.leaf())
    steps, roots = kill(stopping.propose_on_probation, template, issued)
    assert "rename probation.json" in steps
    new = issued.bundle().id
    for root in roots:
        with Store.open(root, clock=stopping.now, boot_clock=same_boot) as store:
            watched = [one.way_back and one.way_back.bundle for one in store.probations()]
            bundle = store.active.default if store.active else None
            assert watched == ([] if bundle == old else [old])
    turn = assert_one_turn(outcomes(roots, pki, {before, new}), before, new)
    assert steps[turn - 1] == "rename active"


@pytest.mark.parametrize("first", [True, False], ids=["the first import", "a second import"])
def test_after_a_reboot_whatever_step_it_was_killed_at_the_confirmed_one_is_served(
    kill, template, pki, first
):
    old, issued = put(template, pki.leaf()), pki.leaf()
    if not first:
        put_on_probation(template, pki.leaf())
    _, roots = kill(stopping.propose_on_probation, template, issued)
    outcomes(roots, pki, {old}, next_boot)


def test_killed_while_it_is_confirmed_it_stays_in_probation_or_is_confirmed(kill, template, pki):
    put(template, pki.leaf())
    new = put_on_probation(template, pki.leaf())
    steps, roots = kill(stopping.confirm, template)
    assert len(steps) > 6
    outcomes(roots, pki, {new})


def test_a_confirmation_that_was_answered_holds_over_a_reboot(kill, template, pki):
    old = put(template, pki.leaf())
    new = put_on_probation(template, pki.leaf())
    steps, roots = kill(stopping.confirm, template)
    turn = assert_one_turn(
        [replace(one, recovered=()) for one in outcomes(roots, pki, {old, new}, next_boot)], old, new
    )
    (slot_step,) = {step for step in steps[:turn] if step.startswith("rename")}
    assert steps[turn - 1] == slot_step  # the slot's own file decides


@pytest.mark.parametrize("later", [same_boot, when_it_is_over, next_boot], ids=lambda one: one.__name__)
def test_killed_while_it_goes_back_by_itself_it_goes_back_the_next_time(kill, template, pki, later):
    old = put(template, pki.leaf())
    new = put_on_probation(template, pki.leaf())
    steps, roots = kill(stopping.end_probation, template)
    allowed = {old, new} if later is same_boot else {old}
    found = outcomes(roots, pki, allowed, later)
    if later is same_boot:
        turn = assert_one_turn(found, new, old)
        assert steps[turn - 1] == "rename active"


def test_killed_while_a_start_lets_it_go_back_the_next_start_does(kill, template, pki):
    old = put(template, pki.leaf())
    put_on_probation(template, pki.leaf())
    steps, roots = kill(stopping.open_after_a_reboot, template)
    assert len(steps) > 8
    outcomes(roots, pki, {old}, next_boot)
