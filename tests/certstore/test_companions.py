"""An EC and an RSA certificate for the same names: brought, confirmed and taken back as one thing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from certstore.backup import Backup, take_backup
from certstore.bans import Reason
from certstore.decode import Candidate
from certstore.errors import Refusal
from certstore.examination import InProcess
from certstore.findings import found
from certstore.generation import Generation
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.requesting import Wish
from certstore.slots import Slot, Source
from certstore.store import Store
from tests.requesting import answered, hand_in
from tests.storing import Clock, NotingPublisher, OpenGate, ShutGate, active_of, candidate_of

CUSTOMER, ACME, FACTORY, GENERATED = Source
NAMES = ("device.test", "other.test")


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def boot():
    return [1.0]


@pytest.fixture
def publisher():
    return NotingPublisher()


@pytest.fixture
def store(tmp_path, clock, boot, publisher):
    opened = Store.open(
        tmp_path / "store", clock=clock, boot_clock=lambda: BootTime("b", boot[0]), publisher=publisher
    )
    with opened:
        yield opened


@pytest.fixture
def ec(pki):
    return pki.leaf(NAMES)


@pytest.fixture
def rsa(pki):
    return pki.leaf(NAMES, key="rsa")


def both(*issued) -> Candidate:
    files = [
        (name, content)
        for number, one in enumerate(issued)
        for name, content in ((f"{number}.key", one.key_pem), (f"{number}.crt", one.chain_pem))
    ]
    return Candidate(tuple(files))


def put(store, what, *, gate=None, source=CUSTOMER, **more):
    candidate = what if isinstance(what, Candidate) else candidate_of(what)
    examiner = InProcess(gate or OpenGate())
    return store.propose(candidate, source=source, via="test", examiner=examiner, **more)


def shown(store) -> set[tuple[str | None, str | None]]:
    """Give what every row and the default have: the ids of the bundle and of the one beside it."""
    active = active_of(store)
    pairs = [(row.bundle, row.beside) for row in active.rows]
    return {*pairs, (active.default, active.default_beside)}


def pair_of(ec, rsa) -> set[tuple[str, str | None]]:
    return {(ec.bundle().id, rsa.bundle().id)}


def alone(issued) -> set[tuple[str, str | None]]:
    return {(issued.bundle().id, None)}


@pytest.mark.parametrize("order", [0, 1], ids=["ec first", "rsa first"])
def test_two_that_come_together_are_both_served_the_ec_one_first(store, ec, rsa, order):
    gate = OpenGate()
    receipt = put(store, both(*((ec, rsa), (rsa, ec))[order]), gate=gate)
    assert receipt.state is State.CONFIRMED
    assert (receipt.bundle, receipt.beside) == (ec.bundle().id, rsa.bundle().id)
    assert shown(store) == pair_of(ec, rsa)
    assert {one.id for one in gate.tried} == {ec.bundle().id, rsa.bundle().id}
    assert active_of(store).bundles() == {ec.bundle().id, rsa.bundle().id}


def test_of_two_that_come_together_one_bad_one_refuses_both(store, pki, ec, now):
    put(store, ec)
    expired = pki.leaf(NAMES, key="rsa", days=1, start=now - timedelta(days=9))
    receipt = put(store, both(pki.leaf(NAMES), expired))
    assert receipt.state is State.REFUSED
    assert "expired" in receipt.codes
    assert shown(store) == alone(ec)
    assert put(store, both(pki.leaf(NAMES), pki.leaf(NAMES, key="rsa")), gate=ShutGate()).codes[-1] == (
        "gate_failed"
    )


def test_two_for_other_names_are_refused_in_words(store, pki, ec):
    receipt = put(store, both(ec, pki.leaf(("device.test",), key="rsa")))
    assert receipt.codes[-1:] == ("beside_names_differ",)
    assert "device.test, other.test" in receipt.findings[-1].words


@pytest.mark.parametrize("kinds", [("ec", "ec"), ("rsa", "rsa"), ("ec", "rsa", "rsa"), ("ec", "ed25519")])
def test_no_other_two_can_come_together(store, pki, kinds):
    receipt = put(store, both(*(pki.leaf(NAMES, key=kind) for kind in kinds)))
    assert receipt.state is State.REFUSED
    assert "several_leaves" in receipt.codes


@pytest.mark.parametrize("first", ["ec", "rsa"])
def test_one_is_put_beside_what_is_there_where_that_is_asked_for(store, ec, rsa, first):
    here, comes = (ec, rsa) if first == "ec" else (rsa, ec)
    put(store, here)
    receipt = put(store, comes, beside=True)
    assert receipt.state is State.CONFIRMED
    assert (receipt.bundle, receipt.beside) == (ec.bundle().id, rsa.bundle().id)
    assert shown(store) == pair_of(ec, rsa)
    assert len(store.slots()) == 1


def test_one_put_beside_a_pair_replaces_its_own_kind(store, pki, ec, rsa):
    put(store, both(ec, rsa))
    renewed = pki.leaf(NAMES, key="rsa")
    assert put(store, renewed, beside=True).codes == ()
    assert shown(store) == pair_of(ec, renewed)
    fresh = pki.leaf(NAMES)
    put(store, fresh, beside=True)
    assert shown(store) == pair_of(fresh, renewed)


def test_beside_nothing_none_can_stand(store, pki, ec, rsa):
    assert put(store, ec, beside=True).codes[-1] == "nothing_beside"
    put(store, ec)
    assert put(store, pki.leaf(NAMES), beside=True).codes[-1] == "nothing_beside"
    assert put(store, pki.leaf(("device.test",), key="rsa"), beside=True).codes[-1] == "nothing_beside"
    assert put(store, pki.leaf(NAMES, key="ed25519"), beside=True).codes[-1] == "beside_kind"
    assert put(store, rsa, beside=True, source=ACME).codes[-1] == "nothing_beside"
    assert shown(store) == alone(ec)


def test_one_that_comes_alone_takes_the_place_of_both_and_says_so(store, pki, ec, rsa):
    put(store, both(ec, rsa))
    renewed = pki.leaf(NAMES)
    receipt = put(store, renewed)
    assert receipt.codes == ("beside_gone",)
    assert "RSA" in receipt.findings[0].words
    assert shown(store) == alone(renewed)
    store.roll_back(store.slots()[0].key, via="test")
    assert shown(store) == pair_of(ec, rsa)
    renewed = pki.leaf(NAMES, key="rsa")
    assert put(store, renewed).codes == ("beside_gone",)
    assert shown(store) == alone(renewed)


def test_what_is_live_already_changes_nothing(store, ec, rsa):
    put(store, both(ec, rsa))
    number = active_of(store).number
    for receipt in (put(store, both(rsa, ec)), put(store, rsa, beside=True), put(store, ec, beside=True)):
        assert receipt.codes[-1] == "already_live"
        assert (receipt.bundle, receipt.beside) == (ec.bundle().id, rsa.bundle().id)
    assert active_of(store).number == number


def test_the_same_two_imported_one_after_the_other_again_change_nothing(store, ec, rsa):
    put(store, ec)
    put(store, rsa, beside=True)
    number = active_of(store).number
    assert put(store, ec).codes == ("beside_stays", "already_live")
    assert put(store, rsa, beside=True).codes == ("already_live",)
    assert put(store, rsa).codes == ("beside_stays", "already_live")
    assert (active_of(store).number, shown(store)) == (number, pair_of(ec, rsa))
    _, told = store.rehearse(candidate_of(ec), source=CUSTOMER, examiner=InProcess(OpenGate()))
    assert [one.code for one in told] == ["beside_stays", "already_live"]


def test_a_pair_on_probation_goes_back_and_is_confirmed_as_one(store, pki, ec, rsa, boot):
    put(store, both(ec, rsa))
    new_ec, new_rsa = pki.leaf(NAMES), pki.leaf(NAMES, key="rsa")
    live = put(store, both(new_ec, new_rsa), confirm_within_s=60.0)
    assert live.state is State.LIVE
    assert shown(store) == pair_of(new_ec, new_rsa)
    boot[0] += 61
    assert [one.state for one in store.end_probation()] == [State.ROLLED_BACK]
    assert shown(store) == pair_of(ec, rsa)
    again = put(store, both(new_ec, new_rsa), confirm_within_s=60.0)
    store.confirm(again.id, via="test")
    assert store.slots()[0].is_confirmed
    boot[0] += 61
    assert store.end_probation() == ()
    assert shown(store) == pair_of(new_ec, new_rsa)


def test_one_put_beside_on_probation_leaves_the_first_alone_when_it_goes_back(store, ec, rsa, boot):
    put(store, ec)
    put(store, rsa, beside=True, confirm_within_s=60.0)
    assert shown(store) == pair_of(ec, rsa)
    boot[0] += 61
    store.end_probation()
    assert shown(store) == alone(ec)


def test_a_start_serves_the_pair_again(store, tmp_path, clock, ec, rsa):
    put(store, both(ec, rsa))
    before = active_of(store)
    store.close()
    with Store.open(tmp_path / "store", clock=clock) as again:
        assert again.recovered == ()
        assert active_of(again) == before
        assert Generation.from_json(before.to_json()) == before


@pytest.mark.parametrize("lost", ["ec", "rsa"])
def test_where_one_is_damaged_the_other_serves_everybody(store, tmp_path, clock, ec, rsa, lost):
    put(store, both(ec, rsa))
    gone, left = (ec, rsa) if lost == "ec" else (rsa, ec)
    store.close()
    (tmp_path / "store" / "bundles" / gone.bundle().id / "chain.pem").write_bytes(b"")
    with Store.open(tmp_path / "store", clock=clock) as again:
        assert "slot_fallen" in [one.code for one in again.recovered]
        assert shown(again) == alone(left)


def test_a_banned_key_of_one_leaves_the_other_serving(store, publisher, ec, rsa):
    put(store, both(ec, rsa))
    receipt = store.ban(ec.bundle().spki, via="test")
    assert receipt.state is State.CONFIRMED
    assert "out_of_service" in receipt.codes
    assert shown(store) == alone(rsa)
    assert publisher.ended == [(frozenset({ec.bundle().id}), Reason.KEY_COMPROMISE)]
    assert put(store, both(ec, rsa)).codes[-1] == "key_banned"


def test_a_lost_key_that_is_replaced_beside_the_other_is_the_only_one_that_is_banned(store, pki, ec, rsa):
    put(store, both(ec, rsa))
    put(store, pki.leaf(NAMES), beside=True, reason=Reason.KEY_COMPROMISE)
    assert [ban.spki for ban in store.bans()] == [ec.bundle().spki]
    fresh = pki.leaf(NAMES, key=generate_private_key(65_537, 2048))  # the others have one key, for speed
    refused = put(store, fresh, reason=Reason.KEY_COMPROMISE)
    assert (refused.state, refused.codes[-1]) == (State.REFUSED, "which_key_lost"), "nobody has said which"
    assert [ban.spki for ban in store.bans()] == [ec.bundle().spki]
    assert put(store, both(pki.leaf(NAMES), fresh), reason=Reason.KEY_COMPROMISE).state is State.CONFIRMED
    assert rsa.bundle().spki in {ban.spki for ban in store.bans()}


def test_an_expired_half_yields_to_no_self_signed_one_and_to_none_that_is_not_valid_yet(
    store, pki, clock, now
):
    stood = pki.leaf(NAMES, days=2)
    other = pki.leaf(NAMES, days=900)
    put(store, other, source=ACME)
    later = now + timedelta(days=100)
    for worse in (pki.leaf(NAMES, key="rsa", issuer=None, days=900), pki.leaf(NAMES, key="rsa", start=later)):
        put(store, both(stood, worse))
        clock.now = now + timedelta(days=3)
        store.refresh()
        assert shown(store) == alone(other), "as with the expired one alone"
        clock.now = now
        store.remove(store.slots()[0].key, via="test")


def test_what_was_asked_for_as_the_successor_of_one_leaves_the_other(store, pki, ec, rsa):
    put(store, both(ec, rsa))
    wish = Wish(NAMES, renews=store.slots()[0].key)
    asked = store.requests.make(wish, via="renewal")
    assert asked.renews == ec.bundle().id
    receipt = hand_in(store, answered(pki, asked))
    assert "beside_gone" not in receipt.codes
    ((new, beside),) = shown(store)
    assert (new != ec.bundle().id, beside) == (True, rsa.bundle().id)


def test_of_a_pair_whose_one_key_is_banned_the_other_comes_back(store, pki, ec, rsa):
    put(store, both(ec, rsa))
    pair = active_of(store).number
    key = store.slots()[0].key
    put(store, pki.leaf(NAMES))
    store.ban(ec.bundle().spki, via="test")
    receipt = store.roll_back(key, via="test")
    assert (receipt.state, receipt.bundle, receipt.beside) == (State.CONFIRMED, rsa.bundle().id, None)
    assert "half_left_out" in receipt.codes
    assert shown(store) == alone(rsa)
    put(store, pki.leaf(NAMES))
    assert "half_left_out" in store.activate(pair, via="test").codes
    assert shown(store) == alone(rsa)


def test_beside_one_whose_key_is_banned_a_new_one_stands_alone(store, pki, ec, rsa):
    put(store, both(ec, rsa))
    store.ban(ec.bundle().spki, via="test")
    fresh = pki.leaf(NAMES, key=generate_private_key(65_537, 2048))
    receipt = put(store, fresh, beside=True)
    assert ec.bundle().id not in {receipt.bundle, receipt.beside}


def test_removed_both_go_and_come_back(store, pki, ec, rsa):
    put(store, pki.leaf(), source=ACME)
    put(store, both(ec, rsa))
    key = store.slots()[0].key
    removed = store.remove(key, via="test")
    assert (removed.bundle, removed.beside) == (ec.bundle().id, rsa.bundle().id)
    assert not {ec.bundle().id, rsa.bundle().id} & active_of(store).bundles()
    store.roll_back(key, via="test")
    assert pair_of(ec, rsa) <= shown(store)


def test_pruning_keeps_both(store, ec, rsa):
    put(store, both(ec, rsa))
    store.prune(keep=0)
    assert store.bundle(rsa.bundle().id) == rsa.bundle()
    assert shown(store) == pair_of(ec, rsa)


def test_an_expired_ec_certificate_leaves_its_clients_to_a_valid_rsa_one(store, pki, clock, rsa):
    brief = pki.leaf(NAMES, days=2)
    put(store, both(brief, rsa))
    clock.go(days=3)
    assert store.refresh() is not None
    assert shown(store) == alone(rsa)


def test_an_expired_rsa_certificate_stays_for_those_who_can_use_no_other(store, pki, clock, ec):
    brief = pki.leaf(NAMES, key="rsa", days=2)
    put(store, both(ec, brief))
    clock.go(days=3)
    assert store.refresh() is None
    assert shown(store) == pair_of(ec, brief)


def test_a_backup_has_both_and_leaves_out_only_what_is_banned(store, tmp_path, clock, ec, rsa):
    put(store, both(ec, rsa))
    backup = Backup.from_bytes(take_backup(store.path, clock()).to_bytes())
    with Store.open(tmp_path / "other", clock=clock) as other:
        other.restore(backup, via="test")
        assert shown(other) == pair_of(ec, rsa)
        other.ban(rsa.bundle().spki, via="test")
        told = other.restore(backup, via="test")
        assert told.state is State.CONFIRMED
        assert "banned_left_out" in told.codes
        assert shown(other) == alone(ec)


def test_what_is_only_true_of_one_that_stands_alone_is_not_told_of_a_pair(store, pki, ec, rsa):
    gate = OpenGate(found("clients_without_key", count=1, all=2, key="RSA"))
    assert put(store, both(ec, rsa), gate=gate).codes == ()
    renewed = pki.leaf(NAMES, key="rsa")
    assert put(store, renewed, gate=gate).codes == ("clients_without_key", "beside_gone")


def test_a_rehearsal_tells_of_both_and_keeps_nothing(store, ec, rsa):
    examiner = InProcess(OpenGate())
    bundles, _ = store.rehearse(both(rsa, ec), source=CUSTOMER, examiner=examiner)
    assert [one.key_type for one in bundles] == ["EC", "RSA"]
    assert store.slots() == ()
    assert store.receipts() == ()
    with pytest.raises(Refusal) as refused:
        store.rehearse(candidate_of(rsa), source=CUSTOMER, examiner=examiner, beside=True)
    assert [one.code for one in refused.value.findings][-1:] == ["nothing_beside"]
    put(store, ec)
    _, found_now = store.rehearse(candidate_of(rsa), source=CUSTOMER, examiner=examiner, beside=True)
    assert found_now == ()


def test_a_slot_of_before_there_were_pairs_is_read_as_one_without(store, ec):
    put(store, ec)
    written = store.slots()[0].to_json()
    assert not {"beside", "confirmed_beside"} & written.keys()
    assert Slot.from_json(written) == store.slots()[0]
