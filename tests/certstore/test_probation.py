"""A live change that nobody confirms goes back by itself, to what was confirmed last; also after a reboot."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from certstore.atomic import Disk
from certstore.errors import NotFound, Refusal
from certstore.examination import InProcess
from certstore.generation import Cause
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store
from tests.storing import OpenGate, candidate_of, files_under, served

CUSTOMER, ACME, FACTORY, GENERATED = Source


class Boot:
    """The boot's own time; stands still until it is set."""

    def __init__(self) -> None:
        self.now = BootTime("first", 100.0)

    def __call__(self) -> BootTime:
        return self.now

    def go(self, seconds: float) -> None:
        self.now = replace(self.now, seconds=self.now.seconds + seconds)

    def reboot(self) -> None:
        self.now = BootTime("next", 1.0)


@pytest.fixture
def boot():
    return Boot()


@pytest.fixture
def reopen(tmp_path, clock, boot, publisher):
    """Open the store, closing the one that was open before."""
    held: list[Store] = []

    def again(disk=None):
        for store in held:
            store.close()
        held.append(Store.open(tmp_path / "s", clock=clock, boot_clock=boot, publisher=publisher, disk=disk))
        return held[-1]

    yield again
    for store in held:
        store.close()


@pytest.fixture
def store(reopen):
    return reopen()


def propose(store, issued, within_s=None, source=CUSTOMER):
    return store.propose(
        candidate_of(issued),
        source=source,
        via="test",
        examiner=InProcess(OpenGate()),
        confirm_within_s=within_s,
    )


def codes(store):
    return [finding.code for finding in store.recovered]


class TestConfirmed:
    def test_a_change_on_probation_is_live_until_it_is_confirmed(self, store, pki, clock):
        old = propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 600)
        assert (new.state, new.confirm_within_s) == (State.LIVE, 600)
        assert served(store) == new.bundle
        (slot,) = store.slots()
        assert (slot.bundle, slot.last_confirmed) == (new.bundle, old.bundle)
        assert store.probation_ends_in_s() == 600
        (one,) = store.probations()
        assert (one.receipt, one.way_back.bundle) == (new.id, old.bundle)
        clock.go(seconds=30)
        confirmed = store.confirm(new.id, via="console")
        assert confirmed.state is State.CONFIRMED
        assert confirmed.times[State.CONFIRMED] == clock.now
        assert confirmed.codes == ("confirmed_via",)
        assert "console" in confirmed.findings[0].words
        assert store.receipt(new.id) == confirmed
        assert store.slots()[0].is_confirmed
        assert store.probation_ends_in_s() is None
        assert not (store.path / "probation.json").exists()

    def test_a_confirmed_change_stays_when_its_time_is_over_and_after_a_reboot(
        self, store, pki, boot, reopen
    ):
        propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 600)
        store.confirm(new.id, via="x")
        boot.go(601)
        assert store.end_probation() == ()
        boot.reboot()
        again = reopen()
        assert again.recovered == ()
        assert served(again) == new.bundle

    def test_confirming_twice_gives_the_same_answer(self, store, pki):
        new = propose(store, pki.leaf(), 600)
        assert store.confirm(new.id, via="x") == store.confirm(new.id, via="y")

    def test_what_never_was_in_probation_is_confirmed_already(self, store, pki):
        new = propose(store, pki.leaf())
        assert store.confirm(new.id, via="x") == new

    def test_what_isnt_there_or_has_gone_back_cant_be_confirmed(self, store, pki, boot):
        propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 5)
        boot.go(5)
        store.end_probation()
        with pytest.raises(Refusal) as caught:
            store.confirm(new.id, via="x")
        assert [finding.code for finding in caught.value.findings] == ["not_in_probation"]
        assert "rolled_back" in str(caught.value)
        with pytest.raises(NotFound):
            store.confirm("000099-00000000", via="x")

    def test_without_a_boot_clock_there_is_no_probation(self, tmp_path, pki, clock):
        with Store.open(tmp_path / "other", clock=clock) as store, pytest.raises(ValueError, match="boot"):
            propose(store, pki.leaf(), 600)

    @pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
    def test_the_time_is_some_seconds(self, store, pki, seconds):
        with pytest.raises(ValueError, match="seconds"):
            propose(store, pki.leaf(), seconds)

    def test_what_was_confirmed_once_needs_no_second_word(self, store, pki):
        first = pki.leaf()
        old = propose(store, first)
        propose(store, pki.leaf(), 600)
        again = propose(store, first, 600)
        assert (again.state, again.confirm_within_s) == (State.CONFIRMED, None)
        assert served(store) == old.bundle
        assert store.probations() == ()


