"""A disk that fails at any step, once or for good: the old certificate stays, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime

import pytest

from certstore.atomic import Disk
from certstore.errors import StoreNotWritable
from certstore.examination import InProcess
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store
from tests.crash.stopping import BOOT, on_probation
from tests.crash.wholeness import assert_consistent, assert_whole
from tests.storing import active_of, served


class Failing:
    """Fails at the k-th step after it was armed: only there, or from there on."""

    def __init__(self, number: int, *, for_good: bool) -> None:
        self.number = number
        self.for_good = for_good
        self.left = -1
        self.failed = 0

    def arm(self, at: int) -> None:
        self.left, self.failed = at, 0

    def disarm(self) -> None:
        self.left = -1

    def __call__(self, *_: object) -> None:
        if self.left > 0:
            self.left -= 1
        if self.left == 0 and (self.for_good or not self.failed):
            self.failed += 1
            raise OSError(self.number, os.strerror(self.number))


def clock() -> datetime:
    return datetime.now(UTC)


def put(store, issued):
    return store.propose(issued.bundle(), source=Source.CUSTOMER, via="test", examiner=InProcess())


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=errno.errorcode.get)
def test_a_disk_that_fails_at_any_step_leaves_the_old_or_the_new_certificate_serving(
    tmp_path, pki, number, for_good
):
    template = tmp_path / "template"
    with Store.open(template, clock=clock) as store:
        old = put(store, pki.leaf()).bundle
    issued = pki.leaf()
    new = issued.bundle().id
    told, words = [], []
    for at in range(1, 200):
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        failing = Failing(number, for_good=for_good)
        with Store.open(root, clock=clock, disk=Disk(failing)) as store:
            failing.arm(at)
            now = old
            try:
                receipt = put(store, issued)
            except StoreNotWritable as error:
                told.append("raised")
                words.append(str(error))
                assert served(store) == old
            else:
                assert receipt.live_at is not None
                now = new
                assert served(store) == new
                told.append("told" if "not_recorded" in receipt.codes else "done")
                assert (receipt.state is State.CONFIRMED) == (told[-1] == "done")
            assert all(receipt.state is not State.RECEIVED for receipt in store.receipts())
            failing.disarm()
            if not for_good:  # the same process goes on with the next one
                next_one = put(store, pki.leaf())
                assert next_one.state is State.CONFIRMED
                now = next_one.bundle
                assert served(store) == now
        assert assert_whole(root, pki, {now}).bundle == now
        if not failing.failed:
            break
        shutil.rmtree(root)
    # all that fails before the point of no return is raised; what fails behind it is only told
    assert told[-1] == "done"
    assert told.count("raised") > 12
    assert all(os.strerror(number) in line for line in words)
    assert "told" in told
    turn = len(told) - told[::-1].index("raised")
    assert set(told[:turn]) == {"raised"} or not for_good


def test_a_disk_that_fails_at_any_step_of_a_start_doesnt_keep_it_from_serving(tmp_path, pki):
    template = tmp_path / "template"
    with Store.open(template, clock=clock) as store:
        put(store, pki.leaf())
        old = put(store, pki.leaf()).bundle
        (slot,) = store.slots()
        store._ledger.open(Source.CUSTOMER, "left open", clock())
        store._shelf.put(pki.leaf().bundle())
        (template / ".new-active").write_bytes(b"half")
    for at in range(1, 100):
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        failing = Failing(errno.EIO, for_good=True)
        failing.arm(at)
        with Store.open(root, clock=clock, disk=Disk(failing)) as store:
            assert served(store) == old
            assert store.slots() == (slot,)
        if not failing.failed:
            break
        assert_whole(root, pki, {old})
    assert at > 6


def test_a_full_disk_at_the_first_start_is_an_error_and_later_a_store(tmp_path, pki):
    failing = Failing(errno.ENOSPC, for_good=True)
    for at in range(1, 100):
        root = tmp_path / str(at)
        failing.arm(at)
        try:
            with Store.open(root, clock=clock, disk=Disk(failing)) as store:
                put(store, pki.leaf())
        except StoreNotWritable:
            assert failing.failed
        failed = failing.failed
        failing.disarm()
        with Store.open(root, clock=clock, disk=Disk(failing)) as store:
            assert put(store, pki.leaf()).state is State.CONFIRMED
            assert_consistent(store)
        if not failed:
            break


class Boot:
    """A boot's time that the test sets."""

    seconds = BOOT.seconds

    def __call__(self) -> BootTime:
        return BootTime(BOOT.boot, self.seconds)


