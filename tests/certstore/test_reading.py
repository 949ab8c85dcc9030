"""Reading a store beside its holder, while it changes and when its files are not what they should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from certstore import reading, records
from certstore.errors import NotFound, StoreCorrupt
from certstore.examination import InProcess
from certstore.slots import Source
from certstore.store import Store
from tests.storing import Clock, active_of


@pytest.fixture
def store(tmp_path, now):
    with Store.open(tmp_path / "store", clock=Clock(now)) as store:
        yield store


def put(store, issued, source=Source.CUSTOMER):
    return store.propose(issued.bundle(), source=source, via="test", examiner=InProcess())


def test_a_generation_pruned_between_two_reads_is_no_error(store, pki, monkeypatch):
    put(store, pki.leaf())
    whole = reading.read_generation_numbered

    def overtaken(root: Path, number: int):
        if number == 1:  # while we look, another one becomes active and this one goes
            put(store, pki.leaf())
            store.prune(keep=0)
        return whole(root, number)

    monkeypatch.setattr(reading, "read_generation_numbered", overtaken)
    assert reading.read_generation(store.path) == active_of(store)
    assert active_of(store).number == 2


def test_an_active_generation_that_is_missing_or_another_is_damage(store, pki):
    put(store, pki.leaf())
    put(store, pki.leaf())
    folder = store.path / "generations"
    shutil.copy(folder / "1.json", folder / "2.json")
    with pytest.raises(StoreCorrupt, match="number 1"):
        reading.read_generation(store.path)
    (folder / "2.json").unlink()
    with pytest.raises(StoreCorrupt, match="missing"):
        reading.read_generation(store.path)


def test_an_active_file_that_cant_be_read_is_damage(tmp_path):
    (tmp_path / "active").mkdir()
    with pytest.raises(StoreCorrupt, match="directory"):
        reading.read_active(tmp_path)


def test_a_bundle_in_anothers_place_is_damage_and_a_missing_file_too(store, pki):
    one, other = put(store, pki.leaf()), put(store, pki.leaf(), Source.ACME)
    folder = store.path / "bundles"
    for name in ("key.pem", "chain.pem"):
        shutil.copy(folder / other.bundle / name, folder / one.bundle / name)
    with pytest.raises(StoreCorrupt, match=other.bundle):
        reading.read_bundle(store.path, one.bundle)
    (folder / other.bundle / "key.pem").unlink()
    with pytest.raises(StoreCorrupt, match="no such file"):
        reading.read_bundle(store.path, other.bundle)
    with pytest.raises(NotFound):
        reading.read_bundle(store.path, "0" * 64)


def test_slots_and_receipts_in_anothers_place_are_damage(store, pki):
    receipt = put(store, pki.leaf())
    (slot,) = (store.path / "slots" / "customer").iterdir()
    shutil.copy(slot, store.path / "slots" / "acme" / slot.name)
    shutil.copy(
        store.path / "receipts" / f"{receipt.id}.json", store.path / "receipts" / "000009-00000000.json"
    )
    slots, strays = reading.read_slots(store.path)
    assert (slots, len(strays)) == (store.slots(), 1)
    receipts, strays = reading.read_receipts(store.path)
    assert (receipts, len(strays)) == ((receipt,), 1)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"\xff", b""])
def test_what_is_no_object_is_damage(content):
    with pytest.raises(ValueError):
        records.load(content)


def test_a_bundle_without_its_meta_file_is_served_but_its_key_is_not_found(store, pki, now):
    receipt = put(store, pki.leaf())
    assert receipt.bundle is not None
    (store.path / "bundles" / receipt.bundle / "meta.json").unlink()
    store.close()
    with Store.open(store.path, clock=Clock(now)) as again:
        assert again.recovered == ()
        assert again.known_key(again.bundle(receipt.bundle).spki) is None


def test_a_key_whose_bundle_is_damaged_is_not_known(store, pki, now):
    receipt = put(store, pki.leaf())
    assert receipt.bundle is not None
    spki = store.bundle(receipt.bundle).spki
    (store.path / "bundles" / receipt.bundle / "chain.pem").write_bytes(b"")
    store.close()
    with Store.open(store.path, clock=Clock(now)) as again:
        assert again.known_key(spki) is None