class TestGoingBack:
    def test_what_nobody_confirmed_goes_back_when_its_time_is_over(self, store, pki, boot, publisher):
        old = propose(store, pki.leaf())
        was = store.slots()
        new = propose(store, pki.leaf(), 600)
        boot.go(599.9)
        assert store.end_probation() == ()
        boot.go(0.2)
        (back,) = store.end_probation()
        assert (back.id, back.state, back.codes) == (new.id, State.ROLLED_BACK, ("probation_over",))
        assert "600 seconds" in back.findings[0].words
        assert store.receipt(new.id) == back
        assert served(store) == old.bundle
        assert store.slots() == was
        assert store.active == publisher.committed[-1]
        assert (store.active.number, store.active.cause) == (3, Cause.PROBATION)
        assert not (store.path / "probation.json").exists()
        assert store.end_probation() == ()

    def test_names_that_had_no_certificate_of_this_source_go_back_to_the_next_one(self, store, pki, boot):
        own = propose(store, pki.leaf(issuer=None), source=GENERATED)
        propose(store, pki.leaf(), 600)
        boot.go(600)
        (back,) = store.end_probation()
        assert back.state is State.ROLLED_BACK
        assert served(store) == own.bundle
        assert [slot.source for slot in store.slots()] == [GENERATED]

    def test_it_never_goes_back_into_the_dark(self, store, pki, boot, reopen):
        only = propose(store, pki.leaf(), 600)
        boot.go(600)
        (kept,) = store.end_probation()
        assert (kept.id, kept.state, kept.codes) == (only.id, State.CONFIRMED, ("no_way_back",))
        assert served(reopen()) == only.bundle

    def test_a_wall_clock_that_jumps_ends_nothing(self, store, pki, clock):
        propose(store, pki.leaf())
        propose(store, pki.leaf(), 600)
        clock.go(days=300)
        assert store.end_probation() == ()
        clock.go(days=-600)
        assert store.end_probation() == ()

    def test_other_slots_go_on(self, store, pki, boot):
        old = propose(store, pki.leaf())
        propose(store, pki.leaf(), 600)
        other = propose(store, pki.leaf(names=("other.test",)))
        boot.go(600)
        store.end_probation()
        assert {row.pattern: row.bundle for row in store.active.rows} == {
            "device.test": old.bundle,
            "other.test": other.bundle,
        }

    def test_several_end_each_at_its_time(self, store, pki, boot):
        a = propose(store, pki.leaf())
        b = propose(store, pki.leaf(names=("b.test",)))
        a2 = propose(store, pki.leaf(), 600)
        b2 = propose(store, pki.leaf(names=("b.test",)), 300)
        assert [one.receipt for one in store.probations()] == [b2.id, a2.id]
        assert store.probation_ends_in_s() == 300
        boot.go(300)
        assert [one.id for one in store.end_probation()] == [b2.id]
        assert store.probation_ends_in_s() == 300
        assert {row.bundle for row in store.active.rows} == {a2.bundle, b.bundle}
        boot.go(300)
        store.end_probation()
        assert {row.bundle for row in store.active.rows} == {a.bundle, b.bundle}

    def test_a_person_need_not_wait(self, store, pki):
        old, new = propose(store, pki.leaf()), propose(store, pki.leaf(), 600)
        (slot,) = store.slots()
        receipt = store.roll_back(slot.key, via="cli")
        assert (receipt.state, receipt.bundle) == (State.CONFIRMED, old.bundle)
        assert store.receipt(new.id).state is State.ROLLED_BACK
        assert served(store) == old.bundle
        assert store.probations() == ()

    def test_a_person_need_not_wait_for_a_first_one_either(self, store, pki):
        own = propose(store, pki.leaf(issuer=None), source=GENERATED)
        new = propose(store, pki.leaf(), 600)
        receipt = store.roll_back(store.slots()[0].key, via="cli")
        assert (receipt.state, receipt.bundle) == (State.CONFIRMED, None)
        assert store.receipt(new.id).state is State.ROLLED_BACK
        assert served(store) == own.bundle

    def test_workers_that_cant_go_back_leave_it_live_until_the_next_try(self, store, pki, boot, publisher):
        old, new = propose(store, pki.leaf()), propose(store, pki.leaf(), 600)
        boot.go(600)
        publisher.during = lambda _: 1 / 0
        with pytest.raises(Refusal):
            store.end_probation()
        assert served(store) == new.bundle
        assert store.probation_ends_in_s() == 0.0
        publisher.during = lambda _: None
        store.end_probation()
        assert served(store) == old.bundle

    def test_a_full_disk_keeps_nothing_from_going_back_now_and_after_the_next_start(
        self, store, pki, boot, reopen, publisher
    ):
        full = False

        def fail(step, path):
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")

        old = propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 600)
        store = reopen(Disk(fail))
        boot.go(600)
        full = True
        (back,) = store.end_probation()
        assert back.state is State.ROLLED_BACK
        assert served(store) == publisher.committed[-1].default == old.bundle
        again = reopen(Disk(fail))
        assert served(again) == old.bundle
        full = False
        last = reopen()
        assert served(last) == old.bundle
        assert last.receipt(new.id).state is State.ROLLED_BACK
        assert not (last.path / "probation.json").exists()
        assert reopen().recovered == ()

    def test_a_start_on_a_full_disk_writes_down_what_went_back_once_there_is_room(
        self, store, pki, boot, reopen
    ):
        full = True

        def fail(step, path):
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")

        old = propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 600)
        boot.reboot()
        again = reopen(Disk(fail))
        assert served(again) == old.bundle
        full = False
        again.prune()
        last = reopen()
        assert last.recovered == ()
        assert served(last) == old.bundle
        assert last.receipt(new.id).state is State.ROLLED_BACK


