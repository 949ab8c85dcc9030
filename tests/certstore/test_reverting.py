"""Going back: one slot, all of them, or one away; always forward, never into the dark; a receipt each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certstore.errors import NotFound, StoreNewer
from certstore.generation import Cause
from certstore.receipts import Receipt, State
from certstore.slots import Source
from certstore.store import Store
from tests.storing import files_under, propose, served

CUSTOMER, ACME, FACTORY, GENERATED = Source


def key_of(store, bundle):
    return next(slot.key for slot in store.slots() if slot.bundle == bundle)


def rows(store):
    return {row.pattern: row.bundle for row in store.active.rows}


def numbers(store):
    return [generation.number for generation in store.generations()]


class TestGenerations:
    def test_they_are_given_newest_first_and_by_number(self, store, pki):
        assert store.generations() == ()
        receipts = [propose(store, pki.leaf()) for _ in range(3)]
        assert numbers(store) == [3, 2, 1]
        assert [one.receipt for one in store.generations(limit=2)] == [receipts[2].id, receipts[1].id]
        assert store.generation(2).default == receipts[1].bundle
        assert store.generation(3) is store.active
        assert store.generations(limit=-1) == ()
        for number in (0, 4):
            with pytest.raises(NotFound):
                store.generation(number)

    def test_one_that_is_only_being_prepared_is_not_among_them(self, store, pki, publisher):
        propose(store, pki.leaf())
        seen = []

        def look(generation):
            seen.append(numbers(store))
            with pytest.raises(NotFound):
                store.generation(generation.number)

        publisher.during = look
        propose(store, pki.leaf())
        assert seen == [[1]]

    def test_a_damaged_one_is_left_out(self, store, pki):
        for _ in range(3):
            propose(store, pki.leaf())
        (store.path / "generations" / "2.json").write_bytes(b"{")
        assert numbers(store) == [3, 1]


class TestRollBack:
    def test_one_slot_goes_back_forward_to_a_new_generation_and_the_others_stay(
        self, store, pki, clock, publisher
    ):
        old = propose(store, pki.leaf())
        new = propose(store, pki.leaf())
        other = propose(store, pki.leaf(names=("other.test",)))
        was = next(one for one in store.generation(1).slots)
        receipt = store.roll_back(key_of(store, new.bundle), via="cli")
        assert (receipt.state, receipt.cause, receipt.generation) == (State.CONFIRMED, Cause.ROLLBACK, 4)
        assert (receipt.source, receipt.via, receipt.bundle) == (CUSTOMER, "cli", old.bundle)
        assert receipt.live_at == clock.now
        assert rows(store) == {"device.test": old.bundle, "other.test": other.bundle}
        assert store.active == publisher.prepared[-1] == publisher.committed[-1]
        assert (store.active.cause, store.active.receipt) == (Cause.ROLLBACK, receipt.id)
        assert store.receipt(receipt.id) == receipt
        back = next(slot for slot in store.slots() if slot.bundle == old.bundle)
        assert back == was.confirmed()  # as it was, age and all: who had which names is as it was too
        assert store.receipt(new.id).state is State.CONFIRMED  # what became of that change stays true

    def test_what_went_back_is_served_after_a_restart(self, store, pki, clock):
        old = propose(store, pki.leaf())
        key = key_of(store, propose(store, pki.leaf()).bundle)
        receipt = store.roll_back(key, via="cli")
        store.close()
        before = files_under(store.path)
        with Store.open(store.path, clock=clock) as again:
            assert again.recovered == ()
            assert served(again) == old.bundle
            assert again.receipt(receipt.id) == receipt
        assert files_under(store.path) == before

    def test_a_further_step_leads_further_back_and_never_to_what_was_left(self, store, pki):
        a, b, c = (propose(store, pki.leaf()).bundle for _ in range(3))
        key = key_of(store, c)
        assert store.roll_back(key, via="x").bundle == b
        d = propose(store, pki.leaf()).bundle
        assert store.roll_back(key, via="x").bundle == b
        assert store.roll_back(key, via="x").bundle == a
        end = store.roll_back(key, via="x")
        assert (end.state, end.codes) == (State.REFUSED, ("nothing_before",))
        assert (served(store), d) == (a, d)

    def test_names_that_two_slots_share_go_back_to_whom_they_belonged(self, store, pki):
        both = propose(store, pki.leaf(names=("a.test", "b.test")))
        one = propose(store, pki.leaf(names=("a.test",)))
        renewed = propose(store, pki.leaf(names=("a.test", "b.test")))
        assert rows(store) == {"a.test": renewed.bundle, "b.test": renewed.bundle}
        store.roll_back(key_of(store, renewed.bundle), via="x")
        assert rows(store) == {"a.test": one.bundle, "b.test": both.bundle}

    def test_without_anything_before_it_is_refused_and_changes_nothing(self, store, pki):
        first = propose(store, pki.leaf())
        before = files_under(store.path)
        receipt = store.roll_back(key_of(store, first.bundle), via="x")
        assert (receipt.state, receipt.codes) == (State.REFUSED, ("nothing_before",))
        assert files_under(store.path).keys() - before.keys() == {f"receipts/{receipt.id}.json"}

    def test_a_slot_that_never_was_is_not_found_and_has_no_receipt(self, store, pki):
        propose(store, pki.leaf())
        with pytest.raises(NotFound, match="slot"):
            store.roll_back((ACME, "0" * 32), via="x")
        assert len(store.receipts()) == 1

    def test_a_removal_can_be_taken_back(self, store, pki):
        propose(store, pki.leaf(issuer=None), GENERATED)
        mine = propose(store, pki.leaf())
        key = key_of(store, mine.bundle)
        store.remove(key, via="x")
        assert store.roll_back(key, via="x").bundle == mine.bundle == served(store)

    @pytest.mark.parametrize("damage", ["key.pem", "all of it"])
    def test_a_bundle_that_is_gone_refuses_before_anything_changes(self, store, pki, clock, damage):
        old, new = propose(store, pki.leaf()), propose(store, pki.leaf())
        folder = store.path / "bundles" / old.bundle
        store.close()
        for path in folder.iterdir():
            if damage in {path.name, "all of it"}:
                path.unlink()
        if damage == "all of it":
            folder.rmdir()
        with Store.open(store.path, clock=clock) as again:
            active = again.active
            receipt = again.roll_back(key_of(again, new.bundle), via="x")
            assert (receipt.state, receipt.codes) == (State.REFUSED, ("not_restorable",))
            assert again.active is active

    def test_a_bundle_that_this_version_cant_serve_is_not_gone_back_to(self, store, pki):
        old, new = propose(store, pki.leaf()), propose(store, pki.leaf())
        store.set_aside([old.bundle])
        receipt = store.roll_back(key_of(store, new.bundle), via="x")
        assert receipt.codes == ("not_restorable",)
        assert "this version" in receipt.findings[0].words

    def test_what_has_expired_meanwhile_comes_back_with_a_warning(self, store, pki, clock):
        old = propose(store, pki.leaf(days=10))
        new = propose(store, pki.leaf(days=90))
        clock.go(days=11)
        receipt = store.roll_back(key_of(store, new.bundle), via="x")
        assert (receipt.state, receipt.codes) == (State.CONFIRMED, ("restored_expired",))
        assert served(store) == old.bundle

    def test_a_sealed_slot_stays(self, store, pki, clock):
        propose(store, pki.leaf(), FACTORY)
        new = propose(store, pki.leaf(), FACTORY)
        (slot,) = store.slots()
        store._activation.write_slot(replace(slot, sealed=True))
        store.close()
        with Store.open(store.path, clock=clock) as again:
            for receipt in (again.roll_back(slot.key, via="x"), again.remove(slot.key, via="x")):
                assert (receipt.state, receipt.codes) == (State.REFUSED, ("slot_sealed",))
            assert again.activate(1, via="x").codes == ("slot_sealed",)
            assert served(again) == new.bundle

    def test_what_workers_cant_prepare_is_refused_and_undone(self, store, pki, publisher):
        propose(store, pki.leaf())
        new = propose(store, pki.leaf())
        before = files_under(store.path)
        publisher.during = lambda _: 1 / 0
        receipt = store.roll_back(key_of(store, new.bundle), via="x")
        assert (receipt.state, receipt.codes) == (State.REFUSED, ("prepare_failed",))
        after = files_under(store.path)
        del after[f"receipts/{receipt.id}.json"]
        assert after == before
        assert served(store) == new.bundle


class TestActivate:
    def test_every_slot_is_as_that_generation_had_it(self, store, pki):
        a1, b1 = propose(store, pki.leaf()), propose(store, pki.leaf(names=("b.test",)))
        propose(store, pki.leaf())
        propose(store, pki.leaf(names=("b.test",)))
        propose(store, pki.leaf(names=("c.test",)), ACME)
        receipt = store.activate(2, via="api")
        assert (receipt.state, receipt.cause, receipt.generation) == (State.CONFIRMED, Cause.ACTIVATION, 6)
        assert (receipt.source, receipt.bundle, receipt.via) == (CUSTOMER, None, "api")
        assert rows(store) == {"device.test": a1.bundle, "b.test": b1.bundle}
        assert [slot.is_confirmed for slot in store.slots()] == [True, True]
        assert store.active.number == 6
        assert len(list((store.path / "slots" / "acme").iterdir())) == 0

    def test_and_is_so_after_a_restart(self, store, pki, clock):
        a1 = propose(store, pki.leaf())
        propose(store, pki.leaf())
        receipt = store.activate(1, via="api")
        store.close()
        with Store.open(store.path, clock=clock) as again:
            assert again.recovered == ()
            assert served(again) == a1.bundle
            assert again.receipt(receipt.id) == receipt

    def test_what_is_so_already_writes_only_its_receipt(self, store, pki, publisher):
        propose(store, pki.leaf())
        before = files_under(store.path)
        receipt = store.activate(1, via="x")
        assert (receipt.state, receipt.codes, receipt.generation) == (
            State.CONFIRMED,
            ("nothing_to_change",),
            1,
        )
        assert files_under(store.path).keys() - before.keys() == {f"receipts/{receipt.id}.json"}
        assert len(publisher.prepared) == 1

    def test_what_is_so_already_by_another_generation_names_the_one_that_is_served(self, store, pki):
        """It named the one that was asked for, as if that were served."""
        propose(store, pki.leaf())
        propose(store, pki.leaf())
        store.activate(1, via="x")
        receipt = store.activate(1, via="x")
        assert (receipt.codes, receipt.generation) == (("nothing_to_change",), 3)

    def test_one_bundle_that_is_gone_refuses_all_of_it(self, store, pki, clock):
        a1, b1 = propose(store, pki.leaf()), propose(store, pki.leaf(names=("b.test",)))
        propose(store, pki.leaf())
        propose(store, pki.leaf(names=("b.test",)))
        store.close()
        (store.path / "bundles" / b1.bundle / "key.pem").write_bytes(b"")
        with Store.open(store.path, clock=clock) as again:
            active = again.active
            receipt = again.activate(2, via="x")
            assert (receipt.state, receipt.codes) == (State.REFUSED, ("not_restorable",))
            assert "b.test" in receipt.findings[0].words
            assert again.active is active
            assert again.bundle(a1.bundle).id == a1.bundle

    def test_a_generation_that_is_not_there_is_not_found(self, store, pki):
        propose(store, pki.leaf())
        with pytest.raises(NotFound):
            store.activate(7, via="x")
        assert len(store.receipts()) == 1


class TestRemove:
    def test_its_names_go_back_to_the_devices_own(self, store, pki):
        own = propose(store, pki.leaf(issuer=None), GENERATED)
        mine = propose(store, pki.leaf(names=("device.test", "b.test")))
        receipt = store.remove(key_of(store, mine.bundle), via="cli")
        assert (receipt.state, receipt.cause) == (State.CONFIRMED, Cause.REMOVAL)
        assert (receipt.source, receipt.bundle, receipt.generation) == (CUSTOMER, mine.bundle, 3)
        assert rows(store) == {"device.test": own.bundle}
        assert served(store) == own.bundle
        assert not list((store.path / "slots" / "customer").iterdir())

    def test_the_last_one_stays(self, store, pki):
        mine = propose(store, pki.leaf())
        receipt = store.remove(key_of(store, mine.bundle), via="cli")
        assert (receipt.state, receipt.codes) == (State.REFUSED, ("last_source",))
        assert served(store) == mine.bundle

    def test_the_devices_own_stays(self, store, pki):
        own = propose(store, pki.leaf(issuer=None), GENERATED)
        propose(store, pki.leaf())
        assert store.remove(key_of(store, own.bundle), via="cli").codes == ("own_stays",)

    def test_it_stays_removed_after_a_restart(self, store, pki, clock):
        own = propose(store, pki.leaf(issuer=None), GENERATED)
        mine = propose(store, pki.leaf())
        receipt = store.remove(key_of(store, mine.bundle), via="cli")
        store.close()
        with Store.open(store.path, clock=clock) as again:
            assert again.recovered == ()
            assert served(again) == own.bundle
            assert again.receipt(receipt.id) == receipt

    def test_what_is_not_there_is_not_found(self, store):
        with pytest.raises(NotFound):
            store.remove((CUSTOMER, "0" * 32), via="cli")


def test_a_removal_of_which_only_its_end_was_not_written_down_is_confirmed_by_the_next_start(
    store, pki, clock, publisher, monkeypatch
):
    own = propose(store, pki.leaf(issuer=None), GENERATED)
    mine = propose(store, pki.leaf())

    def fail(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(publisher, "commit", fail)
    with pytest.raises(KeyboardInterrupt):
        store.remove(key_of(store, mine.bundle), via="cli")
    newest = store.receipts()[0]
    assert newest.state is State.RECEIVED
    store.close()
    with Store.open(store.path, clock=clock) as again:
        assert served(again) == own.bundle
        assert again.receipt(newest.id).state is State.CONFIRMED


def test_a_store_of_a_newer_format_takes_none_of_it_but_shows_its_generations(store, pki, clock):
    propose(store, pki.leaf())
    new = propose(store, pki.leaf())
    key = key_of(store, new.bundle)
    store.close()
    (store.path / "FORMAT").write_bytes(b"2\n")
    before = files_under(store.path)
    with Store.open(store.path, clock=clock) as again:
        assert [one.number for one in again.generations()] == [2, 1]
        for act in (
            lambda: again.roll_back(key, via="x"),
            lambda: again.activate(1, via="x"),
            lambda: again.remove(key, via="x"),
            lambda: again.confirm(new.id, via="x"),
        ):
            with pytest.raises(StoreNewer):
                act()
        assert again.end_probation() == ()
    assert files_under(store.path) == before


def test_a_receipt_says_what_was_wanted_and_one_of_before_means_a_proposal(store, pki):
    propose(store, pki.leaf())
    new = propose(store, pki.leaf())
    receipt = store.roll_back(key_of(store, new.bundle), via="x")
    assert Receipt.from_json(receipt.to_json()) == receipt
    document = new.to_json()
    del document["cause"], document["confirm_within_s"]
    assert Receipt.from_json(document) == new
