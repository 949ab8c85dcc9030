"""Requests: a key that is made here waits for its certificate, is found by it, and never shows itself."""

from __future__ import annotations

import dataclasses
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certstore import firstboot
from certstore.backup import Backup, take_backup
from certstore.bundle import spki_of
from certstore.decode import Candidate
from certstore.errors import NotFound, Refusal
from certstore.examination import InProcess
from certstore.issuers.csr import KeyType, Subject, Wanted, new_key, request
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.requesting import KEPT, LONGEST, MOST, Wish
from certstore.requests import read_requests
from certstore.slots import Source
from certstore.store import Store
from tests.requesting import answer, answered, hand_in
from tests.storing import ShutGate, files_under, propose, served

NAMES = ("device.test", "192.0.2.1")


@pytest.fixture
def boot():
    return [BootTime("b", 1.0)]


@pytest.fixture
def store(tmp_path, clock, publisher, boot):
    with Store.open(
        tmp_path / "store", clock=clock, publisher=publisher, boot_clock=lambda: boot[-1]
    ) as store:
        yield store


def make(store, *names, **more):
    store._clock.go(seconds=1)
    return store.requests.make(Wish(names or NAMES, **more), via="test")


# --- what a request is ---


@pytest.mark.parametrize(
    ("kind", "size"),
    [("ec", 256), ("ec384", 384), ("rsa2048", 2048), ("rsa3072", 3072), ("rsa4096", 4096)],
)
def test_each_kind_of_key_makes_a_request_that_it_signed(kind, size):
    key = new_key(KeyType(kind))
    read = x509.load_pem_x509_csr(request(Wanted(NAMES, KeyType(kind)), key).encode())
    assert key.key_size == size
    assert read.is_signature_valid
    assert KeyType.of(key.public_key()) == kind
    assert spki_of(read.public_key()) == spki_of(key.public_key())


def test_it_asks_for_names_and_nothing_else(store):
    read = x509.load_pem_x509_csr(make(store, "Device.Test", "192.0.2.1", "*.b\u00fccher.test").pem.encode())
    (extension,) = read.extensions
    assert not extension.critical
    names = extension.value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert set(names.get_values_for_type(x509.DNSName)) == {"device.test", "*.xn--bcher-kva.test"}
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1"]
    assert read.subject.rfc4514_string() == "CN=device.test"  # the first that was said


def test_a_subject_is_what_was_said_the_widest_part_first(store):
    said = {"organization": "ACME", "country": "de", "common_name": "pump 3"}
    made = make(store, subject=said)
    assert x509.load_pem_x509_csr(made.pem.encode()).subject == x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "ACME"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "pump 3"),
        ]
    )
    bare = x509.load_pem_x509_csr(make(store, subject={"common_name": ""}).pem.encode())
    assert list(bare.subject) == []
    assert bare.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical  # RFC 5280 4.2.1.6


@pytest.mark.parametrize(
    "wish",
    [
        Wish(()),
        Wish(("no name",)),
        Wish(("a.test",), subject={"country": "DEU"}),
        Wish(("a.test",), subject={"common_name": "x" * 65}),
        Wish(("a.test",), subject={"locality": "a\nb"}),
        Wish(("a.test",), subject={"mail": "x"}),
        Wish(("a.test",), same_key=True),
        Wish(tuple(f"{n}.test" for n in range(101))),
    ],
    ids=str,
)
def test_what_can_stand_in_no_certificate_is_an_error_and_leaves_nothing(store, wish):
    before = files_under(store.path)
    with pytest.raises(ValueError, match=r"[a-z]"):
        store.requests.make(wish, via="test")
    assert files_under(store.path) == before


def test_no_key_is_made_before_the_random_generator_is_ready(store, monkeypatch):
    monkeypatch.setattr(firstboot, "random_ready", lambda: False)
    with pytest.raises(Refusal) as refused:
        make(store)
    assert refused.value.findings[0].code == "random_not_ready"
    assert store.requests.all() == ()


# --- where it lies ---


