"""A factory reset of a store: what goes, what stays, and what it takes to be whole."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.atomic import Disk
from certstore.erasure import Reset, Scope
from certstore.errors import NotFound, StoreNotWritable
from certstore.examination import InProcess
from certstore.issuers.deviceca import make as make_authority
from certstore.issuers.selfsigned import Identity
from certstore.receipts import State
from certstore.requesting import Wish
from certstore.slots import Source
from certstore.store import Store
from tests.crash.wholeness import assert_consistent
from tests.storing import active_of, files_under, propose, served

CUSTOMER, ACME, FACTORY, GENERATED = Source
BOTH = frozenset(Scope)


def clock() -> datetime:
    return datetime.now(UTC)


class Failing:
    """A disk that fails, from when it is told to, at each step that fits."""

    def __init__(self) -> None:
        self.fits = ""

    def __call__(self, step: str, path: Path) -> None:
        if self.fits and self.fits in f"{step} {path}":
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def inbox(tmp_path):
    path = tmp_path / "inbox"
    (path / ".refused" / "000001-00000000").mkdir(parents=True)
    (path / ".refused" / "000001-00000000" / "old.pem").write_bytes(b"an old key")
    (path / "new.pem").write_bytes(b"a key")
    (path / "elsewhere").symlink_to(tmp_path)
    return path


def own(pki):
    return pki.leaf(names=("own.test",), issuer=None).bundle()


def filled(store, pki):
    """Have something of everybody's in a store."""
    for source in (FACTORY, GENERATED, ACME):
        propose(store, pki.leaf(names=(f"{source}.test",)), source)
    receipts = [propose(store, pki.leaf()) for _ in range(3)]
    store.remember("/a/path", "digest", receipts[-1].id)
    return receipts[-1]


def test_after_a_reset_the_device_is_as_it_left_the_factory_and_nothing_of_the_customers_is_left(
    store, pki, inbox, tmp_path, publisher
):
    before = filled(store, pki)
    factory = next(slot for slot in store.slots() if slot.source is FACTORY)
    new = own(pki)
    receipt = store.reset(Reset(BOTH, new, (inbox,)), via="test")
    assert (receipt.state, receipt.cause, receipt.source) == (State.CONFIRMED, "reset", GENERATED)
    assert receipt.codes == ("unlinked_only",)
    assert receipt.generation == store.active.number > before.generation
    assert [slot.source for slot in store.slots()] == [FACTORY, GENERATED]
    assert store.slots()[0] == factory
    assert served(store) == factory.bundle  # the higher source
    assert {path.name for path in (store.path / "bundles").iterdir()} == {factory.bundle, new.id}
    assert list(inbox.iterdir()) == []
    assert tmp_path.exists()
    assert store.handled("/a/path", "digest") is None
    assert [one.id for one in store.receipts()] == [receipt.id, factory.receipt]
    assert [one.number for one in store.generations()] == [receipt.generation]
    assert publisher.committed[-1].number == receipt.generation
    assert store.watches_suspended
    assert_consistent(store)
    with pytest.raises(NotFound):
        store.roll_back((CUSTOMER, store.slots()[0].id), via="test")


def test_only_the_identity_goes_where_only_that_is_meant(store, pki):
    filled(store, pki)
    kept = [slot for slot in store.slots() if slot.source is not GENERATED]
    receipts = {one.id for one in store.receipts()}
    new = own(pki)
    store.reset(Reset(frozenset({Scope.IDENTITY}), new), via="test")
    assert [slot for slot in store.slots() if slot.source is not GENERATED] == kept
    assert [slot.bundle for slot in store.slots() if slot.source is GENERATED] == [new.id]
    assert receipts < {one.id for one in store.receipts()}
    assert store.handled("/a/path", "digest") is not None
    assert not store.watches_suspended
    assert_consistent(store)


