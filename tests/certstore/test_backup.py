"""A store in a file and back: on this device, and on another one, which stays itself."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from certstore.atomic import Disk
from certstore.backup import Backup, take_backup
from certstore.errors import BackupUnreadable, StoreCorrupt
from certstore.examination import InProcess
from certstore.generation import Cause
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store
from tests.storing import Clock, NotingPublisher, files_under, served

CUSTOMER, ACME, FACTORY, GENERATED = Source


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def first(tmp_path, clock):
    with Store.open(tmp_path / "first", clock=clock, boot_clock=lambda: BootTime("b", 1.0)) as store:
        yield store


@pytest.fixture
def other(tmp_path, clock):
    """Another device."""
    with Store.open(tmp_path / "other", clock=clock, publisher=NotingPublisher()) as store:
        yield store


def put(store, issued, source=CUSTOMER, **more):
    return store.propose(issued.bundle(), source=source, via="test", examiner=InProcess(), **more)


def bytes_of(store, clock):
    return take_backup(store.path, clock()).to_bytes()


def backup_of(store, clock) -> Backup:
    return Backup.from_bytes(bytes_of(store, clock))


def bundles(store):
    return {(slot.source, slot.names): slot.bundle for slot in store.slots()}


def test_on_another_device_the_certificates_and_keys_are_the_same_and_it_stays_itself(
    first, other, pki, clock
):
    put(first, pki.leaf(issuer=None), GENERATED)
    put(first, pki.leaf(), FACTORY)
    issued = pki.leaf()
    mine = put(first, issued)
    acme = put(first, pki.leaf(names=("acme.test",)), ACME)
    own = put(other, pki.leaf(issuer=None), GENERATED)
    clock.go(days=1)
    receipt = other.restore(backup_of(first, clock), via="cli")
    assert (receipt.state, receipt.cause, receipt.via) == (State.CONFIRMED, Cause.RESTORE, "cli")
    assert bundles(other) == {
        (CUSTOMER, ("device.test",)): mine.bundle,
        (ACME, ("acme.test",)): acme.bundle,
        (GENERATED, ("device.test",)): own.bundle,
    }
    assert other.bundle(mine.bundle).key_pem() == issued.key_pem
    assert served(other) == mine.bundle
    assert all(slot.is_confirmed and slot.stored_at >= clock.now for slot in other.slots()[:2])


def test_numbers_go_on_from_the_higher_of_both(first, other, pki, clock):
    for _ in range(5):
        put(first, pki.leaf())
    put(other, pki.leaf(issuer=None), GENERATED)
    assert other.restore(backup_of(first, clock), via="x").generation == 6
    small = backup_of(other, clock)
    for _ in range(5):
        put(other, pki.leaf())
    assert other.restore(small, via="x").generation == 12
    assert put(other, pki.leaf()).generation == 13


def test_what_it_takes_the_place_of_can_come_back(first, other, pki, clock):
    put(first, pki.leaf())
    old = put(other, pki.leaf(names=("old.test",)))
    other.restore(backup_of(first, clock), via="x")
    assert old.bundle not in bundles(other).values()
    other.activate(1, via="x")
    assert served(other) == old.bundle


def test_with_its_identity_another_unit_takes_the_place_of_the_first(first, other, pki, clock):
    own, factory = put(first, pki.leaf(issuer=None), GENERATED), put(first, pki.leaf(), FACTORY)
    put(other, pki.leaf(issuer=None), GENERATED)
    assert other.restore(backup_of(first, clock), via="x").codes == ("backup_empty",)
    receipt = other.restore(backup_of(first, clock), via="x", identity=True)
    assert receipt.state is State.CONFIRMED
    assert set(bundles(other).values()) == {own.bundle, factory.bundle}


def test_a_sealed_slot_of_this_device_is_not_replaced(first, other, pki, clock, tmp_path):
    put(first, pki.leaf(), FACTORY)
    factory = put(other, pki.leaf(), FACTORY)
    (slot,) = other.slots()
    other._activation.write_slot(replace(slot, sealed=True))
    other.close()
    with Store.open(tmp_path / "other", clock=clock) as again:
        receipt = again.restore(backup_of(first, clock), via="x", identity=True)
        assert (receipt.state, receipt.codes) == (State.REFUSED, ("slot_sealed",))
        assert served(again) == factory.bundle


def test_names_that_two_certificates_share_go_to_the_newer_as_before(first, other, pki, clock):
    put(first, pki.leaf(names=("a.test", "b.test")))
    put(first, pki.leaf(names=("a.test",)))
    put(first, pki.leaf(names=("b.test",)))
    other.restore(backup_of(first, clock), via="x")
    assert other.active.rows == first.active.rows
    assert other.active.default == first.active.default


def test_what_waits_for_confirmation_stays_behind_and_the_confirmed_one_goes_along(first, other, pki, clock):
    old = put(first, pki.leaf())
    put(first, pki.leaf(), confirm_within_s=600)
    put(first, pki.leaf(names=("new.test",)), confirm_within_s=600)
    other.restore(backup_of(first, clock), via="x")
    assert list(bundles(other).values()) == [old.bundle]


def test_an_expired_certificate_comes_back_with_a_warning(first, other, pki, clock):
    put(first, pki.leaf(days=10))
    backup = backup_of(first, clock)
    clock.go(days=11)
    receipt = other.restore(backup, via="x")
    assert (receipt.state, receipt.codes) == (State.CONFIRMED, ("restored_expired",))


def test_what_workers_cant_prepare_is_refused_and_leaves_no_key(first, other, pki, clock):
    put(first, pki.leaf())
    put(other, pki.leaf(issuer=None), GENERATED)
    before = files_under(other.path)
    other._succession._publisher.during = lambda _: 1 / 0
    receipt = other.restore(backup_of(first, clock), via="x")
    assert receipt.codes == ("prepare_failed",)
    after = files_under(other.path)
    del after[f"receipts/{receipt.id}.json"]
    assert after == before


def test_a_full_disk_leaves_what_was_there(first, tmp_path, pki, clock):
    for name in ("a.test", "b.test"):
        put(first, pki.leaf(names=(name,)))
    backup, template = backup_of(first, clock), tmp_path / "full"
    with Store.open(template, clock=clock) as store:
        own = put(store, pki.leaf(issuer=None), GENERATED).bundle
    steps, armed = [], False

    def fail(step, path):
        steps.append(step)
        if armed and step == "rename" and path.name == "active":
            raise OSError(28, "No space left on device")

    with Store.open(template, clock=clock, disk=Disk(fail)) as store:
        before, armed = files_under(template), True
        with pytest.raises(Exception, match="No space"):
            store.restore(backup, via="x")
        assert served(store) == own
        armed = False
        changed = {path for path, content in files_under(template).items() if before.get(path) != content}
        assert all(path.startswith("receipts/") for path in changed)


def test_a_damaged_store_gives_no_backup(first, pki, clock):
    receipt = put(first, pki.leaf())
    (first.path / "bundles" / receipt.bundle / "key.pem").write_bytes(b"")
    with pytest.raises(StoreCorrupt):
        take_backup(first.path, clock())


class TestWhatIsInIt:
    def test_a_key_that_is_not_its_certificates_is_refused(self, first, pki, clock):
        put(first, pki.leaf())
        document = json.loads(bytes_of(first, clock))
        document["bundles"][0]["key"] = pki.leaf().key_pem.decode()
        with pytest.raises(BackupUnreadable, match="key"):
            Backup.from_bytes(json.dumps(document).encode())

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("format", 2),
            ("format", "1"),
            ("slots", {}),
            ("bundles", []),
            ("bundles", [{"key": "", "chain": ""}]),
            ("bundles", [{}]),
            ("generation", -1),
            ("made_at", "yesterday"),
        ],
    )
    def test_whatever_makes_no_sense_is_refused(self, first, pki, clock, path, value):
        put(first, pki.leaf())
        document = json.loads(bytes_of(first, clock))
        document[path] = value
        with pytest.raises(BackupUnreadable):
            Backup.from_bytes(json.dumps(document).encode())

    @pytest.mark.parametrize(("key", "value"), [("names", ["other.test"]), ("bundle", "f" * 64)])
    def test_a_slot_without_its_certificate_is_refused(self, first, pki, clock, key, value):
        put(first, pki.leaf())
        document = json.loads(bytes_of(first, clock))
        document["slots"][0][key] = value
        with pytest.raises(BackupUnreadable):
            Backup.from_bytes(json.dumps(document).encode())

    def test_a_slot_that_is_there_twice_is_refused(self, first, pki, clock):
        put(first, pki.leaf())
        document = json.loads(bytes_of(first, clock))
        document["slots"] *= 2
        with pytest.raises(BackupUnreadable, match="twice"):
            Backup.from_bytes(json.dumps(document).encode())

    @pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"[" * 100_000])
    def test_what_is_no_document_is_refused(self, content):
        with pytest.raises(BackupUnreadable):
            Backup.from_bytes(content)