def test_only_its_owner_can_read_the_key_and_nothing_but_its_file_shows_it(store):
    made = make(store)
    folder = store.path / "authority" / "csr" / made.id
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "key.pem": 0o600,
        "request.json": 0o600,
    }
    assert {one.stat().st_mode & 0o777 for one in (folder, folder.parent, folder.parents[1])} == {0o700}
    secret = (folder / "key.pem").read_text().splitlines()[1]
    assert secret not in repr(made)
    assert secret not in json.dumps(made.to_json())
    assert secret.encode() not in (folder / "request.json").read_bytes()


def test_a_request_is_the_same_after_a_restart_and_for_who_only_reads(store, clock):
    made = [make(store), make(store, key_type=KeyType.RSA2048)]
    store.close()
    with Store.open(store.path, clock=clock) as again:
        assert list(again.requests.all()) == made
        assert read_requests(store.path) == (tuple(made), ())
        for one in made:
            key = again.known_key(one.spki)
            assert key is not None
            assert spki_of(key.public_key()) == one.spki
            assert again.requests.request(one.id) == one


def test_a_damaged_one_is_told_and_the_others_wait_on(store, clock):
    bad, good, swapped = (make(store) for _ in range(3))
    (store.path / "authority" / "csr" / bad.id / "request.json").write_text("{}")
    other = store.path / "authority" / "csr" / good.id / "key.pem"
    (store.path / "authority" / "csr" / swapped.id / "key.pem").write_bytes(other.read_bytes())
    store.close()
    with Store.open(store.path, clock=clock) as again:
        assert [finding.code for finding in again.recovered] == ["request_damaged"]
        assert {one.id for one in again.requests.all()} == {good.id, swapped.id}
        assert again.known_key(good.spki) is not None
        assert again.known_key(swapped.spki) is None  # another request's key is never lent for it


# --- the answer ---


@pytest.mark.parametrize("chain", [True, False])
def test_the_answer_finds_its_key_by_itself_and_the_request_is_done(store, pki, chain):
    made = make(store)
    receipt = hand_in(store, answered(pki, made, chain=chain))
    assert receipt.state is State.CONFIRMED
    assert "request_answered" in receipt.codes
    assert made.id in next(f.words for f in receipt.findings if f.code == "request_answered")
    assert store.requests.all() == ()
    assert not (store.path / "authority" / "csr" / made.id).exists()
    assert spki_of(store.bundle(receipt.bundle).key.public_key()) == made.spki
    assert served(store) == receipt.bundle
    again = hand_in(store, answered(pki, made))  # issued anew for the same key, which the bundle has now
    assert again.state is State.CONFIRMED


def test_several_wait_and_each_answer_finds_its_own(store, pki):
    first, second, third = make(store), make(store), make(store, "other.test")
    assert hand_in(store, answered(pki, second)).state is State.CONFIRMED
    assert {one.id for one in store.requests.all()} == {first.id, third.id}
    assert hand_in(store, answered(pki, third)).state is State.CONFIRMED
    assert [one.id for one in store.requests.all()] == [first.id]


def test_a_key_that_came_along_by_mistake_gives_way_to_the_one_that_waits(store, pki):
    made = make(store)
    with_key = Candidate((*answered(pki, made).files, ("their.key", pki.leaf().key_pem)))
    receipt = hand_in(store, with_key)
    assert receipt.state is State.CONFIRMED
    assert {"key_kept", "request_answered"} <= set(receipt.codes)


def test_what_matches_no_request_says_which_wait(store, pki):
    made = make(store)
    receipt = hand_in(store, Candidate((("cert.pem", pki.leaf().chain_pem),)))
    assert receipt.state is State.REFUSED
    assert receipt.codes == ("certificate_without_key", "requests_unmatched")
    assert made.id in receipt.findings[1].words
    mismatched = Candidate((("c.pem", pki.leaf().chain_pem), ("k.pem", pki.leaf().key_pem)))
    assert "requests_unmatched" in hand_in(store, mismatched).codes
    store.requests.remove(made.id)
    assert hand_in(store, mismatched).codes == ("key_mismatch",)