class TestASecondImport:
    def test_it_starts_the_time_anew_and_the_way_back_stays_the_last_confirmed(self, store, pki, boot):
        old = propose(store, pki.leaf())
        first = propose(store, pki.leaf(), 600)
        boot.go(500)
        second = propose(store, pki.leaf(), 600)
        assert store.receipt(first.id).state is State.SUPERSEDED
        assert store.probation_ends_in_s() == 600
        boot.go(500)
        assert store.end_probation() == ()
        boot.go(100)
        assert [one.id for one in store.end_probation()] == [second.id]
        assert served(store) == old.bundle

    def test_the_same_certificate_again_starts_the_time_anew_too(self, store, pki, boot):
        propose(store, pki.leaf())
        issued = pki.leaf()
        first = propose(store, issued, 600)
        boot.go(500)
        again = propose(store, issued, 600)
        assert (again.state, again.bundle) == (State.LIVE, first.bundle)
        assert store.receipt(first.id).state is State.SUPERSEDED
        assert store.probation_ends_in_s() == 600

    def test_one_that_asks_for_no_probation_is_confirmed_at_once(self, store, pki):
        propose(store, pki.leaf())
        first = propose(store, pki.leaf(), 600)
        second = propose(store, pki.leaf())
        assert second.state is State.CONFIRMED
        assert store.receipt(first.id).state is State.SUPERSEDED
        assert store.probations() == ()

    def test_a_refused_one_changes_nothing_of_it(self, store, pki, publisher):
        propose(store, pki.leaf())
        first = propose(store, pki.leaf(), 600)
        before = (store.path / "probation.json").read_bytes()
        publisher.during = lambda _: 1 / 0
        assert propose(store, pki.leaf(), 60).state is State.REFUSED
        assert (store.path / "probation.json").read_bytes() == before
        assert [one.receipt for one in store.probations()] == [first.id]

    def test_one_that_was_rolled_back_by_hand_is_not_what_the_next_goes_back_to(self, store, pki, boot):
        old = propose(store, pki.leaf())
        propose(store, pki.leaf(), 600)
        store.roll_back(store.slots()[0].key, via="x")
        propose(store, pki.leaf(), 600)
        boot.go(600)
        store.end_probation()
        assert served(store) == old.bundle

    def test_an_older_generation_that_is_activated_ends_it(self, store, pki):
        old = propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 600)
        store.activate(1, via="x")
        assert served(store) == old.bundle
        assert store.receipt(new.id).state is State.ROLLED_BACK
        assert store.probations() == ()

    def test_a_generation_that_has_it_leaves_it_in_probation(self, store, pki, boot):
        old = propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 600)
        propose(store, pki.leaf(names=("b.test",)))
        store.activate(2, via="x")
        assert [one.receipt for one in store.probations()] == [new.id]
        boot.go(600)
        store.end_probation()
        assert served(store) == old.bundle

    def test_a_removal_ends_it(self, store, pki):
        own = propose(store, pki.leaf(issuer=None), source=GENERATED)
        propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 600)
        store.remove(store.slots()[0].key, via="x")
        assert served(store) == own.bundle
        assert store.receipt(new.id).state is State.SUPERSEDED