def go_back(store):
    return store.roll_back(store.slots()[0].key, via="test")


def go_back_to_the_first(store):
    return store.activate(2, via="test")


def go_without(store):
    return store.remove(store.slots()[0].key, via="test")


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("act", [go_back, go_back_to_the_first, go_without])
def test_a_disk_that_fails_at_any_step_of_going_back_leaves_what_was_or_what_is_to_be(
    tmp_path, pki, act, for_good
):
    template = tmp_path / "template"
    with Store.open(template, clock=clock) as store:
        own = store.propose(
            pki.leaf(issuer=None).bundle(), source=Source.GENERATED, via="test", examiner=InProcess()
        ).bundle
        old, new = (put(store, pki.leaf()).bundle for _ in range(2))
    wanted = own if act is go_without else old
    told = []
    for at in range(1, 100):
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        failing = Failing(errno.ENOSPC, for_good=for_good)
        with Store.open(root, clock=clock, disk=Disk(failing)) as store:
            failing.arm(at)
            try:
                receipt = act(store)
            except StoreNotWritable:
                told.append("raised")
                now = new
            else:
                told.append("told" if "not_recorded" in receipt.codes else "done")
                now = wanted
            assert served(store) == now
            failing.disarm()
            if not for_good:  # what was only told of is written down before the next change
                put(store, pki.leaf(names=("next.test",)))
                assert all(one.is_settled for one in store.receipts())
        if not failing.failed:
            break
        with Store.open(root, clock=clock) as store:
            assert now in {row.bundle for row in active_of(store).rows}
            assert_consistent(store)
        shutil.rmtree(root)
    assert told[-1] == "done"
    assert told.count("raised") > 6
    assert "told" in told


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_a_disk_that_fails_at_any_step_of_a_confirmation_leaves_it_confirmed_or_in_probation(
    tmp_path, pki, for_good
):
    template = tmp_path / "template"
    with on_probation(template, Disk()) as store:
        old = put(store, pki.leaf()).bundle
        new = store.propose(
            pki.leaf().bundle(),
            source=Source.CUSTOMER,
            via="test",
            examiner=InProcess(),
            confirm_within_s=600,
        )
    told = []
    for at in range(1, 50):
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        failing = Failing(errno.EIO, for_good=for_good)
        with on_probation(root, Disk(failing)) as store:
            failing.arm(at)
            try:
                told.append(str(store.confirm(new.id, via="test").state))
            except StoreNotWritable:
                told.append("raised")
            assert served(store) == new.bundle
            assert len(store.probations()) == (told[-1] == "raised")
        if not failing.failed:
            break
        with on_probation(root, Disk(), BootTime("after a reboot", 1.0)) as store:
            # a rename whose folder could not be synced may hold all the same; what was answered always holds
            assert served(store) in ({old, new.bundle} if told[-1] == "raised" else {new.bundle})
            assert_consistent(store)
        shutil.rmtree(root)
    assert "raised" in told
    assert set(told[told.index("confirmed") :]) == {"confirmed"}


def test_a_disk_that_fails_at_any_step_of_going_back_by_itself_keeps_nothing_from_it(tmp_path, pki):
    template = tmp_path / "template"
    with on_probation(template, Disk()) as store:
        old = put(store, pki.leaf()).bundle
        store.propose(
            pki.leaf().bundle(),
            source=Source.CUSTOMER,
            via="test",
            examiner=InProcess(),
            confirm_within_s=600,
        )
    for for_good, then_changed in ((False, False), (False, True), (True, False)):
        for at in range(1, 50):
            root = tmp_path / f"{at} {for_good} {then_changed}"
            shutil.copytree(template, root)
            failing, boot = Failing(errno.ENOSPC, for_good=for_good), Boot()
            with Store.open(root, clock=clock, boot_clock=boot, disk=Disk(failing)) as store:
                boot.seconds += 600
                failing.arm(at)
                (receipt,) = store.end_probation()
                assert receipt.state is State.ROLLED_BACK
                assert served(store) == old
                failing.disarm()
                if then_changed:
                    put(store, pki.leaf(names=("next.test",)))
                    store.prune()
                    assert not (root / "probation.json").exists()
            if not failing.failed:
                break
            if then_changed:
                with Store.open(root, clock=clock, boot_clock=boot) as store:
                    assert store.recovered == ()
                    assert store.receipt(receipt.id) == receipt
                    assert old in {row.bundle for row in active_of(store).rows}
                    assert_consistent(store)
            else:
                assert assert_whole(root, pki, {old}).bundle == old
            shutil.rmtree(root)
        assert at > 6
