"""SIGKILL, or a power cut, before every disk step of a ban: it counts with its change, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from certstore.atomic import Disk
from certstore.examination import InProcess
from certstore.slots import Source
from certstore.store import Store
from tests.crash import stopping
from tests.crash.powercut import PowerCut
from tests.crash.stopping import LOST
from tests.crash.test_killed import assert_one_turn, kill, put, template
from tests.crash.wholeness import assert_whole
from tests.pki import Pki

__all__ = ["kill", "template"]  # fixtures


def bans_of(root: Path) -> list[str]:
    """Open a store after the crash, and give what is banned; its folder must hold just that."""
    with Store.open(root, clock=stopping.now) as store:
        spkis = [ban.spki for ban in store.bans()]
        assert sorted(path.stem for path in (root / "banned").iterdir()) == spkis
        assert store.active is not None
        served = {store.meta(id_).spki for id_ in store.active.bundles()}
        assert not served & set(spkis), "a banned key is served"
    return spkis


def assert_banned_with_the_change(
    roots: list[Path], pki: Pki, old: str, new: str, lost: str, steps: list[str]
) -> None:
    banned = [bans_of(root) for root in roots]
    turn = assert_one_turn([assert_whole(root, pki, {old, new}) for root in roots], old, new)
    assert banned == [[]] * turn + [[lost]] * (len(roots) - turn)
    assert steps[turn - 1] == "rename active"
    assert f"rename {lost}.json" in steps[:turn], "it is on the disk before the change counts"


def test_killed_while_a_lost_key_is_replaced_it_is_banned_once_its_successor_is_served(kill, template, pki):
    lost, issued = pki.leaf(), pki.leaf()
    old = put(template, lost)
    steps, roots = kill(stopping.propose_for_a_lost_key, template, issued)
    new = issued.bundle().id
    assert_banned_with_the_change(roots, pki, old, new, lost.bundle().spki, steps)


def test_killed_while_a_lost_key_is_removed_it_is_banned_once_it_is_gone(kill, template, pki):
    lost = pki.leaf()
    own = put(template, pki.leaf(issuer=None), Source.GENERATED)
    old = put(template, lost)
    steps, roots = kill(stopping.remove_for_a_lost_key, template)
    assert_banned_with_the_change(roots, pki, old, own, lost.bundle().spki, steps)


def test_killed_while_the_own_key_is_banned_the_device_has_its_old_identity_or_a_new_one(kill, template, pki):
    lost, issued = pki.leaf(issuer=None), pki.leaf(issuer=None)
    old = put(template, lost, Source.GENERATED)
    steps, roots = kill(stopping.ban_the_own_key, template, issued)
    new = issued.bundle().id
    assert_banned_with_the_change(roots, pki, old, new, lost.bundle().spki, steps)


def test_killed_while_a_start_removes_a_void_ban_the_next_start_does(kill, template, tmp_path, pki):
    lost, issued = pki.leaf(), pki.leaf()
    old = put(template, lost)
    steps, roots = kill(stopping.propose_for_a_lost_key, template, issued)
    worst = shutil.copytree(roots[steps.index("rename active")], tmp_path / "worst")
    shutil.rmtree(tmp_path / "killed")
    steps, roots = kill(stopping.open_it, worst)
    assert f"unlink {lost.bundle().spki}.json" in steps
    for root in roots:
        assert bans_of(root) == []
        assert_whole(root, pki, {old})


@pytest.mark.parametrize("loses", [True, False], ids=["what was not synced", "nothing"])
def test_a_power_cut_leaves_the_ban_with_its_change_or_neither(tmp_path, pki, loses):
    root, target = tmp_path / "store", tmp_path / "cuts"
    target.mkdir()
    lost, issued = pki.leaf(), pki.leaf()
    old, new = put(root, lost), issued.bundle()
    power = PowerCut(root, target, lambda _: loses)
    with Store.open(root, clock=stopping.now, disk=Disk(power)) as store:
        store.propose(new, source=Source.CUSTOMER, via="x", examiner=InProcess(), reason=LOST)
        power.loss = lambda _: True
        power.cut()
    for cut in power.cuts:
        banned = bans_of(cut)
        served = assert_whole(cut, pki, {old, new.id}).bundle
        assert banned == ([lost.bundle().spki] if served == new.id else [])
    power.close()
