"""A store too large to be read at its start: served on trust, and what was damaged falls when it shows."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from certstore import shelf
from certstore.atomic import Disk
from certstore.bundle import Bundle
from certstore.errors import StoreCorrupt, StoreExhausted
from certstore.examination import InProcess
from certstore.meta import Meta
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store
from tests.storing import Clock, NotingPublisher, active_of, files_under, served

CUSTOMER, ACME, FACTORY, GENERATED = Source


@pytest.fixture(autouse=True)
def large(monkeypatch):
    """Let two bundles be many."""
    monkeypatch.setattr(shelf, "READ_WHOLE", 0)


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


def put(store: Store, bundle: Bundle, source: Source = CUSTOMER) -> str:
    receipt = store.propose(bundle, source=source, via="test", examiner=InProcess())
    assert receipt.state is State.CONFIRMED
    assert receipt.bundle is not None
    return receipt.bundle


@pytest.fixture
def filled(root, clock, pki) -> tuple[str, str]:
    """Fill the store with a customer's bundle and one of the factory's that can stand in."""
    with Store.open(root, clock=clock) as store:
        return put(store, pki.leaf().bundle()), put(store, pki.leaf().bundle(), FACTORY)


def codes(findings) -> list[str]:
    return [finding.code for finding in findings]


def flip(path: Path) -> None:
    """Change one byte in the middle of a file, and not its size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def key_of(root: Path, bundle: str) -> Path:
    return root / "bundles" / bundle / "key.pem"


def meta_of(root: Path, bundle: str) -> Path:
    return root / "bundles" / bundle / "meta.json"


def test_a_start_takes_on_trust_what_has_its_size_and_proof_makes_the_slot_fall_and_tells(
    root, clock, filled
):
    bad, good = filled
    flip(key_of(root, bad))
    publisher = NotingPublisher()
    with Store.open(root, clock=clock, publisher=publisher) as store:
        assert (served(store), store.recovered) == (bad, ())
        (fallen,) = store.prove(10)
        assert fallen.code == "slot_fallen"
        assert "customer" in fallen.words
        assert served(store) == good
        assert [generation.default for generation in publisher.committed] == [good]
        assert active_of(store).cause == "recovery"
        assert store.prove(10) == ()
        assert len(publisher.committed) == 1


def test_what_has_fallen_does_not_rise_again_at_the_next_start(root, clock, filled):
    bad, good = filled
    flip(key_of(root, bad))
    with Store.open(root, clock=clock) as store:
        store.prove(10)
        number = active_of(store).number
    for _ in range(2):
        with Store.open(root, clock=clock) as store:
            assert (served(store), active_of(store).number) == (good, number)
            assert codes(store.recovered) == ["slot_fallen"]


def test_what_was_mended_by_hand_rises_at_the_next_start(root, clock, filled):
    bad, _ = filled
    flip(key_of(root, bad))
    with Store.open(root, clock=clock) as store:
        store.prove(10)
    flip(key_of(root, bad))
    with Store.open(root, clock=clock) as store:
        assert (served(store), store.recovered) == (bad, ())


@pytest.mark.parametrize("name", ["key.pem", "chain.pem"])
def test_a_file_that_was_cut_off_or_is_missing_shows_at_the_start(root, clock, filled, name):
    bad, good = filled
    path = root / "bundles" / bad / name
    path.write_bytes(path.read_bytes()[:-1000])
    with Store.open(root, clock=clock) as store:
        assert (served(store), codes(store.recovered)) == (good, ["slot_fallen"])
    path.unlink()
    with Store.open(root, clock=clock) as store:
        assert (served(store), codes(store.recovered)) == (good, ["slot_fallen"])


def test_proof_goes_on_in_slices_until_all_is_proved_and_then_reads_nothing(root, clock, filled):
    with Store.open(root, clock=clock) as store:
        for left in (1, 0, 0):
            assert store.prove(1) == ()
            assert len(store._shelf.unproved()) == left
        for bundle in filled:
            flip(key_of(root, bundle))
        assert store.prove(10) == (), "nobody doubts what was read once"


