"""SIGKILL and power cuts before every disk step on the production line: the same command again ends whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore import Candidate, InProcess, State, Store
from certstore.atomic import Disk
from certstore.factorystate import FactoryState, Stage
from certstore.layout import FACTORY_REQUEST
from certstore.slots import Source
from tests.crash import stopping
from tests.crash.powercut import PowerCut
from tests.crash.stopping import DEVICE
from tests.crash.test_killed import kill, template
from tests.crash.wholeness import assert_consistent
from tests.manufacturing import answer, signed
from tests.pki import to_pem
from tests.storing import half_done, served

__all__ = ["kill", "template"]  # fixtures


@dataclass(frozen=True)
class Answered:
    """What a manufacturer sends back, and the key that waits for it: for the program that is killed."""

    key_pem: bytes
    chain_pem: bytes


def opened(root: Path, disk: Disk | None = None) -> Store:
    return Store.open(root, clock=lambda: datetime.now(UTC), disk=disk)


def asked(root: Path, pki) -> tuple[FactoryState, Answered]:
    with opened(root) as store:
        state = store.factory.request(DEVICE)
    key = (root / FACTORY_REQUEST / "key.pem").read_bytes()
    return state, Answered(key, to_pem(signed(pki, state.request), pki.intermediate))


def assert_asked_once(root: Path, spki: str | None = None) -> FactoryState:
    """Ask again after the crash, and once more: one key, one request."""
    with opened(root) as store:
        assert half_done(root) == []
        before = store.factory.state()
        state = store.factory.request(DEVICE)
        assert state.stage is Stage.WAITING
        assert before in {FactoryState(), state}
        assert spki in {None, state.spki}
        assert store.factory.request(DEVICE) == state
        assert len(list((root / FACTORY_REQUEST).parent.iterdir())) == 1
    return state


def assert_installed(root: Path, pki, answered: Answered, spki: str) -> Stage:
    """Install again after the crash: sealed, served, and the key nowhere but in its bundle."""
    with opened(root) as store:
        assert_consistent(store)
        before = store.factory.state()
        assert before.spki == spki
        assert (served(store) is not None) == (before.stage is Stage.PROVISIONED)
        candidate = Candidate((("device.pem", answered.chain_pem),))
        receipt = store.factory.install(candidate, via="again", examiner=InProcess())
        assert receipt.state is State.CONFIRMED
        assert ("already_live" in receipt.codes) == (before.stage is Stage.PROVISIONED)
        (slot,) = store.slots()
        assert (slot.source, slot.sealed, slot.bundle) == (Source.FACTORY, True, served(store))
        assert not (root / FACTORY_REQUEST).exists()
        assert_consistent(store)
        other = answer(pki, store.factory.request(DEVICE, unsafe_reseal=True).request)
        assert store.factory.install(other, via="x", examiner=InProcess()).codes[-1] == "slot_sealed"
    with opened(root) as store:
        assert store.recovered == ()
    return before.stage


def test_killed_at_any_step_of_the_first_request_the_next_one_is_the_only_one(kill, template):
    steps, roots = kill(stopping.request_factory, template)
    assert "rename request" in steps
    for root in roots:
        assert_asked_once(root)


def test_killed_while_a_request_is_mended_the_key_stays(kill, template, pki):
    state, _ = asked(template, pki)
    steps, roots = kill(stopping.mend_request, template)
    assert "rename request.pem" in steps
    serials = [assert_asked_once(root, state.spki).serial for root in roots]
    turn = steps.index("rename request.pem") + 1
    assert serials == ["PX-1"] * turn + ["PX-2"] * (len(serials) - turn)


def test_killed_at_any_step_of_the_installation_the_same_command_ends_whole(kill, template, pki):
    state, answered = asked(template, pki)
    steps, roots = kill(stopping.install_factory, template, answered)
    assert "rename .new-request" in steps, "the waiting key goes, too"
    stages = [assert_installed(root, pki, answered, state.spki) for root in roots]
    turn = steps.index("rename active") + 1
    assert stages == [Stage.WAITING] * turn + [Stage.PROVISIONED] * (len(stages) - turn)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "cuts"
    path.mkdir()
    return path


def test_a_power_cut_at_any_step_of_the_first_request_leaves_none_or_the_one_that_was_told(template, target):
    power = PowerCut(template, target)
    with opened(template, Disk(power)) as store:
        told = store.factory.request(DEVICE)
        power.cut()
    for cut in power.cuts:
        assert_asked_once(cut)
    with opened(power.cuts[-1]) as store:
        assert store.factory.state() == told, "what was printed must be there"
    power.close()


def test_a_power_cut_at_any_step_of_the_installation_is_made_good_by_the_same_command(template, target, pki):
    state, answered = asked(template, pki)
    power = PowerCut(template, target)
    with opened(template, Disk(power)) as store:
        candidate = Candidate((("device.pem", answered.chain_pem),))
        store.factory.install(candidate, via="line", examiner=InProcess())
        power.cut()
    assert len(power.cuts) > 20
    stages = [assert_installed(cut, pki, answered, state.spki) for cut in power.cuts]
    assert stages[0] is Stage.WAITING
    assert stages[-1] is Stage.PROVISIONED
    power.close()
