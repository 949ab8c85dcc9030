"""SIGKILL, or a power cut, before every disk step of a change of a trust set: the old counts, or the new."""

from __future__ import annotations

from pathlib import Path

import pytest

from certstore.atomic import Disk
from certstore.reading import read_trust
from certstore.receipts import State
from certstore.store import Store
from certstore.trust import TrustSet
from tests.crash import stopping
from tests.crash.powercut import PowerCut
from tests.crash.test_killed import kill, put, template
from tests.crash.wholeness import assert_whole
from tests.pki import Pki, to_pem

__all__ = ["kill", "template"]  # fixtures


def trusting(root: Path, *authorities: bytes) -> None:
    with Store.open(root, clock=stopping.now) as store:
        receipt = store.trust.put("plant", [("ca.pem", b"".join(authorities))], via="test")
        assert receipt.state is State.CONFIRMED, receipt.codes


def trusted(root: Path) -> TrustSet | None:
    """Open a store after the crash, and give the set; every receipt must be settled."""
    with Store.open(root, clock=stopping.now) as store:
        assert all(one.is_settled for one in store.receipts())
        return store.trust.read("plant")


def assert_tidy(root: Path, pki: Pki) -> None:
    """After the next change nothing lies around that no generation names."""
    trusting(root, pki.root_pem, pki.intermediate_pem)
    with Store.open(root, clock=stopping.now) as store:
        assert store.active is not None
        (one,) = store.active.trust
    named = set()
    for path in root.glob("generations/*"):
        named |= {name for name in (p.name for p in root.glob("trust/*")) if name in path.read_text()}
    assert {path.name for path in root.glob("trust/*")} == named
    assert read_trust(root, one.id) == TrustSet.of([pki.root, pki.intermediate])


def test_killed_while_a_set_changes_it_is_the_old_or_the_new_one(kill, template, pki):
    issued = pki.leaf()
    served = put(template, pki.leaf())
    trusting(template, pki.root_pem)
    steps, roots = kill(stopping.trust_an_authority, template, issued)
    old, new = TrustSet.of([pki.root]), TrustSet.of([pki.intermediate])
    turn = steps.index("rename active") + 1
    assert "create anchors.pem" in steps[:turn]
    assert [trusted(root) for root in roots] == [old] * turn + [new] * (len(roots) - turn)
    for root in roots:
        assert_tidy(root, pki)
        assert_whole(root, pki, {served})


@pytest.mark.parametrize("loses", [True, False], ids=["what was not synced", "nothing"])
def test_a_power_cut_leaves_the_old_or_the_new_set(tmp_path, pki, loses):
    root, target = tmp_path / "store", tmp_path / "cuts"
    target.mkdir()
    served = put(root, pki.leaf())
    trusting(root, pki.root_pem)
    power = PowerCut(root, target, lambda _: loses)
    with Store.open(root, clock=stopping.now, disk=Disk(power)) as store:
        store.trust.put("plant", [("ca.pem", to_pem(pki.intermediate))], via="x")
        power.loss = lambda _: True
        power.cut()
    for cut in power.cuts:
        assert trusted(cut) in (TrustSet.of([pki.root]), TrustSet.of([pki.intermediate]))
        assert_whole(cut, pki, {served})
    power.close()
