"""No way back of a certificate is one of a trust set: who was revoked meanwhile stays out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certstore.backup import take_backup
from certstore.examination import InProcess
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store
from tests.pki import Pki, crl
from tests.storing import Clock, OpenGate, active_of, candidate_of, propose

WITHIN_S = 600.0


class Scene:
    """A store whose certificate is on probation, and in whose trust set somebody is revoked since."""

    def __init__(self, root: Path, clock: Clock, pki: Pki) -> None:
        self.root, self.clock, self.pki = root, clock, pki
        self.boot = BootTime("first", 100.0)
        self.store = self.open()
        propose(self.store, pki.leaf())
        self.trust(pki.root_pem, crl(pki.root, pki.root_key, start=clock.now))
        self.before = active_of(self.store).number
        self.backup = take_backup(root, clock.now)
        self.live = self.store.propose(
            candidate_of(pki.leaf()),
            source=Source.CUSTOMER,
            via="test",
            examiner=InProcess(OpenGate()),
            confirm_within_s=WITHIN_S,
        )
        clock.go(minutes=1)
        self.trust(crl(pki.root, pki.root_key, (7,), start=clock.now))
        self.wanted = active_of(self.store).trust

    def open(self) -> Store:
        return Store.open(self.root, clock=self.clock, boot_clock=lambda: self.boot)

    def trust(self, *parts: bytes) -> None:
        receipt = self.store.trust.put(
            "plant", [(f"{i}.pem", one) for i, one in enumerate(parts)], via="test"
        )
        assert receipt.state is State.CONFIRMED, receipt.codes

    def restart(self) -> None:
        self.store.close()
        self.store = self.open()


@pytest.fixture
def scene(tmp_path: Path, clock: Clock, pki: Pki) -> Iterator[Scene]:
    scene = Scene(tmp_path / "s", clock, pki)
    yield scene
    scene.store.close()


def _unconfirmed(scene: Scene) -> None:
    scene.boot = replace(scene.boot, seconds=scene.boot.seconds + WITHIN_S)
    (ended,) = scene.store.end_probation()
    assert ended.state is State.ROLLED_BACK


def _rebooted(scene: Scene) -> None:
    scene.boot = BootTime("second", 1.0)
    scene.restart()
    assert scene.store.receipt(scene.live.id).state is State.ROLLED_BACK


def _rolled_back(scene: Scene) -> None:
    (slot,) = scene.store.slots()
    assert scene.store.roll_back(slot.key, via="test").state is State.CONFIRMED


def _activated(scene: Scene) -> None:
    assert scene.store.activate(scene.before, via="test").state is State.CONFIRMED


def _restored(scene: Scene) -> None:
    assert scene.store.restore(scene.backup, via="test", identity=True).state is State.CONFIRMED


@pytest.mark.parametrize("go_back", [_unconfirmed, _rebooted, _rolled_back, _activated, _restored])
def test_a_certificate_goes_back_and_the_revocation_stays(scene: Scene, go_back: Callable[[Scene], None]):
    replaced = active_of(scene.store).default
    go_back(scene)
    assert active_of(scene.store).default != replaced
    assert active_of(scene.store).trust == scene.wanted
    scene.restart()
    assert active_of(scene.store).trust == scene.wanted


def test_a_backup_brings_no_trust_set_to_another_unit(scene: Scene, tmp_path: Path, clock: Clock):
    with Store.open(tmp_path / "other", clock=clock) as other:
        other.restore(scene.backup, via="test", identity=True)
        assert active_of(other).trust == ()
        assert [one.code for one in other.trust.standing(["plant"])] == ["trust_missing"]