def test_what_is_sealed_stays_whoever_it_belongs_to(store, pki):
    propose(store, pki.leaf(issuer=None, names=("own.test",)), GENERATED)
    propose(store, pki.leaf())
    slot = store.slots()[0]
    store._activation.write_slot(replace(slot, sealed=True))
    view = store._succession.view
    store._succession.view = type(view).of(view.active, {**view.slots, slot.key: replace(slot, sealed=True)})
    store.reset(Reset(BOTH, own(pki)), via="test")
    assert [slot.source for slot in store.slots()] == [CUSTOMER, GENERATED]


def test_a_reset_that_would_leave_nobody_served_is_refused_and_changes_nothing(store, pki, inbox):
    mine = propose(store, pki.leaf())
    receipt = store.reset(Reset(frozenset({Scope.CUSTOMER}), beside=(inbox,)), via="test")
    assert (receipt.state, receipt.codes) == (State.REFUSED, ("reset_leaves_nothing",))
    assert served(store) == mine.bundle
    assert (inbox / "new.pem").exists()
    assert not store.watches_suspended


def test_a_reset_that_workers_cant_serve_is_refused_and_changes_nothing(store, pki, inbox, publisher):
    mine = filled(store, pki)
    before = {name: data for name, data in files_under(store.path).items() if "receipts" not in name}
    publisher.during = lambda _: 1 / 0
    receipt = store.reset(Reset(BOTH, own(pki), (inbox,)), via="test")
    publisher.during = lambda _: None
    assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "prepare_failed")
    assert {name: data for name, data in files_under(store.path).items() if "receipts" not in name} == before
    assert served(store) == mine.bundle
    assert (inbox / "new.pem").exists()
    store.prune()
    assert served(store) == mine.bundle


def test_what_means_nothing_is_no_wish(pki):
    for scopes, bundle in ((frozenset(), None), (BOTH, None), (frozenset({Scope.CUSTOMER}), own(pki))):
        with pytest.raises(ValueError, match="erases something"):
            Reset(scopes, bundle)


def test_watches_stay_suspended_over_starts_until_somebody_enables_them(store, pki, tmp_path):
    propose(store, pki.leaf(issuer=None), GENERATED)
    store.reset(Reset(BOTH, own(pki)), via="test")
    store.close()
    with Store.open(store.path, clock=clock) as again:
        assert again.watches_suspended
        assert again.enable_watches()
        assert not again.enable_watches()
    with Store.open(store.path, clock=clock) as again:
        assert not again.watches_suspended


@pytest.mark.parametrize("later", ["prune", "change", "start"])
def test_what_a_failing_disk_keeps_from_being_erased_is_owed_and_erased_as_soon_as_it_can_be(
    tmp_path, pki, inbox, later
):
    failing = Failing()
    root = tmp_path / "store"
    with Store.open(root, clock=clock, disk=Disk(failing)) as store:
        filled(store, pki)
        failing.fits = "handled"
        receipt = store.reset(Reset(BOTH, own(pki), (inbox,)), via="test")
        assert receipt.codes[-1] == "erasure_owed"
        assert store.watches_suspended
        assert store.owes_erasure
        assert [slot.source for slot in store.slots()] == [FACTORY, GENERATED]
        assert (inbox / "new.pem").exists()
        with pytest.raises(StoreNotWritable):
            propose(store, pki.leaf())
        with pytest.raises(StoreNotWritable):
            store.prune()
        failing.fits = ""
        if later == "prune":
            store.prune()
        elif later == "change":
            assert propose(store, pki.leaf()).state is State.CONFIRMED
    with Store.open(root, clock=clock) as store:
        assert [one.code for one in store.recovered] == (["reset_completed"] if later == "start" else [])
        assert list(inbox.iterdir()) == []
        assert len(list((root / "bundles").iterdir())) == (3 if later == "change" else 2)
        assert not (root / "reset.json").exists()
        assert_consistent(store)


def test_what_cant_be_removed_from_the_inbox_keeps_nothing_else_and_is_told(tmp_path, pki, inbox):
    failing = Failing()
    with Store.open(tmp_path / "store", clock=clock, disk=Disk(failing)) as store:
        filled(store, pki)
        failing.fits = f"unlink {inbox}/elsewhere"
        receipt = store.reset(Reset(BOTH, own(pki), (inbox,)), via="test")
        assert receipt.codes == ("unlinked_only", "erase_failed")
        assert receipt == store.receipt(receipt.id)
        assert [path.name for path in inbox.iterdir()] == ["elsewhere"]
        assert store.watches_suspended


