"""A store over time: expiry, memory of what was handled, pruning, clocks, threads, our own identity."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from certstore.atomic import Disk
from certstore.errors import Refusal, StoreGone, StoreInsecure, StoreLocked, StoreNewer, StoreNotWritable
from certstore.findings import found
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store
from tests.storing import Clock, NotingPublisher, files_under, propose, served

CUSTOMER, ACME, FACTORY, GENERATED = Source


# --- expiry ---


def test_an_expired_certificate_gives_way_to_a_valid_one_of_another_real_source(store, pki, clock, publisher):
    propose(store, pki.leaf(days=10))
    acme = propose(store, pki.leaf(days=90), ACME)
    assert store.refresh() is None
    clock.go(days=11)
    generation = store.refresh()
    assert generation is store.active is publisher.committed[-1]
    assert (generation.default, generation.cause, generation.receipt) == (acme.bundle, "expiry", None)
    before = files_under(store.path)
    assert store.refresh() is None
    assert files_under(store.path) == before


def test_an_expired_certificate_stays_when_only_our_own_could_follow(store, pki, clock):
    customer = propose(store, pki.leaf(days=10))
    propose(store, pki.leaf(days=90, issuer=None), GENERATED)
    clock.go(days=11)
    assert store.refresh() is None
    assert served(store) == customer.bundle


def test_a_refresh_that_cant_be_prepared_leaves_what_is_served_and_is_tried_again(
    store, pki, clock, publisher
):
    customer = propose(store, pki.leaf(days=10))
    propose(store, pki.leaf(days=90), ACME)
    clock.go(days=11)
    publisher.during = lambda _: 1 / 0
    with pytest.raises(Refusal, match="could not load"):
        store.refresh()
    assert served(store) == customer.bundle
    publisher.during = lambda _: None
    assert store.refresh() is not None


def test_a_clock_before_the_build_date_expires_nothing_and_refuses_nothing_for_its_dates(tmp_path, pki):
    clock = Clock(datetime(1970, 1, 1, tzinfo=UTC))
    with Store.open(tmp_path / "s", clock=clock) as store:
        assert not store.clock_plausible()
        receipt = propose(store, pki.leaf())
        assert receipt.state is State.CONFIRMED
        assert "not_yet_valid_doubtful" in receipt.codes
        assert store.refresh() is None


def test_a_clock_set_back_behind_the_newest_receipt_is_not_believed(store, pki, clock):
    propose(store, pki.leaf())
    assert store.clock_plausible()
    clock.go(days=-30)
    assert not store.clock_plausible()
    propose(store, pki.leaf())
    assert not store.clock_plausible()  # nor after it has written once


def test_a_clock_that_once_stood_in_2099_is_forgotten_in_time(store, pki, clock, now):
    clock.now = datetime(2099, 1, 1, tzinfo=UTC)
    store.refused(CUSTOMER, "inbox", (found("file_empty", file="x"),))
    clock.now = now
    assert not store.clock_plausible()
    for _ in range(20):
        store.refused(CUSTOMER, "inbox", (found("file_empty", file="x"),))
    assert store.clock_plausible()


# --- handled ---


def test_what_was_handled_is_remembered_over_a_restart_by_path_and_content(tmp_path, clock):
    with Store.open(tmp_path / "s", clock=clock) as store:
        receipt = store.refused(CUSTOMER, "inbox", (found("file_empty", file="x"),))
        assert store.handled("/inbox", "d1") is None
        store.remember("/inbox", "d1", receipt.id)
        before = files_under(store.path)
        store.remember("/inbox", "d1", receipt.id)
        assert files_under(store.path) == before
    with Store.open(tmp_path / "s", clock=clock) as store:
        assert store.handled("/inbox", "d1") == receipt.id
        assert store.handled("/inbox", "d2") is store.handled("/other", "d1") is None


def test_a_path_that_is_no_text_can_be_remembered(tmp_path, clock):
    path = os.fsdecode(b"/inbox/caf\xe9\n")
    with Store.open(tmp_path / "s", clock=clock) as store:
        store.remember(path, "d", "000001-00000000")
    with Store.open(tmp_path / "s", clock=clock) as store:
        assert store.handled(path, "d") == "000001-00000000"


# --- pruning ---


def test_pruning_keeps_the_active_those_in_use_and_some_more_with_their_bundles(store, pki):
    receipts = [propose(store, pki.leaf()) for _ in range(6)]
    store.prune(keep=2, in_use=frozenset({1}))
    numbers = sorted(int(path.stem) for path in (store.path / "generations").iterdir())
    assert numbers == [1, 4, 5, 6]
    kept = {path.name for path in (store.path / "bundles").iterdir()}
    # generation 4 knows number 3's bundle as the way back
    assert kept == {receipts[number - 1].bundle for number in (1, 3, 4, 5, 6)}
    assert store.known_key(pki.leaf().bundle().spki) is None
    before = files_under(store.path)
    store.prune(keep=2, in_use=frozenset({1}))
    assert files_under(store.path) == before


def test_old_receipts_and_memories_go_but_never_those_that_are_named(store, pki, monkeypatch):
    first = propose(store, pki.leaf())
    monkeypatch.setattr("certstore.ledger.Ledger.prune.__defaults__", (5,), raising=True)
    monkeypatch.setattr("certstore.ledger.Handled.prune.__defaults__", (3,), raising=True)
    for number in range(10):
        refused = store.refused(CUSTOMER, "inbox", (found("file_empty", file="x"),))
        store.remember("/inbox", f"d{number}", refused.id)
    store.prune()
    assert len(store.receipts()) == 6
    assert store.receipts()[-1] == first
    assert [number for number in range(10) if store.handled("/inbox", f"d{number}")] == [7, 8, 9]
    assert len(list((store.path / "handled").iterdir())) == 3


def test_numbers_of_receipts_go_on_after_a_restart(tmp_path, pki, clock):
    with Store.open(tmp_path / "s", clock=clock) as store:
        first = propose(store, pki.leaf())
    clock.go(days=-400)
    with Store.open(tmp_path / "s", clock=clock) as store:
        second = propose(store, pki.leaf())
        assert store.receipts() == (second, first)


# --- our own identity ---


def test_of_our_own_identities_only_the_newest_two_stay(store, pki):
    for number in range(5):
        propose(store, pki.leaf(names=(f"10.0.0.{number}", "device.local"), issuer=None), GENERATED)
    assert [min(slot.names) for slot in sorted(store.slots(), key=lambda s: s.since)] == [
        "10.0.0.3",
        "10.0.0.4",
    ]
    assert len(list((store.path / "slots" / "generated").iterdir())) == 2
    for number in range(3):
        propose(store, pki.leaf(names=(f"{number}.test",)))
    assert len(store.slots()) == 5


# --- who may open it ---


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o777])
def test_a_store_that_others_can_enter_is_refused_with_the_fix(tmp_path, clock, mode):
    root = tmp_path / "s"
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(StoreInsecure, match=f"{mode:04o}") as caught:
        Store.open(root, clock=clock)
    assert f"chmod 700 {root}" in caught.value.hint
    root.chmod(0o700)
    Store.open(root, clock=clock).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_store_of_somebody_else_is_refused(tmp_path, clock):
    root = tmp_path / "s"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, -1)
    with pytest.raises(StoreInsecure, match="12345"):
        Store.open(root, clock=clock)


def test_a_store_that_is_held_is_locked_until_it_is_closed(store, clock):
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}, since 20"):
        Store.open(store.path, clock=clock)
    store.close()
    store.close()
    Store.open(store.path, clock=clock).close()


def test_a_closed_store_can_be_read_but_not_changed(store, pki):
    receipt = propose(store, pki.leaf())
    store.close()
    assert served(store) == store.bundle(receipt.bundle).id
    with pytest.raises(StoreNotWritable, match="closed"):
        propose(store, pki.leaf())
    with pytest.raises(StoreNotWritable):
        store.remember("/inbox", "d", receipt.id)


def test_a_place_that_is_no_folder_says_so(tmp_path, clock):
    (tmp_path / "s").write_bytes(b"")
    with pytest.raises(StoreNotWritable, match="not a folder"):
        Store.open(tmp_path / "s", clock=clock)
    with pytest.raises(StoreNotWritable):
        Store.open(tmp_path / "s" / "below", clock=clock)


def test_a_newer_format_is_served_and_never_changed(tmp_path, pki, clock):
    """The firmware went back: the device stays reachable with what it has."""
    root = tmp_path / "s"
    with Store.open(root, clock=clock) as store:
        receipt = propose(store, pki.leaf())
    (root / "FORMAT").write_bytes(b"2\n")
    (root / ".new-thing").write_bytes(b"of the newer version")
    before = files_under(root)
    with Store.open(root, clock=clock) as store:
        assert served(store) == receipt.bundle
        assert [finding.code for finding in store.recovered] == ["store_read_only"]
        with pytest.raises(StoreNewer) as caught:
            propose(store, pki.leaf())
        assert (caught.value.found, caught.value.known) == (2, 1)
        assert store.refresh() is None
        store.prune()
    assert files_under(root) == before


@pytest.mark.parametrize("content", [b"", b"two", b"99999999999999"])
def test_a_format_that_cant_be_read_bars_writing_only(tmp_path, pki, clock, content):
    root = tmp_path / "s"
    with Store.open(root, clock=clock) as store:
        receipt = propose(store, pki.leaf())
    (root / "FORMAT").write_bytes(content)
    with Store.open(root, clock=clock) as store:
        assert served(store) == receipt.bundle
        with pytest.raises(Exception, match="damaged"):
            propose(store, pki.leaf())


def test_a_folder_that_was_replaced_is_never_changed_and_the_same_one_is_taken_up_again(tmp_path, pki, clock):
    root, away = tmp_path / "s", tmp_path / "away"
    with Store.open(root, clock=clock) as store:
        receipt = propose(store, pki.leaf())
        root.rename(away)
        with pytest.raises(StoreGone):
            propose(store, pki.leaf())
        with Store.open(root, clock=clock) as other:  # somebody else's, made there meanwhile
            theirs = propose(other, pki.leaf())
            before = files_under(root), files_under(away)
            for change in (lambda: propose(store, pki.leaf()), lambda: store.at_rest().__enter__()):
                with pytest.raises(StoreGone, match="replaced"):
                    change()
            store.prune()
            assert store.refresh() is None
            assert store.prove(10, [receipt.bundle]) == ()
            assert store.is_read_only
            assert not store.is_here
            assert served(store) == receipt.bundle != theirs.bundle
            assert (files_under(root), files_under(away)) == before
        root.rename(tmp_path / "theirs")
        away.rename(root)
        assert store.is_here
        assert propose(store, pki.leaf()).state is State.CONFIRMED


# --- threads ---


def test_reading_never_waits_for_a_change_under_way(tmp_path, pki, clock):
    """A publisher may ask the event loop, which reads the store, while the proposing thread waits for it."""
    publisher = NotingPublisher()
    answers = []
    with Store.open(tmp_path / "s", clock=clock, publisher=publisher) as store:

        def ask(generation):
            def look():
                answers.append(
                    (store.active, store.bundle(generation.default), store.receipts(), store.slots())
                )
                store.known_key("0" * 64)
                store.handled("/", "d")
                store.clock_plausible()

            thread = threading.Thread(target=look)
            thread.start()
            thread.join(10)

        publisher.during = ask
        propose(store, pki.leaf())
    assert len(answers) == 1


def test_proposals_from_many_threads_come_one_after_another(store, pki, publisher):
    candidates = [pki.leaf(names=(f"{number}.test",)) for number in range(8)]
    receipts = []
    threads = [
        threading.Thread(target=lambda issued=issued: receipts.append(propose(store, issued)))
        for issued in candidates
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(receipt.generation for receipt in receipts) == list(range(1, 9))
    assert [generation.number for generation in publisher.committed] == list(range(1, 9))
    assert len(store.slots()) == len(store.active.rows) == 8
    assert len({receipt.id for receipt in receipts}) == 8


def test_an_interrupted_proposal_is_undone_and_says_so(store, pki, publisher):
    first = propose(store, pki.leaf())
    before = files_under(store.path)

    def interrupt(generation):
        raise KeyboardInterrupt

    publisher.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        propose(store, pki.leaf())
    newest = store.receipts()[0]
    assert (newest.state, newest.codes) == (State.REFUSED, ("interrupted",))
    after = files_under(store.path)
    del after[f"receipts/{newest.id}.json"]
    assert after == before
    assert served(store) == first.bundle


def test_what_was_interrupted_behind_the_point_of_no_return_is_never_called_refused(
    store, pki, clock, publisher, monkeypatch
):
    def fail(generation):
        raise KeyboardInterrupt

    monkeypatch.setattr(publisher, "commit", fail)
    with pytest.raises(KeyboardInterrupt):
        propose(store, pki.leaf())
    (receipt,) = store.receipts()
    assert receipt.state is State.RECEIVED
    store.close()
    with Store.open(store.path, clock=clock) as again:
        assert again.receipt(receipt.id).state is State.CONFIRMED
        assert served(again) == again.receipt(receipt.id).bundle


def test_an_interrupt_just_behind_the_rename_leaves_memory_and_disk_agreeing(store, pki, monkeypatch):
    point_at = store._archive.point_at

    def interrupted(number):
        point_at(number)
        raise KeyboardInterrupt

    monkeypatch.setattr(store._archive, "point_at", interrupted)
    with pytest.raises(KeyboardInterrupt):
        propose(store, pki.leaf())
    monkeypatch.undo()
    assert store.active.number == 1
    propose(store, pki.leaf(("other.test",)))
    assert {row.pattern for row in store.active.rows} == {"device.test", "other.test"}


def test_a_bundle_that_was_set_aside_and_then_brought_in_again_stays(store, pki):
    issued = pki.leaf()
    first = propose(store, issued)
    factory = propose(store, pki.leaf(), FACTORY)
    assert store.set_aside([first.bundle]).default == factory.bundle
    assert propose(store, issued).bundle == served(store) == first.bundle
    assert store.refresh() is None
    assert served(store) == first.bundle


def test_a_bundle_is_set_aside_where_the_disk_takes_no_writes_too(tmp_path, pki, clock, publisher):
    with Store.open(tmp_path / "store", clock=clock) as store:
        bad, good = propose(store, pki.leaf()), propose(store, pki.leaf(), FACTORY)
    (tmp_path / "store" / "FORMAT").write_bytes(b"99\n")
    before = files_under(tmp_path / "store")
    with Store.open(tmp_path / "store", clock=clock, publisher=publisher) as store:
        store.set_aside([bad.bundle])
        assert served(store) == publisher.committed[-1].default == good.bundle
    assert files_under(tmp_path / "store") == before


def test_pruning_never_removes_what_the_active_file_names(tmp_path, pki, clock):
    """A start that could not write serves a generation that only memory has."""
    root, full = tmp_path / "store", True
    with Store.open(root, clock=clock) as store:
        bad, _ = propose(store, pki.leaf()), propose(store, pki.leaf(), FACTORY)
    (root / "bundles" / bad.bundle / "key.pem").write_bytes(b"")

    def fail(step, path):
        if full:
            raise OSError(28, "No space left on device")

    with Store.open(root, clock=clock, disk=Disk(fail)) as store:
        full = False
        assert store.active is not None
        assert store.active.number == 3
        store.prune(keep=0)
    assert (root / "generations" / "2.json").exists()


def test_time_in_receipts_is_the_time_of_the_clock_that_was_handed_in(store, pki, clock):
    clock.now = clock.now + timedelta(hours=1)
    assert set(propose(store, pki.leaf()).times.values()) == {clock.now}
