"""The power fails before any disk step of anything that is ever done with a store: all of `stopping.ACTS`.

Each act runs once over a store that has something of everything, and each of its steps leaves two stores: one
that lost all that was not synced, and one where every name came to the disk, but only what was synced is in
the files. Whatever was cut off, a start finds it whole, and serves what was before or what came of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from certstore.atomic import Disk
from certstore.bundle import Bundle
from certstore.erasure import Reset, Scope
from certstore.factoryrequest import read_waiting
from certstore.factorystate import Stage
from certstore.issuers import deviceca
from certstore.issuers.selfsigned import Identity
from certstore.reading import read_bundle
from certstore.requesting import Wish
from certstore.requests import read_key
from certstore.slots import Source
from certstore.store import Store
from tests.crash.powercut import PowerCut
from tests.crash.stopping import ACTS, DEVICE, now
from tests.crash.test_killed import put
from tests.crash.test_killed_going_back import put_on_probation
from tests.crash.wholeness import assert_whole
from tests.manufacturing import signed
from tests.pki import Pki
from tests.requesting import answered, hand_in

IN_PROBATION = {"confirm", "end_probation", "open_after_a_reboot"}
STRANGER = Identity(("other.example",), "PX-other", "other")


class Device:
    """A store with something of everything, and the power that fails before each step of an act."""

    def __init__(self, folder: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.cuts, self.pki = folder / "store", folder / "cuts", pki
        self.cuts.mkdir()
        self.opened = list[Store]()
        self._hold_opened(monkeypatch)

    def _hold_opened(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Close what acts leave open: they are written to be killed."""
        original = Store.open

        def opening(*args, **kwargs) -> Store:
            self.opened.append(original(*args, **kwargs))
            return self.opened[-1]

        monkeypatch.setattr(Store, "open", opening)

    def furnish(self, act: str) -> None:
        """Let there be what the act is about, and everything that it must leave alone."""
        put(self.root, self.pki.leaf(names=("own.test",), issuer=None), Source.GENERATED)
        for _ in range(3):
            put(self.root, self.pki.leaf())
        put(self.root, self.pki.leaf(names=("b.test",)), Source.ACME)
        with Store.open(self.root, clock=now) as store:
            wanted = Identity(("device.test",), "", "device.test")
            store.device_ca.keep(deviceca.make(wanted.names, wanted, now()))
            store.device_ca.export()
            asked = store.requests.make(Wish(("c.test",)), via="before")
            if act == "prepare_request":
                hand_in(store, answered(self.pki, asked, days=0.05))
            if act != "request_factory":
                store.factory.request(DEVICE)
            if act == "replace_request":
                spki = store.factory.state().spki
                assert spki is not None
                store.ban(spki, via="before")
            if act == "enable_watches":
                store.reset(Reset(frozenset({Scope.CUSTOMER}), None, ()), via="before")
        if act == "open_it":
            (self.root / "slots" / "customer" / ".new-1.json").write_bytes(b"half")
        if act == "prove":
            for meta in self.root.glob("bundles/*/meta.json"):
                meta.write_bytes(b"{}")
        if act in IN_PROBATION:
            put_on_probation(self.root, self.pki.leaf())

    def run(self, act: str, *, loses: bool) -> list[Path]:
        """Run it to its end; gives what a power cut before each step left, and one behind the last."""
        argument = self._argument(act)
        power = PowerCut(self.root, self.cuts, lambda _: loses)
        ACTS[act](self.root, Disk(power), lambda: None, argument)
        power.loss = lambda _: True
        power.cut()
        power.close()
        for store in self.opened:
            store.close()
        return power.cuts

    def _argument(self, act: str) -> Bundle:
        if act == "install_factory":
            with Store.open(self.root, clock=now) as store:
                asked = store.factory.state().request
            waiting = read_waiting(self.root)
            assert waiting is not None
            return Bundle.make(waiting.key, signed(self.pki, asked), (self.pki.intermediate,))
        own = act in {"ban_the_own_key", "reset"}
        kind = "rsa" if act in {"propose_beside", "propose_both"} else "ec"
        return self.pki.leaf(issuer=None if own else "intermediate", key=kind).bundle()