def test_names_that_the_authority_left_out_are_told(store, pki):
    made = make(store, "device.test", "a.wild.test", "192.0.2.1")
    receipt = hand_in(store, answer(pki, made, ("device.test", "*.wild.test")))
    assert receipt.state is State.CONFIRMED
    told = next(f.words for f in receipt.findings if f.code == "request_names_missing")
    assert "192.0.2.1" in told
    assert "a.wild.test" not in told
    assert store.requests.all() == ()


def test_a_refused_answer_leaves_the_request_waiting(store, pki):
    made = make(store)
    receipt = hand_in(store, answered(pki, made), InProcess(ShutGate()))
    assert (receipt.state, receipt.codes[-1]) == (State.REFUSED, "gate_failed")
    assert store.requests.all() == (made,)
    assert hand_in(store, answered(pki, made)).state is State.CONFIRMED


@pytest.mark.parametrize("way", ["over", "reboot", "rolled back"])
def test_an_answer_that_goes_back_from_probation_leaves_the_request_waiting(store, pki, clock, boot, way):
    propose(store, pki.leaf())
    made = make(store)
    receipt = hand_in(store, answered(pki, made), confirm_within_s=600)
    assert receipt.state is State.LIVE
    assert store.requests.all() == (made,)
    if way == "over":
        boot.append(BootTime("b", 700.0))
        store.end_probation()
    elif way == "rolled back":
        slot = next(slot for slot in store.slots() if not slot.is_confirmed)
        store.roll_back(slot.key, via="test")
    else:
        store.close()
        with Store.open(store.path, clock=clock, boot_clock=lambda: BootTime("c", 1.0)) as again:
            again.prune()
            assert again.requests.all() == (made,)
            assert hand_in(again, answered(pki, made)).state is State.CONFIRMED
            assert again.requests.all() == ()
        return
    store.prune(keep=0)
    assert store.requests.all() == (made,)
    assert hand_in(store, answered(pki, made)).state is State.CONFIRMED
    assert store.requests.all() == ()


def test_confirmed_it_is_done(store, pki):
    made = make(store)
    receipt = hand_in(store, answered(pki, made), confirm_within_s=600)
    assert store.requests.all() == (made,)
    store.confirm(receipt.id, via="test")
    assert store.requests.all() == ()


# --- no more of them than fit, and not for ever ---


def test_beyond_the_bound_a_new_one_is_refused_with_the_oldest_named(store):
    made = [make(store) for _ in range(MOST)]
    with pytest.raises(Refusal) as refused:
        make(store)
    (finding,) = refused.value.findings
    assert finding.code == "requests_full"
    assert made[0].id in finding.hint
    assert list(store.requests.all()) == made
    store.requests.remove(made[0].id)
    make(store)
    with pytest.raises(NotFound):
        store.requests.remove(made[0].id)


def test_unused_ones_expire_but_not_by_a_clock_that_is_wrong_nor_in_probation(store, pki, clock):
    old, late = make(store), make(store)
    hand_in(store, answered(pki, late), confirm_within_s=600)
    clock.now = old.expires_at
    clock.go(days=-1)
    young = make(store)
    assert store.requests.expire() == ()
    clock.go(days=1)
    assert store.requests.expire() == (old,)
    assert store.requests.all() == (late, young)
    assert not (store.path / "authority" / "csr" / old.id).exists()
    assert store.known_key(old.spki) is None


# --- renewal ---


def renewed(store, pki, days=90.0, **more):
    """Have a certificate that came from a request, and give its slot."""
    made = make(store, **more)
    receipt = hand_in(store, answered(pki, made, days=days))
    return next(slot for slot in store.slots() if slot.bundle == receipt.bundle)


def test_a_renewal_asks_for_the_same_with_a_new_key(store, pki):
    slot = renewed(store, pki, subject={"organization": "ACME"}, key_type=KeyType.EC384)
    made = store.requests.make(Wish(renews=slot.key), via="test")
    old = store.bundle(slot.bundle)
    assert made.wanted.names == old.names
    assert made.wanted.key_type is KeyType.EC384
    assert made.renews == slot.bundle
    assert made.spki != old.spki
    assert made.expires_at == old.not_after + KEPT
    wider = store.requests.make(Wish(("more.test",), renews=slot.key), via="test")
    assert wider.wanted.names == ("more.test",)