def test_a_doubted_bundle_is_read_at_once_even_in_a_small_store(root, clock, filled, monkeypatch):
    monkeypatch.setattr(shelf, "READ_WHOLE", 200)
    bad, good = filled
    with Store.open(root, clock=clock) as store:
        assert store.bundle(bad).id == bad
        flip(key_of(root, bad))
        assert store.prove(0, doubted=[good]) == ()
        assert codes(store.prove(0, doubted=[bad])) == ["slot_fallen"]
        assert served(store) == good
        with pytest.raises(StoreCorrupt):
            store.bundle(bad)


def test_a_damaged_bundle_that_is_proposed_again_is_mended_not_called_live_already(root, clock, pki):
    bundle = pki.leaf().bundle()
    with Store.open(root, clock=clock) as store:
        put(store, bundle)
    flip(key_of(root, bundle.id))
    with Store.open(root, clock=clock) as store:
        receipt = store.propose(bundle, source=CUSTOMER, via="test", examiner=InProcess())
        assert "already_live" not in receipt.codes
        assert store.prove(10) == ()
        assert store.bundle(bundle.id) == bundle


def test_what_an_older_version_wrote_is_read_whole_and_written_anew_once(root, clock, filled):
    for bundle in filled:
        path = meta_of(root, bundle)
        data = json.loads(path.read_bytes())
        for key in ("key_bytes", "chain_bytes"):
            del data[key]
        path.write_text(json.dumps(data))
    with Store.open(root, clock=clock) as store:
        assert (served(store), store.recovered) == (filled[0], ())
        assert store._shelf.unproved() == ()
        store.prove(1)
        store.prove(1)
        before = files_under(root)
        store.prove(1)
        assert files_under(root) == before
    with Store.open(root, clock=clock) as store:
        assert set(store._shelf.unproved()) == set(filled)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"spki": 7}', None])
def test_without_a_readable_description_a_bundle_is_read_whole(root, clock, filled, content):
    wanted, _ = filled
    if content is None:
        meta_of(root, wanted).unlink()
    else:
        meta_of(root, wanted).write_bytes(content)
    with Store.open(root, clock=clock) as store:
        assert (served(store), store.recovered) == (wanted, ())
        assert wanted not in store._shelf.unproved()
        assert store.meta(wanted) == Meta.of(store.bundle(wanted))


def test_a_description_in_anothers_place_is_not_believed(root, clock, filled):
    one, other = filled
    meta_of(root, one).write_bytes(meta_of(root, other).read_bytes())
    with Store.open(root, clock=clock) as store:
        assert (served(store), store.recovered) == (one, ())
        assert store.meta(one).id == one


def test_a_description_that_says_something_wrong_is_corrected_and_so_is_what_came_of_it(root, clock, filled):
    wanted, other = filled
    path = meta_of(root, wanted)
    path.write_bytes(path.read_bytes().replace(b"device.test", b"demise.test"))
    with Store.open(root, clock=clock) as store:
        rows = {row.pattern: row.bundle for row in active_of(store).rows}
        assert rows == {"demise.test": wanted, "device.test": other}
        assert store.prove(10) == (), "the bundle itself is whole"
        assert {row.pattern: row.bundle for row in active_of(store).rows} == {"device.test": wanted}
        store.prove(10)
    assert b"device.test" in path.read_bytes()


def test_proof_on_a_disk_that_takes_no_writes_lets_a_slot_fall_in_memory(root, clock, filled):
    bad, good = filled
    flip(key_of(root, bad))

    def refuse(step, path):
        raise OSError(30, os.strerror(30))

    before = files_under(root)
    with Store.open(root, clock=clock, disk=Disk(refuse)) as store:
        assert codes(store.prove(10)) == ["slot_fallen"]
        assert served(store) == good
    assert files_under(root) == before


def test_a_want_of_descriptors_is_not_taken_for_damage(root, clock, filled):
    wanted, _ = filled
    with Store.open(root, clock=clock) as store:
        spare = os.dup(0)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, limits[1]))
        try:
            with pytest.raises(StoreExhausted):
                store.bundle(wanted)
            assert store.prove(10) == ()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            os.close(spare)
        assert served(store) == wanted
        assert store.bundle(wanted).id == wanted


def test_only_the_last_few_bundles_stay_in_memory(root, clock, filled, monkeypatch):
    monkeypatch.setattr(shelf, "KEPT", 1)
    with Store.open(root, clock=clock) as store:
        first, second = (store.bundle(bundle) for bundle in filled)
        assert store.bundle(second.id) is second
        assert store.bundle(first.id) is not first