def test_a_record_of_a_reset_that_never_came_about_is_void(tmp_path, pki, inbox):
    root = tmp_path / "store"
    with Store.open(root, clock=clock) as store:
        mine = filled(store, pki)
        active = active_of(store).number
    for number, named in (
        (active + 1, mine.id),
        (active, "000099-00000000"),
        (1, mine.id),
        (active - 1, "x"),
    ):
        record = {"receipt": named, "generation": number, "scopes": ["customer"], "beside": [str(inbox)]}
        (root / "reset.json").write_text(json.dumps(record))
        with Store.open(root, clock=clock) as store:
            assert served(store) == mine.bundle
            assert not (root / "reset.json").exists()
            assert (inbox / "new.pem").exists()
    (root / "reset.json").write_bytes(b"\0" * 40)
    with Store.open(root, clock=clock) as store:
        assert served(store) == mine.bundle
        assert not (root / "reset.json").exists()


def test_where_the_active_file_is_lost_the_slots_say_whether_the_reset_came_about(tmp_path, pki, inbox):
    failing, root = Failing(), tmp_path / "store"
    with Store.open(root, clock=clock, disk=Disk(failing)) as store:
        filled(store, pki)
        failing.fits = "handled"
        store.reset(Reset(BOTH, own(pki), (inbox,)), via="test")
    (root / "active").write_bytes(b"nonsense")
    with Store.open(root, clock=clock) as store:
        assert [one.code for one in store.recovered] == ["active_damaged", "reset_completed"]
        assert [slot.source for slot in store.slots()] == [FACTORY, GENERATED]
        assert list(inbox.iterdir()) == []


def test_numbers_of_generations_and_receipts_go_on_growing(store, pki):
    last = filled(store, pki)
    for _ in range(2):
        receipt = store.reset(Reset(BOTH, own(pki)), via="test")
        assert receipt.generation > last.generation
        assert receipt.id > last.id
        last = receipt
    store.close()
    with Store.open(store.path, clock=clock) as again:
        after = again.propose(pki.leaf().bundle(), source=CUSTOMER, via="test", examiner=InProcess())
        assert after.generation > last.generation
        assert after.id > last.id


def test_what_waits_for_an_authority_and_the_devices_own_authority_go_in_memory_too(store, pki, now):
    propose(store, pki.leaf(names=("own.test",), issuer=None), GENERATED)
    wanted = Identity(("own.test",), "", "own.test")
    store.device_ca.keep(make_authority(wanted.names, wanted, now))
    waiting = store.requests.make(Wish(("a.test",)), via="test")
    assert store.known_key(waiting.spki) is not None
    store.reset(Reset(frozenset({Scope.IDENTITY}), own(pki)), via="test")
    assert store.requests.all() == (waiting,)
    assert store.device_ca.current() is None
    store.reset(Reset(frozenset({Scope.CUSTOMER})), via="test")
    assert store.requests.all() == ()
    assert store.known_key(waiting.spki) is None
    assert [path.name for path in (store.path / "authority").rglob("*") if path.is_file()] == []


def test_a_banned_key_stays_banned(store, pki):
    propose(store, pki.leaf(names=("own.test",), issuer=None), GENERATED)
    lost = pki.leaf()
    store.ban(lost.bundle().spki, via="test")
    store.reset(Reset(BOTH, own(pki)), via="test")
    assert store.is_banned(lost.bundle().spki)
    assert propose(store, lost).state is State.REFUSED


def test_connections_of_what_goes_are_ended_and_no_others(store, pki, publisher):
    filled(store, pki)
    factory = next(slot.bundle for slot in store.slots() if slot.source is FACTORY)
    before = {path.name for path in (store.path / "bundles").iterdir()}
    store.reset(Reset(BOTH, own(pki)), via="test")
    assert publisher.ended == [(frozenset(before - {factory}), "reset")]