class TestOverAStart:
    def test_of_the_same_boot_the_time_goes_on(self, store, pki, boot, reopen):
        old = propose(store, pki.leaf())
        new = propose(store, pki.leaf(), 600)
        boot.go(100)
        before = files_under(store.path)
        again = reopen()
        assert again.recovered == ()
        assert files_under(again.path) == before
        assert served(again) == new.bundle
        assert again.receipt(new.id).state is State.LIVE
        assert again.probation_ends_in_s() == 500
        boot.go(500)
        again.end_probation()
        assert served(again) == old.bundle

    def test_after_a_reboot_the_last_confirmed_one_is_the_first_that_is_served(
        self, store, pki, boot, reopen
    ):
        old = propose(store, pki.leaf())
        was = store.slots()
        new = propose(store, pki.leaf(), 600)
        boot.reboot()
        again = reopen()
        assert served(again) == old.bundle
        assert again.slots() == was
        assert codes(again) == ["probation_rebooted"]
        assert (again.active.number, again.active.cause) == (3, Cause.PROBATION)
        back = again.receipt(new.id)
        assert (back.state, back.codes) == (State.ROLLED_BACK, ("probation_rebooted",))
        assert again.settled == (back,)
        assert again.probation_ends_in_s() is None
        last = reopen()
        assert last.recovered == ()
        assert last.active == again.active

    def test_one_whose_time_ran_out_meanwhile_goes_back(self, store, pki, boot, reopen):
        old, new = propose(store, pki.leaf()), propose(store, pki.leaf(), 600)
        boot.go(601)
        again = reopen()
        assert served(again) == old.bundle
        assert again.receipt(new.id).codes == ("probation_over",)

    def test_with_a_clock_that_cant_be_right_it_goes_back_all_the_same(self, store, pki, boot, clock, reopen):
        old = propose(store, pki.leaf())
        propose(store, pki.leaf(), 600)
        boot.reboot()
        clock.now -= timedelta(days=20_000)
        assert served(reopen()) == old.bundle

    def test_a_first_one_gives_way_to_what_was_served_before_it(self, store, pki, boot, reopen):
        own = propose(store, pki.leaf(issuer=None), source=GENERATED)
        propose(store, pki.leaf(), 600)
        boot.reboot()
        again = reopen()
        assert served(again) == own.bundle
        assert [slot.source for slot in again.slots()] == [GENERATED]
        assert reopen().recovered == ()

    def test_the_only_one_stays(self, store, pki, boot, reopen):
        only = propose(store, pki.leaf(), 600)
        boot.reboot()
        again = reopen()
        assert served(again) == only.bundle
        assert codes(again) == ["no_way_back"]
        assert again.receipt(only.id).state is State.CONFIRMED
        assert reopen().recovered == ()

    def test_a_slot_below_that_isnt_served_goes_back_too(self, store, pki, boot, reopen):
        customer = propose(store, pki.leaf())
        old = propose(store, pki.leaf(), source=ACME)
        propose(store, pki.leaf(), 600, source=ACME)
        boot.reboot()
        again = reopen()
        assert served(again) == customer.bundle
        assert [slot.bundle for slot in again.slots()] == [customer.bundle, old.bundle]
        assert [slot.bundle for slot in reopen().slots()] == [customer.bundle, old.bundle]

    @pytest.mark.parametrize("content", [None, b"", b"{}", b'{"changes": [{}]}'])
    def test_where_its_record_is_lost_it_goes_back(self, store, pki, reopen, content):
        old, new = propose(store, pki.leaf()), propose(store, pki.leaf(), 600)
        path = store.path / "probation.json"
        path.unlink() if content is None else path.write_bytes(content)
        again = reopen()
        assert served(again) == old.bundle
        assert again.receipt(new.id).state is State.ROLLED_BACK
        assert ("probation_damaged" in codes(again)) == (content is not None)
        assert reopen().recovered == ()

    def test_the_record_names_what_people_would_look_for(self, store, pki):
        old, new = propose(store, pki.leaf()), propose(store, pki.leaf(), 600)
        (change,) = json.loads((store.path / "probation.json").read_bytes())["changes"]
        assert (change["receipt"], change["boot"], change["ends_at_ms"]) == (new.id, "first", 700_000)
        assert change["way_back"]["bundle"] == old.bundle
