"""Keys that are lost: banned with the change that replaces them, and by no way ever served again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certstore.atomic import Disk
from certstore.backup import Backup, take_backup
from certstore.bans import Reason, read_bans
from certstore.errors import StoreNotWritable
from certstore.examination import InProcess
from certstore.generation import Cause
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store
from tests.storing import NotingPublisher, OpenGate, candidate_of, propose, served

CUSTOMER, ACME, FACTORY, GENERATED = Source
LOST, CEASED = Reason.KEY_COMPROMISE, Reason.CESSATION
WITHIN_S = 600.0


def replace_lost(store, issued, source=CUSTOMER, reason=LOST, **more):
    examiner = InProcess(OpenGate())
    return store.propose(
        candidate_of(issued), source=source, via="test", examiner=examiner, reason=reason, **more
    )


def key_of(store, bundle):
    return next(slot.key for slot in store.slots() if slot.bundle == bundle)


def banned(store):
    return [ban.spki for ban in store.bans()]


@pytest.fixture
def own(pki):
    return pki.leaf(names=("device.test",), issuer=None)


@pytest.fixture
def scene(store, pki, own):
    """The device's own certificate, then a customer's whose key will be lost, then its successor."""
    propose(store, own, GENERATED)
    lost, new = pki.leaf(), pki.leaf()
    propose(store, lost)
    return lost, new


@pytest.fixture
def lost(store, scene):
    """The lost one, once it is banned."""
    replace_lost(store, scene[1])
    return scene[0]


class TestOnTheWayIn:
    def test_the_key_that_leaves_is_banned_with_the_change_that_replaces_it(
        self, store, scene, publisher, clock
    ):
        lost, new = scene
        receipt = replace_lost(store, new)
        assert (receipt.state, served(store)) == (State.CONFIRMED, new.bundle().id)
        assert "now_banned" in receipt.codes
        (ban,) = store.bans()
        assert (ban.spki, ban.since) == (lost.bundle().spki, receipt.generation)
        assert (ban.at, ban.via) == (clock.now, "test")
        assert publisher.ended == [(frozenset({lost.bundle().id}), "key-compromise")]

    def test_connections_end_only_once_the_new_one_is_live(self, tmp_path, pki, clock):
        class Ordered(NotingPublisher):
            def end(self, bundles, why):
                assert self.committed[-1] is self.prepared[-1]
                super().end(bundles, why)

        publisher = Ordered()
        with Store.open(tmp_path / "s", clock=clock, publisher=publisher) as store:
            propose(store, pki.leaf())
            replace_lost(store, pki.leaf())
            assert len(publisher.ended) == 1

    def test_a_renewal_ends_nothing_and_bans_nothing(self, store, scene, publisher):
        replace_lost(store, scene[1], reason=Reason.SUPERSEDED)
        assert (publisher.ended, store.bans()) == ([], ())

    def test_a_service_that_ceases_ends_connections_and_bans_nothing(self, store, scene, publisher):
        lost, new = scene
        replace_lost(store, new, reason=CEASED)
        assert publisher.ended == [(frozenset({lost.bundle().id}), "cessation-of-operation")]
        assert store.bans() == ()
        assert store.roll_back(key_of(store, new.bundle().id), via="cli").state is State.CONFIRMED

    def test_one_for_more_names_bans_the_key_of_the_one_that_it_ousts(self, store, scene, pki, own):
        lost, _ = scene
        wider = pki.leaf(names=("device.test", "other.test"))
        replace_lost(store, wider)
        assert banned(store) == [lost.bundle().spki]
        assert not store.is_banned(own.bundle().spki), "other sources are left alone"

    def test_who_keeps_the_key_that_is_said_to_be_lost_is_refused(self, store, scene, pki, publisher):
        lost, _ = scene
        for names in (("device.test",), ("device.test", "more.test")):
            receipt = replace_lost(store, pki.leaf(names=names, key=lost.key))
            assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "key_not_replaced")
        assert replace_lost(store, lost).codes[-1] == "key_not_replaced", "not even the very same"
        assert (served(store), store.bans(), publisher.ended) == (lost.bundle().id, (), [])

    def test_where_nothing_leaves_no_key_can_be_meant(self, store, pki, own):
        propose(store, own, GENERATED)
        receipt = replace_lost(store, pki.leaf())
        assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "no_key_leaves")
        assert served(store) == own.bundle().id

    def test_one_that_is_refused_bans_nothing(self, store, scene, pki):
        lost, _ = scene
        receipt = replace_lost(store, pki.leaf(days=0.01))
        assert receipt.state is State.REFUSED
        assert (served(store), store.bans()) == (lost.bundle().id, ())

    def test_one_that_workers_refuse_bans_nothing_and_leaves_no_file(self, store, scene, publisher):
        lost, new = scene

        def during(_generation):
            raise RuntimeError("no")

        publisher.during = during
        assert replace_lost(store, new).codes[-1] == "prepare_failed"
        assert (served(store), store.bans()) == (lost.bundle().id, ())
        assert list((store.path / "banned").iterdir()) == []


class TestByNoWay:
    def test_it_is_not_imported_again(self, store, lost, pki):
        for again in (lost, pki.leaf(key=lost.key), pki.leaf(names=("else.test",), key=lost.key)):
            for source in Source:
                receipt = propose(store, again, source)
                assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "key_banned")

    @pytest.mark.usefixtures("lost")
    def test_no_rollback_leads_to_it(self, store, scene):
        receipt = store.roll_back(key_of(store, scene[1].bundle().id), via="cli")
        assert (receipt.state, receipt.codes) == (State.REFUSED, ("slot_key_banned",))
        assert served(store) == scene[1].bundle().id

    @pytest.mark.usefixtures("lost")
    def test_no_older_generation_brings_it_back(self, store):
        receipt = store.activate(2, via="cli")
        assert (receipt.state, receipt.codes) == (State.REFUSED, ("slot_key_banned",))

    def test_no_backup_brings_it_back_but_the_others_in_it_come(self, store, lost, pki, tmp_path, clock):
        other = pki.leaf(names=("other.test",))
        with Store.open(tmp_path / "before", clock=clock) as before:
            propose(before, lost)
            propose(before, other)
        receipt = store.restore(take_backup(tmp_path / "before", clock.now), via="cli")
        assert receipt.state is State.CONFIRMED
        assert "banned_left_out" in receipt.codes
        assert lost.bundle().id not in store.active.bundles()
        assert other.bundle().id in store.active.bundles()

    def test_a_backup_that_holds_nothing_else_is_refused(self, store, lost, tmp_path, clock):
        with Store.open(tmp_path / "before", clock=clock) as before:
            propose(before, lost)
        receipt = store.restore(take_backup(tmp_path / "before", clock.now), via="cli")
        assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "slot_key_banned")

    def test_a_ban_travels_in_a_backup_to_the_unit_that_replaces_this_one(
        self, store, lost, pki, tmp_path, clock
    ):
        backup = Backup.from_bytes(take_backup(store.path, clock.now).to_bytes())
        assert backup.banned == (lost.bundle().spki,)
        with Store.open(tmp_path / "spare", clock=clock) as spare:
            propose(spare, pki.leaf(issuer=None), GENERATED)
            propose(spare, lost)
            assert spare.restore(backup, via="cli").state is State.CONFIRMED
            assert banned(spare) == [lost.bundle().spki]
            assert propose(spare, lost).codes[-1] == "key_banned"

    def test_a_backup_of_before_there_were_bans_is_read(self, store, clock, pki):
        propose(store, pki.leaf())
        content = take_backup(store.path, clock.now).to_bytes()
        assert Backup.from_bytes(content.replace(b'"banned"', b'"unknown"')).banned == ()

    def test_it_stays_so_after_a_restart(self, store, lost, clock):
        root = store.path
        store.close()
        with Store.open(root, clock=clock) as again:
            assert again.recovered == ()
            assert banned(again) == [lost.bundle().spki]
            assert propose(again, lost).codes[-1] == "key_banned"

    def test_a_damaged_record_bans_by_its_name(self, store, lost, clock):
        root = store.path
        store.close()
        (root / "banned" / f"{lost.bundle().spki}.json").write_bytes(b"{")
        with Store.open(root, clock=clock) as again:
            (ban,) = again.bans()
            assert (ban.spki, ban.at) == (lost.bundle().spki, None)
            assert propose(again, lost).codes[-1] == "key_banned"


class TestProbation:
    @pytest.fixture
    def boot(self):
        return [BootTime("boot", 0.0)]

    @pytest.fixture
    def store(self, tmp_path, clock, publisher, boot):
        root = tmp_path / "store"
        with Store.open(root, clock=clock, publisher=publisher, boot_clock=lambda: boot[-1]) as store:
            yield store

    def test_the_way_back_over_a_banned_key_leads_to_the_next_rung(self, store, scene, boot, own):
        lost, new = scene
        receipt = replace_lost(store, new, confirm_within_s=WITHIN_S)
        assert receipt.state is State.LIVE
        assert "way_back_banned" in receipt.codes
        boot.append(BootTime("boot", WITHIN_S))
        (ended,) = store.end_probation()
        assert ended.state is State.ROLLED_BACK
        assert served(store) == own.bundle().id
        assert banned(store) == [lost.bundle().spki], "a ban doesn't go back"

    def test_so_it_does_after_a_reboot(self, store, scene, clock, own):
        lost, new = scene
        replace_lost(store, new, confirm_within_s=WITHIN_S)
        root = store.path
        store.close()
        with Store.open(root, clock=clock, boot_clock=lambda: BootTime("next", 0.0)) as again:
            assert served(again) == own.bundle().id
            assert banned(again) == [lost.bundle().spki]

    def test_a_key_lost_while_its_certificate_is_on_probation_leaves_with_it(self, store, scene):
        first, second = scene
        replace_lost(store, second, reason=Reason.SUPERSEDED, confirm_within_s=WITHIN_S)
        key = key_of(store, second.bundle().id)
        receipt = store.roll_back(key, via="cli", reason=LOST)
        assert (receipt.state, served(store)) == (State.CONFIRMED, first.bundle().id)
        assert banned(store) == [second.bundle().spki]


class TestRemoval:
    def test_what_is_removed_for_a_lost_key_is_banned_and_its_connections_end(
        self, store, scene, own, publisher
    ):
        lost, _ = scene
        slot = key_of(store, lost.bundle().id)
        receipt = store.remove(slot, via="cli", reason=LOST)
        assert (receipt.state, served(store)) == (State.CONFIRMED, own.bundle().id)
        assert banned(store) == [lost.bundle().spki]
        assert publisher.ended == [(frozenset({lost.bundle().id}), "key-compromise")]
        assert store.roll_back(slot, via="cli").codes == ("slot_key_banned",)

    def test_another_source_with_that_key_is_out_of_service_at_once(self, store, scene, pki, own):
        lost, _ = scene
        propose(store, pki.leaf(names=("acme.test",), key=lost.key), ACME)
        receipt = store.remove(key_of(store, lost.bundle().id), via="cli", reason=LOST)
        assert "out_of_service" in receipt.codes
        assert store.active.bundles() == {own.bundle().id}

    def test_where_all_that_is_left_has_the_key_it_is_refused(self, store, pki):
        lost = pki.leaf()
        propose(store, lost)
        propose(store, pki.leaf(names=("b.test",), key=lost.key), ACME)
        receipt = store.remove(key_of(store, lost.bundle().id), via="cli", reason=LOST)
        assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "ban_leaves_nothing")
        assert (served(store), store.bans()) == (lost.bundle().id, ())


class TestBan:
    @pytest.mark.usefixtures("scene")
    def test_a_key_that_nobody_serves_is_banned_ahead(self, store, pki):
        ahead = pki.leaf()
        receipt = store.ban(ahead.bundle().spki, via="cli")
        assert (receipt.state, receipt.cause) == (State.CONFIRMED, Cause.BAN)
        assert propose(store, ahead).codes[-1] == "key_banned"
        assert store.ban(ahead.bundle().spki, via="cli").codes == ("already_banned",)

    def test_what_is_served_with_it_gives_way_to_the_next_source(self, store, scene, own, publisher):
        lost, _ = scene
        receipt = store.ban(lost.bundle().spki, via="cli")
        assert (receipt.source, served(store)) == (CUSTOMER, own.bundle().id)
        assert receipt.codes == ("now_banned", "out_of_service")
        assert publisher.ended == [(frozenset({lost.bundle().id}), "key-compromise")]

    def test_where_it_is_the_device_s_own_a_new_one_takes_its_place_in_the_same_step(
        self, store, own, pki, publisher
    ):
        propose(store, own, GENERATED)
        fresh = pki.leaf(issuer=None).bundle()
        receipt = store.ban(own.bundle().spki, via="cli", fresh=lambda: fresh)
        assert (receipt.state, receipt.bundle, served(store)) == (State.CONFIRMED, fresh.id, fresh.id)
        assert [generation.default for generation in publisher.committed] == [own.bundle().id, fresh.id]
        assert [slot.bundle for slot in store.slots()] == [fresh.id]
        assert propose(store, own, GENERATED).codes[-1] == "key_banned"

    def test_a_fresh_identity_is_made_only_where_it_is_needed(self, store, scene):
        def fresh():
            raise AssertionError("nobody needs it")

        assert store.ban(scene[0].bundle().spki, via="cli", fresh=fresh).state is State.CONFIRMED

    def test_a_maker_that_brings_the_banned_key_again_is_refused(self, store, own, pki):
        propose(store, own, GENERATED)
        same = pki.leaf(issuer=None, key=own.key).bundle()
        receipt = store.ban(own.bundle().spki, via="cli", fresh=lambda: same)
        assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "key_not_replaced")

    def test_without_a_maker_nobody_is_left_in_the_dark(self, store, own):
        propose(store, own, GENERATED)
        receipt = store.ban(own.bundle().spki, via="cli")
        assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "ban_leaves_nothing")
        assert (served(store), store.bans()) == (own.bundle().id, ())

    def test_a_sealed_slot_stays_and_is_not_served(self, tmp_path, pki, own, clock):
        root = tmp_path / "sealed"
        with Store.open(root, clock=clock) as store:
            propose(store, own, GENERATED)
            factory = pki.leaf()
            propose(store, factory, FACTORY)
        for path in (*root.glob("slots/factory/*.json"), root / "generations" / "2.json"):
            text = path.read_text().replace('"sealed":false', '"sealed":true')
            path.write_text(text.replace('"sealed": false', '"sealed": true'))
        with Store.open(root, clock=clock) as store:
            (slot,) = (slot for slot in store.slots() if slot.source is FACTORY)
            assert slot.sealed
            assert store.remove(slot.key, via="cli", reason=LOST).codes == ("slot_sealed",)
            assert store.ban(factory.bundle().spki, via="cli").state is State.CONFIRMED
            assert served(store) == own.bundle().id
            assert slot in store.slots()
        with Store.open(root, clock=clock) as store:
            assert store.recovered == (), "a start has nothing to tell of it"
            assert served(store) == own.bundle().id

    def test_no_hash_is_a_mistake_of_the_caller(self, store):
        with pytest.raises(ValueError, match="SHA-256"):
            store.ban("../x", via="cli")


def test_a_ban_whose_generation_never_became_active_is_void_and_removed(store, scene, lost, clock):
    root, ban = store.path, store.bans()[0]
    store.close()
    (root / "active").write_bytes(b"2\n")  # as a power cut leaves it that came before the rename
    assert read_bans(root, 2) == ([], [ban])
    with Store.open(root, clock=clock) as again:
        assert (served(again), again.bans()) == (lost.bundle().id, ())
        assert list((root / "banned").iterdir()) == []


def test_what_a_failing_disk_kept_of_a_void_ban_never_comes_into_force(store, lost, clock, pki):
    root = store.path
    store.close()
    (root / "active").write_bytes(b"2\n")
    fails = [True]

    def before(_step, path):
        if fails and "banned" in path.parts:
            raise OSError(5, "no")

    with Store.open(root, clock=clock, disk=Disk(before)) as again:
        assert served(again) == lost.bundle().id
        with pytest.raises(StoreNotWritable):
            propose(again, pki.leaf(names=("x.test",)))
        fails.clear()
        assert propose(again, pki.leaf(names=("x.test",))).state is State.CONFIRMED
    with Store.open(root, clock=clock) as again:
        assert again.bans() == ()


def test_a_lost_active_file_lifts_no_ban(store, scene, lost, clock):
    root = store.path
    store.close()
    (root / "active").unlink()
    with Store.open(root, clock=clock) as again:
        assert banned(again) == [lost.bundle().spki]
        assert served(again) == scene[1].bundle().id


def test_rows_that_expire_move_to_no_banned_key(store, scene, pki, clock):
    lost, _ = scene
    propose(store, pki.leaf(key=lost.key, days=900), FACTORY)
    short = pki.leaf(days=1)
    replace_lost(store, short)
    clock.now += timedelta(days=2)
    store.refresh()
    assert served(store) == short.bundle().id, "the one that could rescue it has the banned key"