@pytest.fixture
def device(tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(tmp_path, pki, monkeypatch)


def assert_secrets_whole(root: Path) -> None:
    """Every key that lies in `authority/` is whole, and belongs to what it lies beside."""
    with Store.open(root, clock=now) as store:
        ids = {path.name for path in root.glob("authority/csr/*")}
        assert ids == {one.id for one in store.requests.all()}
        for one in store.requests.all():
            read_key(root, one)
        banned = {ban.spki for ban in store.bans()}
        state = store.factory.state()
        assert state.stage is not Stage.WAITING or state.spki is not None
        current = store.device_ca.current()
        assert current is None or current.spki not in banned


def everything(roots: list[Path]) -> set[str | None]:
    return {None, *(path.name for root in roots for path in root.glob("bundles/[!.]*"))}


@pytest.mark.slow
@pytest.mark.parametrize("loses", [True, False], ids=["names are lost", "names are kept"])
@pytest.mark.parametrize("act", sorted(ACTS))
def test_a_power_cut_before_any_step_of_any_act_leaves_what_was_or_what_comes_of_it(device, act, loses):
    device.furnish(act)
    cuts = device.run(act, loses=loses)
    assert len(cuts) > 1, "this act writes nothing"
    allowed, served = everything(cuts), list[str | None]()
    for cut in cuts:
        assert_secrets_whole(cut)
        served.append(assert_whole(cut, device.pki, allowed).bundle)
    turn = served.index(served[-1])
    assert served == [served[0]] * turn + [served[-1]] * (len(served) - turn)
    for store in device.opened:
        store.close()


@pytest.mark.parametrize("loses", [True, False], ids=["names are lost", "names are kept"])
def test_a_power_cut_while_a_backup_comes_back_leaves_all_of_it_or_nothing(device, loses):
    """Slots, bans and requests that wait: one change."""
    device.furnish("restore_with_requests")
    came = list[tuple[bool, bool, bool]]()
    for cut in device.run("restore_with_requests", loses=loses):
        with Store.open(cut, clock=now) as store:
            slots = any(slot.via == "crash" for slot in store.slots())
            asked = any(one.id == "0123abcd" for one in store.requests.all())
            came.append((slots, asked, len(store.bans()) > 0))
            assert len(store.requests.all()) == 1 + asked, "what waited here waits"
    turn = came.index((True, True, True))
    assert came == [(False, False, False)] * turn + [(True, True, True)] * (len(came) - turn)


@pytest.mark.parametrize("loses", [True, False], ids=["names are lost", "names are kept"])
def test_a_power_cut_while_a_banned_key_that_waits_is_replaced_loses_neither_serial_nor_names(device, loses):
    device.furnish("replace_request")
    with Store.open(device.root, clock=now) as store:
        (ban,) = store.bans()
    keys = list[str | None]()
    for cut in device.run("replace_request", loses=loses):
        with Store.open(cut, clock=now) as store:
            shown = store.factory.state()
            assert shown.serial in {"PX-1", None, ""}
            state = store.factory.request(STRANGER)
            assert (state.serial, state.names) == ("PX-1", DEVICE.names), "who asks was said once"
            assert state.request is not None
            assert state.spki != ban.spki
            keys.append(shown.spki)
            assert store.factory.request(STRANGER) == state
        for one in cut.glob("bundles/[!.]*"):
            read_bundle(cut, one.name)
    assert keys[0] == ban.spki
    assert keys[-1] != ban.spki
    turn = keys.index(keys[-1])
    assert keys == [ban.spki] * turn + [keys[-1]] * (len(keys) - turn)
