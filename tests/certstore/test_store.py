from __future__ import annotations

import stat
from dataclasses import replace
from datetime import timedelta

import pytest

from certstore.decode import Candidate
from certstore.errors import NotFound, StoreLocked
from certstore.examination import InProcess
from certstore.findings import found
from certstore.gates import NullGate
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store, read_bundle, read_generation
from tests.storing import (
    NotingPublisher,
    OpenGate,
    ShutGate,
    files_under,
    propose,
    served,
)

CUSTOMER, ACME, FACTORY, GENERATED = Source


def test_an_empty_store_serves_nothing_and_is_private(store):
    assert store.active is None
    assert (store.slots(), store.receipts(), store.recovered) == ((), (), ())
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
    assert (store.path / "FORMAT").read_bytes() == b"1\n"


def test_a_good_candidate_is_live_and_confirmed_when_propose_returns(store, pki, clock, publisher):
    issued = pki.leaf(names=("device.test", "10.0.0.1"))
    receipt = propose(store, issued)
    assert receipt.state is State.CONFIRMED
    assert (receipt.source, receipt.via, receipt.generation) == (CUSTOMER, "test", 1)
    assert receipt.bundle == issued.bundle().id
    assert receipt.live_at == clock.now
    assert store.active == publisher.prepared[0] == publisher.committed[0]
    assert [(row.pattern, row.bundle) for row in store.active.rows] == [
        ("10.0.0.1", receipt.bundle),
        ("device.test", receipt.bundle),
    ]
    assert store.active.default == receipt.bundle
    assert store.active.receipt == receipt.id
    assert store.receipt(receipt.id) == receipt
    assert store.bundle(receipt.bundle).key_pem() == issued.key_pem
    (slot,) = store.slots()
    assert slot.last_confirmed == slot.bundle == receipt.bundle
    assert store.path.joinpath("active").read_bytes() == b"1\n"


def test_live_at_is_taken_after_every_worker_has_committed(tmp_path, pki, clock):
    class SlowPublisher(NotingPublisher):
        def commit(self, _):
            clock.go(seconds=3)

    with Store.open(tmp_path / "s", clock=clock, publisher=SlowPublisher()) as store:
        came = clock.now
        receipt = propose(store, pki.leaf())
    assert (receipt.live_at - came).total_seconds() == 3


def test_a_receipt_lies_on_the_disk_before_anything_else_is_done(tmp_path, pki, clock):
    seen = []
    publisher = NotingPublisher()
    with Store.open(tmp_path / "s", clock=clock, publisher=publisher) as store:
        publisher.during = lambda generation: seen.append(
            (store.path / "receipts" / f"{generation.receipt}.json").read_text()
        )
        propose(store, pki.leaf())
    assert '"state": "received"' in seen[0]


def test_while_it_is_prepared_a_generation_can_be_read_but_isnt_active(tmp_path, pki, clock):
    seen = []
    publisher = NotingPublisher()
    with Store.open(tmp_path / "s", clock=clock, publisher=publisher) as store:
        publisher.during = lambda generation: seen.append(
            (store.active, read_generation(store.path), store.bundle(generation.default or "").id)
        )
        receipt = propose(store, pki.leaf())
    assert seen == [(None, None, receipt.bundle)]


def test_what_was_stored_is_served_after_a_restart(tmp_path, pki, clock):
    with Store.open(tmp_path / "s", clock=clock) as store:
        receipt = propose(store, pki.leaf())
        before, active = files_under(store.path), store.active
    with Store.open(tmp_path / "s", clock=clock) as store:
        assert store.active == active
        assert store.receipts() == (receipt,)
        assert store.bundle(receipt.bundle).id == receipt.bundle
        assert store.recovered == ()
    assert files_under(tmp_path / "s") == before  # flash wears: nothing was written


def test_a_renewal_keeps_the_slot_and_the_numbers_grow(store, pki):
    first, second = propose(store, pki.leaf(key="ec")), propose(store, pki.leaf(key="rsa"))
    assert (first.generation, second.generation) == (1, 2)
    assert len(store.slots()) == 1
    assert served(store) == second.bundle
    assert [receipt.id for receipt in store.receipts()] == [second.id, first.id]
    assert store.receipts(limit=1) == (second,)


def test_no_source_touches_the_slot_of_another(store, pki):
    customer, acme = propose(store, pki.leaf(), CUSTOMER), propose(store, pki.leaf(), ACME)
    assert acme.state is State.CONFIRMED
    assert [slot.bundle for slot in store.slots()] == [customer.bundle, acme.bundle]
    assert served(store) == customer.bundle


def test_names_that_overlap_but_differ_make_two_slots(store, pki):
    both = propose(store, pki.leaf(names=("a.test", "b.test")))
    one = propose(store, pki.leaf(names=("a.test",)))
    assert {row.pattern: row.bundle for row in store.active.rows} == {
        "a.test": one.bundle,
        "b.test": both.bundle,
    }


def test_a_refused_candidate_changes_nothing_and_leaves_no_key_behind(store, pki, publisher, clock):
    good = propose(store, pki.leaf())
    before, active = files_under(store.path), store.active
    expired = pki.leaf(days=1, start=clock.now - timedelta(days=2))
    receipt = propose(store, expired)
    assert receipt.state is State.REFUSED
    assert receipt.codes[0] == "expired"
    assert store.active is active
    assert len(publisher.prepared) == 1
    added = files_under(store.path).keys() - before.keys()
    assert added == {f"receipts/{receipt.id}.json"}
    assert served(store) == good.bundle


