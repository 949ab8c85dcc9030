"""What a start makes of a damaged or unfinished store: it serves the best that can be read, and says so."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from certstore.atomic import Disk
from certstore.errors import StoreNotWritable
from certstore.examination import InProcess
from certstore.receipts import Receipt, State
from certstore.records import dump
from certstore.slots import Slot, Source
from certstore.store import Store
from tests.storing import Clock, OpenGate, active_of, candidate_of, files_under, half_done, served

CUSTOMER, ACME, FACTORY, GENERATED = Source


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


def propose(store, issued, source=CUSTOMER):
    receipt = store.propose(candidate_of(issued), source=source, via="test", examiner=InProcess(OpenGate()))
    assert receipt.state is State.CONFIRMED
    return receipt


def fill(root: Path, clock: Clock, *proposals) -> list[Receipt]:
    """Propose (issued, source) one after another, and close the store."""
    with Store.open(root, clock=clock) as store:
        return [propose(store, issued, source) for issued, source in proposals]


def codes(store) -> list[str]:
    return [finding.code for finding in store.recovered]


def damage(path: Path, content: bytes = b"\0" * 100) -> None:
    path.write_bytes(content)


def slot_path(root: Path, slot: Slot) -> Path:
    return root / "slots" / slot.source / f"{slot.id}.json"


def test_a_slot_newer_than_the_active_generation_is_put_back(root, clock, pki):
    (first,) = fill(root, clock, (pki.leaf(), CUSTOMER))
    with Store.open(root, clock=clock) as store:
        (slot,) = store.slots()
    slot_path(root, slot).write_bytes(dump(replace(slot, bundle="f" * 64).to_json()))
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["slot_put_back"]
        assert served(store) == first.bundle
        assert store.slots() == (slot,)
    with Store.open(root, clock=clock) as store:
        assert store.recovered == ()


def test_a_slot_that_the_active_generation_never_knew_is_removed(root, clock, pki):
    fill(root, clock, (pki.leaf(), CUSTOMER))
    with Store.open(root, clock=clock) as store:
        (slot,) = store.slots()
    stray = replace(slot, source=ACME)
    slot_path(root, stray).write_bytes(dump(stray.to_json()))
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["slot_put_back"]
        assert store.slots() == (slot,)
    assert not slot_path(root, stray).exists()


def test_a_missing_or_damaged_slot_is_written_again_from_the_active_generation(root, clock, pki):
    fill(root, clock, (pki.leaf(), CUSTOMER), (pki.leaf(), ACME))
    with Store.open(root, clock=clock) as store:
        slots = store.slots()
    slot_path(root, slots[0]).unlink()
    damage(slot_path(root, slots[1]))
    damage(root / "slots" / "factory" / "0.json")
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["slot_put_back"] * 2
        assert store.slots() == slots
    with Store.open(root, clock=clock) as store:
        assert store.recovered == ()
    assert not (root / "slots" / "factory" / "0.json").exists()


@pytest.mark.parametrize("name", ["key.pem", "chain.pem"])
def test_a_bundle_that_cant_be_loaded_falls_down_the_sources_and_is_told(root, clock, pki, name):
    bad, good = fill(root, clock, (pki.leaf(), CUSTOMER), (pki.leaf(), FACTORY))
    path = root / "bundles" / bad.bundle / name
    whole = path.read_bytes()
    damage(path)
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["slot_fallen"]
        assert "customer" in store.recovered[0].words
        assert served(store) == good.bundle
        assert (active_of(store).number, active_of(store).cause) == (3, "recovery")
    path.write_bytes(whole)  # what was only unreadable for a while comes back
    with Store.open(root, clock=clock) as store:
        assert store.recovered == ()
        assert served(store) == bad.bundle


def test_a_key_of_another_bundle_is_never_served_with_a_certificate(root, clock, pki):
    one, other = fill(root, clock, (pki.leaf(), CUSTOMER), (pki.leaf(), FACTORY))
    stolen = root / "bundles" / other.bundle / "key.pem"
    damage(root / "bundles" / one.bundle / "key.pem", stolen.read_bytes())
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["slot_fallen"]
        assert served(store) == other.bundle


def test_a_damaged_bundle_falls_to_the_last_confirmed_one_of_its_slot(root, clock, pki):
    old, new = fill(root, clock, (pki.leaf(), CUSTOMER), (pki.leaf(), CUSTOMER))
    with Store.open(root, clock=clock) as store:
        (slot,) = store.slots()
        store._activation.write_slot(replace(slot, last_confirmed=old.bundle))
    damage(root / "bundles" / new.bundle / "chain.pem")
    with Store.open(root, clock=clock) as store:
        assert served(store) == old.bundle
        assert codes(store) == ["slot_fallen"]


def test_a_damaged_bundle_is_mended_by_proposing_it_again(root, clock, pki):
    issued = pki.leaf()
    (receipt,) = fill(root, clock, (issued, CUSTOMER))
    damage(root / "bundles" / receipt.bundle / "chain.pem")
    with Store.open(root, clock=clock) as store:
        assert (served(store), codes(store)) == (None, ["slot_fallen"])
        again = propose(store, issued)
        assert again.codes == ()
        assert served(store) == again.bundle == receipt.bundle
    with Store.open(root, clock=clock) as store:
        assert (served(store), codes(store)) == (receipt.bundle, [])


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"9" * 30, b"77\n", None])
def test_without_a_readable_active_file_the_slots_are_the_truth(root, clock, pki, content):
    *_, newest = fill(root, clock, (pki.leaf(), FACTORY), (pki.leaf(), CUSTOMER), (pki.leaf(), CUSTOMER))
    if content is None:
        (root / "active").unlink()
    else:
        (root / "active").write_bytes(content)
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["active_damaged"]
        assert served(store) == newest.bundle
        assert active_of(store).number == 4
        assert len(store.slots()) == 2
        assert propose(store, pki.leaf()).generation == 5
    with Store.open(root, clock=clock) as store:
        assert store.recovered == ()


def test_without_the_active_generation_the_slots_are_the_truth(root, clock, pki):
    (receipt,) = fill(root, clock, (pki.leaf(), CUSTOMER))
    damage(root / "generations" / "1.json", b"{}")
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["active_damaged"]
        assert (served(store), active_of(store).number) == (receipt.bundle, 2)


def test_without_active_file_and_slots_an_older_generation_is_the_truth(root, clock, pki):
    first, second = fill(root, clock, (pki.leaf(), CUSTOMER), (pki.leaf(), CUSTOMER))
    damage(root / "active")
    damage(root / "generations" / "2.json")
    for path in (root / "slots" / "customer").iterdir():
        damage(path)
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["active_damaged", "slot_damaged"]
        assert served(store) == first.bundle
        assert active_of(store).number == 3
    assert second.bundle != first.bundle


def test_when_nothing_can_be_read_it_opens_all_the_same_and_takes_a_new_certificate(root, clock, pki):
    fill(root, clock, (pki.leaf(), CUSTOMER), (pki.leaf(), GENERATED))
    for path in root.rglob("*"):
        if path.is_file() and path.name not in ("FORMAT", "lock"):
            damage(path)
    with Store.open(root, clock=clock) as store:
        assert served(store) is None
        assert set(codes(store)) == {"active_damaged", "slot_damaged", "receipt_damaged"}
        receipt = propose(store, pki.leaf())
        assert served(store) == receipt.bundle
    with Store.open(root, clock=clock) as store:
        assert served(store) == receipt.bundle


def test_a_damaged_receipt_is_removed_and_told_once(root, clock, pki):
    first, second = fill(root, clock, (pki.leaf(), CUSTOMER), (pki.leaf(), ACME))
    damage(root / "receipts" / f"{first.id}.json")
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["receipt_damaged"]
        assert store.receipts() == (second,)
    with Store.open(root, clock=clock) as store:
        assert store.recovered == ()


def test_an_open_receipt_that_led_nowhere_is_refused_as_interrupted(root, clock, pki):
    fill(root, clock, (pki.leaf(), CUSTOMER))
    with Store.open(root, clock=clock) as store:
        lost = store._ledger.open(CUSTOMER, "inbox", clock.now)
    with Store.open(root, clock=clock) as store:
        settled = store.receipt(lost.id)
        assert (settled.state, settled.codes) == (State.REFUSED, ("interrupted",))


def test_an_open_receipt_whose_bundle_is_active_becomes_live_and_confirmed(root, clock, pki):
    (receipt,) = fill(root, clock, (pki.leaf(), CUSTOMER))
    with Store.open(root, clock=clock) as store:
        came = Receipt(
            receipt.id, State.RECEIVED, CUSTOMER, "test", None, None, (), {State.RECEIVED: clock.now}
        )
        store._ledger.record(came)
        (slot,) = store.slots()
        store._activation.write_slot(replace(slot, last_confirmed=None))
    clock.go(minutes=1)
    with Store.open(root, clock=clock) as store:
        settled = store.receipt(receipt.id)
        assert (settled.state, settled.bundle, settled.generation) == (State.CONFIRMED, receipt.bundle, 1)
        assert settled.live_at == clock.now
        assert store.slots() == (slot,)


def test_half_done_files_unborn_generations_and_bundles_that_nothing_names_are_removed(root, clock, pki):
    fill(root, clock, (pki.leaf(), CUSTOMER))
    before = files_under(root)
    unborn, unborn_folder = pki.leaf().bundle(), root / "bundles"
    (unborn_folder / unborn.id).mkdir()
    (unborn_folder / unborn.id / "key.pem").write_bytes(unborn.key_pem())
    (unborn_folder / f".new-{unborn.id}").mkdir()
    (unborn_folder / f".new-{unborn.id}" / "key.pem").write_bytes(unborn.key_pem())
    for name in (
        ".new-active",
        "slots/customer/.new-x.json",
        "receipts/.new-y.json",
        "generations/.new-9.json",
    ):
        (root / name).write_bytes(b"half")
    (root / "generations" / "9.json").write_bytes((root / "generations" / "1.json").read_bytes())
    with Store.open(root, clock=clock) as store:
        assert store.recovered == ()
        assert propose(store, pki.leaf()).generation == 10  # a number that was on disk is never used again
    assert half_done(root) == []
    assert not (unborn_folder / unborn.id).exists()
    assert before.keys() <= files_under(root).keys()


def test_an_implausible_clock_at_start_changes_nothing_that_is_served(root, clock, pki, now):
    customer, acme = fill(root, clock, (pki.leaf(days=10), CUSTOMER), (pki.leaf(days=90), ACME))
    clock.go(days=20)
    with Store.open(root, clock=clock) as store:
        assert served(store) == acme.bundle  # found expired at start
    clock.now = now.replace(year=2000)
    before = files_under(root)
    with Store.open(root, clock=clock) as store:
        assert served(store) == acme.bundle
    assert files_under(root) == before
    assert customer.bundle != acme.bundle


def test_a_disk_that_takes_no_writes_is_served_from(root, clock, pki):
    good, bad = fill(root, clock, (pki.leaf(), FACTORY), (pki.leaf(), CUSTOMER))
    damage(root / "bundles" / bad.bundle / "key.pem")
    (root / ".new-active").write_bytes(b"half")

    def refuse(step, path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    before = files_under(root)
    with Store.open(root, clock=clock, disk=Disk(refuse)) as store:
        assert codes(store) == ["store_read_only", "slot_fallen"]
        assert served(store) == good.bundle
        with pytest.raises(StoreNotWritable, match=r"(?i)read-only"):
            store.propose(
                candidate_of(pki.leaf()), source=CUSTOMER, via="test", examiner=InProcess(OpenGate())
            )
        assert served(store) == good.bundle
    assert files_under(root) == before


def test_what_was_handled_survives_damage_to_one_of_its_files(root, clock):
    with Store.open(root, clock=clock) as store:
        store.remember("/inbox", "d1", "000001-00000000")
        store.remember("/inbox", "d2", "000001-00000000")
    damage(min((root / "handled").iterdir()))
    with Store.open(root, clock=clock) as store:
        assert [store.handled("/inbox", digest) is None for digest in ("d1", "d2")].count(True) == 1


def test_keys_survive_the_loss_of_both_the_active_file_and_the_receipts(root, clock, pki):
    """A backup of the certificates alone was put back: nothing there may be taken for half done."""
    (receipt,) = fill(root, clock, (pki.leaf(), CUSTOMER))
    (root / "active").unlink()
    shutil.rmtree(root / "receipts")
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["active_damaged"]
        assert served(store) == receipt.bundle
    with Store.open(root, clock=clock) as store:
        assert (served(store), codes(store)) == (receipt.bundle, [])


def test_numbers_grow_on_where_all_generations_were_lost(root, clock, pki):
    """A new slot for a shared name wins over an older one by its number."""
    fill(root, clock, *[(pki.leaf(("a.test", "b.test")), CUSTOMER) for _ in range(5)])
    shutil.rmtree(root / "generations")
    (root / "active").unlink()
    with Store.open(root, clock=clock) as store:
        assert active_of(store).number == 6
        newer = propose(store, pki.leaf(("a.test",)))
        assert {row.pattern: row.bundle for row in active_of(store).rows}["a.test"] == newer.bundle


def test_a_number_that_nobody_could_have_written_is_damage(root, clock, pki):
    (receipt,) = fill(root, clock, (pki.leaf(), CUSTOMER))
    with Store.open(root, clock=clock) as store:
        (slot,) = store.slots()
    slot_path(root, slot).write_bytes(dump(replace(slot, since=10**40).to_json()))
    with Store.open(root, clock=clock) as store:
        assert store.slots() == (slot,)
        assert served(store) == receipt.bundle
        assert propose(store, pki.leaf()).generation == 2


def test_an_unfinished_change_to_the_same_bundle_is_put_back_too(root, clock, pki):
    fill(root, clock, (pki.leaf(), CUSTOMER))
    with Store.open(root, clock=clock) as store:
        (slot,) = store.slots()
    unfinished = replace(slot, receipt="000002-00000000", since=2)
    slot_path(root, slot).write_bytes(dump(unfinished.to_json()))
    with Store.open(root, clock=clock) as store:
        assert codes(store) == ["slot_put_back"]
        assert store.slots() == (slot,)