def test_a_certificate_without_end_can_be_renewed(store, pki, clock):
    issued = pki.leaf(days=365 * 7900)
    propose(store, issued)
    (slot,) = store.slots()
    made = store.requests.make(Wish(renews=slot.key), via="test")
    assert made.expires_at == clock() + LONGEST + KEPT


def test_with_the_same_key_it_waits_for_another_certificate_than_the_one_that_is_here(store, pki):
    slot = renewed(store, pki)
    made = store.requests.make(Wish(renews=slot.key, same_key=True), via="test")
    assert made.spki == store.bundle(slot.bundle).spki
    propose(store, pki.leaf(("elsewhere.test",)))  # a change of something else
    store.prune()
    assert store.requests.all() == (made,)
    receipt = hand_in(store, answered(pki, made, days=180))
    assert receipt.state is State.CONFIRMED
    assert receipt.bundle != slot.bundle
    assert store.requests.all() == ()


def test_in_the_last_third_the_next_request_is_ready_by_itself_once(store, pki, clock):
    slot = renewed(store, pki, days=90.0, subject={"organization": "ACME"})
    clock.go(days=59)
    assert store.requests.prepare() is None
    clock.go(days=2)
    made = store.requests.prepare()
    assert made is not None
    assert (made.via, made.renews, made.wanted.names) == ("renewal", slot.bundle, tuple(sorted(NAMES)))
    assert made.wanted.subject == Subject(common_name="device.test", organization="ACME")
    assert store.requests.prepare() is None
    store.requests.remove(made.id)  # who doesn't want it isn't asked again
    assert store.requests.prepare() is None
    store.close()
    with Store.open(store.path, clock=clock) as again:
        assert again.requests.prepare() is None


def test_a_certificate_that_came_with_its_key_is_nobodys_to_renew_here(store, pki, clock):
    propose(store, pki.leaf(days=90))
    propose(store, pki.leaf(days=90), Source.ACME)
    clock.go(days=80)
    assert store.requests.prepare() is None
    assert store.requests.all() == ()


def test_what_was_asked_for_is_forgotten_with_the_bundle(store, pki):
    slot = renewed(store, pki)
    file = store.path / "authority" / "answered" / f"{slot.bundle}.json"
    assert file.exists()
    for _ in range(2):  # the way back from the first names it still
        propose(store, pki.leaf(NAMES))
    store.prune(keep=0)
    assert not file.exists()


# --- a backup ---


def test_a_backup_carries_what_waits_and_the_answer_finds_its_key_there(store, pki, tmp_path, clock):
    propose(store, pki.leaf())
    made = make(store)
    content = take_backup(store.path, clock()).to_bytes()
    assert made.pem.encode().splitlines()[1] in content
    with Store.open(tmp_path / "other", clock=clock) as other:
        mine = make(other)
        other.restore(Backup.from_bytes(content), via="test")
        assert {one.id for one in other.requests.all()} == {made.id, mine.id}
        other.restore(Backup.from_bytes(content), via="test")
        assert len(other.requests.all()) == 2
        assert hand_in(other, answered(pki, made)).state is State.CONFIRMED
        assert other.requests.all() == (mine,)


def test_a_backup_from_before_there_were_requests_is_read_and_a_foreign_key_in_one_is_not(store, pki, clock):
    propose(store, pki.leaf())
    make(store)
    document = json.loads(take_backup(store.path, clock()).to_bytes())
    del document["requests"]
    assert Backup.from_bytes(json.dumps(document).encode()).requests == ()
    taken = take_backup(store.path, clock())
    ((one, _),) = taken.requests
    wrong = dataclasses.replace(taken, requests=((one, new_key(KeyType.EC)),))
    with pytest.raises(Exception, match="another key"):
        Backup.from_bytes(wrong.to_bytes())


def test_types_of_keys_are_what_they_say():
    assert isinstance(new_key(KeyType.EC), ec.EllipticCurvePrivateKey)
    assert isinstance(new_key(KeyType.RSA2048), rsa.RSAPrivateKey)