def test_a_key_that_is_not_the_certificates_is_refused_by_its_code(store, pki):
    one, other = pki.leaf(), pki.leaf()
    mixed = Candidate((("a.key", one.key_pem), ("a.crt", other.chain_pem)))
    receipt = store.propose(mixed, source=CUSTOMER, via="test", examiner=InProcess(OpenGate()))
    assert (receipt.state, receipt.codes, receipt.bundle) == (State.REFUSED, ("key_mismatch",), None)


def test_what_the_gate_refuses_is_refused_and_what_it_notes_is_kept(store, pki):
    refused = propose(store, pki.leaf(), gate=ShutGate())
    assert (refused.state, refused.codes[-1]) == (State.REFUSED, "gate_failed")
    assert list((store.path / "bundles").iterdir()) == []
    noted = propose(store, pki.leaf(), gate=NullGate())
    assert (noted.state, noted.codes) == (State.CONFIRMED, ("gate_skipped",))


def test_a_gate_that_breaks_lets_nothing_through(store, pki):
    class BrokenGate:
        def try_out(self, _):
            raise RuntimeError("no entropy\nand more")

    receipt = propose(store, pki.leaf(), gate=BrokenGate())
    assert receipt.codes == ("gate_failed",)
    assert "no entropy" in receipt.findings[0].words


def test_a_bundle_that_cant_be_prepared_is_refused_and_its_traces_are_gone(store, pki, publisher):
    good = propose(store, pki.leaf())
    before, active = files_under(store.path), store.active
    publisher.during = lambda _: 1 / 0
    receipt = propose(store, pki.leaf())
    assert (receipt.state, receipt.codes) == (State.REFUSED, ("prepare_failed",))
    assert store.active is active
    after = files_under(store.path)
    del after[f"receipts/{receipt.id}.json"]
    assert after == before
    publisher.during = lambda _: None
    third = propose(store, pki.leaf())
    assert third.generation == 3  # number 2 was seen by the publisher, and never means anything else
    assert good.bundle != third.bundle == served(store)


def test_a_certificate_whose_key_is_here_already_needs_no_key(store, pki):
    issued = pki.leaf()
    propose(store, issued)
    assert store.known_key(issued.bundle().spki) is not None
    assert store.known_key("0" * 64) is None
    mended = Candidate((("leaf-only.crt", issued.cert_pem),))
    receipt = store.propose(mended, source=CUSTOMER, via="test", examiner=InProcess(OpenGate()))
    assert receipt.state is State.CONFIRMED
    assert receipt.bundle != issued.bundle().id  # the same leaf with another chain is another bundle


def test_what_is_live_already_is_confirmed_at_once_and_only_the_receipt_is_written(store, pki, publisher):
    issued = pki.leaf()
    first = propose(store, issued)
    before = files_under(store.path)
    gate = ShutGate()
    again = propose(store, issued, gate=gate)
    assert (again.state, again.codes) == (State.CONFIRMED, ("already_live",))
    assert (again.bundle, again.generation) == (first.bundle, 1)
    assert gate.tried == []
    assert len(publisher.prepared) == 1
    assert files_under(store.path).keys() - before.keys() == {f"receipts/{again.id}.json"}


def test_a_wrong_key_beside_what_is_live_already_is_told_of(store, pki):
    issued = pki.leaf()
    propose(store, issued)
    again = Candidate((("cert.pem", issued.chain_pem), ("key.pem", pki.leaf().key_pem)))
    receipt = store.propose(again, source=CUSTOMER, via="cli", examiner=InProcess())
    assert (receipt.state, receipt.codes) == (State.CONFIRMED, ("key_kept", "already_live"))


def test_who_holds_a_store_is_told_with_a_time_that_people_read(store):
    with pytest.raises(StoreLocked, match=r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"):
        Store.open(store.path, clock=store._clock)


def test_an_older_bundle_can_be_proposed_again(store, pki):
    old, new = pki.leaf(), pki.leaf()
    for issued in (old, new, old):
        propose(store, issued)
    assert served(store) == old.bundle().id
    assert store.active.number == 3


def test_a_sealed_slot_refuses_every_write(tmp_path, pki, clock):
    with Store.open(tmp_path / "s", clock=clock) as store:
        propose(store, pki.leaf(), FACTORY)
        (slot,) = store.slots()
        store._activation.write_slot(replace(slot, sealed=True))
    with Store.open(tmp_path / "s", clock=clock) as store:
        receipt = propose(store, pki.leaf(), FACTORY)
        assert receipt.codes == ("slot_sealed",)
        assert served(store) == slot.bundle


def test_a_refusal_decided_outside_gets_a_receipt(store):
    receipt = store.refused(CUSTOMER, "inbox", (found("file_empty", file="a.pem"),))
    assert (receipt.state, receipt.codes, receipt.via) == (State.REFUSED, ("file_empty",), "inbox")
    assert store.receipts() == (receipt,)


def test_readers_need_no_lock_and_no_store(store, pki):
    assert read_generation(store.path) is None
    receipt = propose(store, pki.leaf())
    assert read_generation(store.path) == store.active
    assert read_bundle(store.path, receipt.bundle).id == receipt.bundle
    for stranger in ("0" * 64, "../../etc"):
        with pytest.raises(NotFound):
            read_bundle(store.path, stranger)


def test_what_isnt_there_is_not_found(store):
    for ask in (store.bundle, store.receipt):
        with pytest.raises(NotFound) as caught:
            ask("0" * 64)
        assert caught.value.code == "not_found"


def test_keys_are_readable_by_their_owner_only(store, pki):
    propose(store, pki.leaf())
    for path in store.path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
