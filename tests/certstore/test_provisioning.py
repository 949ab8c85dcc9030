"""A device on the line: its key, its request, the certificate that seals its factory slot."""

from __future__ import annotations

import shutil
import stat
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509

from certstore import Candidate, Identity, InProcess, RandomNotReady, Refusal, Source, State, Store, firstboot
from certstore.factoryrequest import read_waiting
from certstore.factorystate import FactoryState, Stage
from certstore.layout import FACTORY_REQUEST
from certstore.provisioning import read_factory
from tests.manufacturing import FOR_EVER, answer, signed
from tests.pki import to_pem
from tests.storing import files_under, propose, served

CUSTOMER, ACME, FACTORY, GENERATED = Source
DEVICE = Identity(("px-1.devices.example",), "PX-000001", "px-1")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(root):
    with Store.open(root, clock=lambda: datetime.now(UTC)) as opened:
        yield opened


def reopened(root) -> Store:
    return Store.open(root, clock=lambda: datetime.now(UTC))


def install(store, candidate, **more):
    return store.factory.install(candidate, via="line", examiner=InProcess(), **more)


def provision(store, pki) -> FactoryState:
    receipt = install(store, answer(pki, store.factory.request(DEVICE).request))
    assert receipt.state is State.CONFIRMED
    state = read_factory(store.path)
    assert state == store.factory.state()
    return state


class TestRequest:
    def test_a_request_says_who_the_device_is_and_is_signed_by_its_key(self, store):
        state = store.factory.request(DEVICE)
        asked = x509.load_pem_x509_csr(state.request.encode())
        assert asked.is_signature_valid
        assert asked.subject.rfc4514_string() == "2.5.4.5=PX-000001,CN=px-1.devices.example"
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["px-1.devices.example"]
        assert (state.stage, state.serial, state.names) == (Stage.WAITING, "PX-000001", DEVICE.names)

    def test_asked_again_it_is_the_very_same_request_and_nothing_is_written(self, store, root):
        first = store.factory.request(DEVICE)
        files = files_under(root)
        other = Identity(("elsewhere.example", "10.0.0.1"), "", "elsewhere")  # DHCP has moved on meanwhile
        assert store.factory.request(other) == first == store.factory.state()
        assert files_under(root) == files
        store.close()
        with reopened(root) as again:
            assert again.factory.request(other) == first

    def test_a_mended_serial_number_or_name_asks_anew_for_the_same_key(self, store):
        first = store.factory.request(DEVICE)
        second = store.factory.request(DEVICE, serial="PX-000002")
        assert (second.serial, second.names, second.spki) == ("PX-000002", first.names, first.spki)
        assert second.request != first.request
        third = store.factory.request(DEVICE, names=("px-2.devices.example", "10.1.2.3"))
        assert (third.serial, third.spki) == ("PX-000002", first.spki)
        assert third.names == ("10.1.2.3", "px-2.devices.example")
        assert store.factory.request(DEVICE) == third

    def test_the_key_is_ours_alone_and_no_other_source_can_use_it(self, store, root, pki):
        request = store.factory.request(DEVICE).request
        assert {stat.S_IMODE(p.stat().st_mode) for p in (root / FACTORY_REQUEST).iterdir()} == {0o600}
        for path in (root / FACTORY_REQUEST, (root / FACTORY_REQUEST).parent):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        for source in (CUSTOMER, ACME, FACTORY):
            receipt = store.propose(answer(pki, request), source=source, via="x", examiner=InProcess())
            assert receipt.codes == ("certificate_without_key",)

    @pytest.mark.parametrize(
        ("serial", "code"),
        [("", "missing"), ("PX_1", "unusable"), ("Gerät 1", "unusable"), ("9" * 65, "unusable")],
    )
    def test_a_serial_number_is_never_altered_to_fit(self, store, root, serial, code):
        with pytest.raises(Refusal) as caught:
            store.factory.request(replace(DEVICE, serial=serial))
        assert caught.value.findings[0].code == f"factory_serial_{code}"
        assert not (root / FACTORY_REQUEST).exists()

    def test_no_key_is_made_before_the_random_generator_is_ready(self, store, root, monkeypatch):
        monkeypatch.setattr(firstboot, "random_ready", lambda: False)
        with pytest.raises(RandomNotReady):
            store.factory.request(DEVICE)
        assert not (root / FACTORY_REQUEST).exists()
        monkeypatch.undo()
        first = store.factory.request(DEVICE)
        monkeypatch.setattr(firstboot, "random_ready", lambda: False)
        assert store.factory.request(DEVICE) == first  # the key is there: nothing random is needed

    def test_a_key_that_is_damaged_gives_way_to_a_new_one(self, store, root):
        first = store.factory.request(DEVICE)
        (root / FACTORY_REQUEST / "key.pem").write_bytes(b"\0" * 100)
        assert store.factory.state() == FactoryState()
        second = store.factory.request(DEVICE)
        assert second.spki != first.spki
        assert (second.serial, second.names) == (first.serial, first.names)

    @pytest.mark.parametrize("content", [b"", b"\0" * 100, None])
    def test_a_request_that_is_damaged_is_made_again_for_the_same_key(self, store, root, content):
        first = store.factory.request(DEVICE)
        path = root / FACTORY_REQUEST / "request.pem"
        path.unlink() if content is None else path.write_bytes(content)
        second = store.factory.request(DEVICE)
        assert (second.spki, second.serial) == (first.spki, first.serial)
        assert x509.load_pem_x509_csr(second.request.encode()).is_signature_valid


class TestInstall:
    def test_the_certificate_is_sealed_served_and_told_as_the_lines_database_wants_it(self, store, root, pki):
        asked = store.factory.request(DEVICE)
        receipt = install(store, answer(pki, asked.request))
        assert receipt.state is State.CONFIRMED
        (slot,) = store.slots()
        assert (slot.source, slot.sealed, slot.bundle) == (FACTORY, True, served(store))
        state = store.factory.state()
        bundle = store.bundle(slot.bundle)
        assert (state.stage, state.sealed, state.receipt) == (Stage.PROVISIONED, True, receipt.id)
        assert (state.spki, state.fingerprint) == (asked.spki, bundle.fingerprint)
        assert (state.serial, state.names, state.not_after) == ("PX-000001", DEVICE.names, FOR_EVER)
        assert FactoryState.from_json(state.to_json()) == state
        assert not (root / FACTORY_REQUEST).exists(), "the key lies in the bundle now, and there only"

    def test_a_life_without_an_end_is_no_reason_to_refuse(self, store, pki):
        assert provision(store, pki).not_after == FOR_EVER

    def test_asked_again_a_provisioned_device_says_so_and_makes_no_key(self, store, root, pki):
        state = provision(store, pki)
        files = files_under(root)
        assert store.factory.request(DEVICE, serial="PX-000009") == state
        assert files_under(root) == files

    @pytest.mark.parametrize("with_chain", [True, False])
    def test_the_same_certificate_again_changes_nothing(self, store, pki, with_chain):
        candidate = answer(pki, store.factory.request(DEVICE).request)
        first = install(store, candidate)
        generation = store.active
        again = install(store, candidate if with_chain else Candidate(candidate.files[:1]))
        assert (again.state, again.codes[-1]) == (State.CONFIRMED, "already_live")
        assert (again.bundle, again.generation) == (first.bundle, first.generation)
        assert store.active == generation
        assert store.factory.state().receipt == first.id

    @pytest.mark.parametrize("names", [("px-1.devices.example",), ("other.example",)])
    def test_another_certificate_is_refused_whatever_its_names(self, store, pki, names):
        state = provision(store, pki)
        with_key = pki.leaf(names)
        candidates = [
            Candidate((("a.pem", with_key.chain_pem), ("a.key", with_key.key_pem))),
            Candidate((("a.pem", with_key.chain_pem),)),
        ]
        for candidate in candidates:
            receipt = install(store, candidate)
            assert receipt.state is State.REFUSED
            assert receipt.codes[0] == "slot_sealed"
        assert store.factory.state() == state
        assert propose(store, with_key, FACTORY).codes == ("slot_sealed",)

    def test_a_longer_chain_is_another_certificate(self, store, pki):
        asked = store.factory.request(DEVICE).request
        candidate = answer(pki, asked)
        install(store, Candidate(candidate.files[:1]))
        assert install(store, candidate).codes[-1] == "slot_sealed"

    def test_another_devices_certificate_is_told_as_such(self, store, pki, tmp_path):
        asked = store.factory.request(DEVICE)
        with Store.open(tmp_path / "other", clock=lambda: datetime.now(UTC)) as other:
            foreign = answer(pki, other.factory.request(replace(DEVICE, serial="PX-000002")).request)
        receipt = install(store, foreign)
        assert receipt.state is State.REFUSED
        assert receipt.codes == ("factory_not_ours", "certificate_without_key")
        assert asked.spki[:12] in receipt.findings[0].words
        assert store.factory.state() == asked

    def test_a_certificate_where_nothing_was_asked_for_is_told_as_such(self, store, pki):
        receipt = install(store, Candidate((("a.pem", pki.leaf().chain_pem),)))
        assert receipt.codes == ("factory_not_ours", "certificate_without_key")

    @pytest.mark.parametrize(
        ("serial", "is_taken"), [("PX-000002", False), ("PID:PX SN:PX-000001", True), ("PX-000001", True)]
    )
    def test_a_serial_number_that_is_another_devices_is_refused(self, store, pki, serial, is_taken):
        request = store.factory.request(DEVICE).request
        receipt = install(store, answer(pki, request, serial=serial))
        assert (receipt.state is State.CONFIRMED) == is_taken
        assert ("factory_serial_differs" in receipt.codes) != is_taken

    def test_a_certificate_that_no_client_would_take_is_refused_here_too(self, store, pki):
        request = store.factory.request(DEVICE).request
        end = datetime(2026, 11, 2, tzinfo=UTC)
        receipt = install(store, Candidate((("a.pem", to_pem(signed(pki, request, end=end))),)))
        assert receipt.state is State.REFUSED
        assert receipt.codes[0] == "incomplete_chain"
        assert "expired" in receipt.codes
        assert store.factory.state().stage is Stage.WAITING  # and the answer may come again


class TestReseal:
    def test_the_same_key_asks_again_so_that_the_label_stays_true(self, store, root, pki):
        state = provision(store, pki)
        files = files_under(root)
        again = store.factory.request(DEVICE, names=("px-1.new.example",), unsafe_reseal=True)
        assert (again.stage, again.spki) == (Stage.PROVISIONED, state.spki)
        assert files_under(root) == files
        candidate = answer(pki, again.request)
        assert install(store, candidate).codes[-1] == "slot_sealed"
        assert install(store, candidate, unsafe_reseal=True).state is State.CONFIRMED
        now = store.factory.state()
        assert (now.spki, now.names, now.sealed) == (state.spki, ("px-1.new.example",), True)
        assert now.fingerprint != state.fingerprint
        assert [slot.source for slot in store.slots()] == [FACTORY], "one device has one identity"

    def test_a_bad_one_leaves_the_sealed_one(self, store, pki):
        state = provision(store, pki)
        receipt = install(store, Candidate((("a.pem", pki.leaf().chain_pem),)), unsafe_reseal=True)
        assert receipt.codes[0] == "factory_not_ours"
        assert store.factory.state() == state


class TestOwnership:
    def test_no_command_of_a_customer_moves_what_is_sealed(self, store, pki):
        provision(store, pki)
        (slot,) = store.slots()
        propose(store, pki.leaf(("a.example",)))
        for receipt in (store.remove(slot.key, via="x"), store.roll_back(slot.key, via="x")):
            assert receipt.codes == ("slot_sealed",)
        assert store.slots()[-1] == slot

    def test_a_customers_certificate_goes_before_it_and_removed_comes_back_to_it(self, store, pki):
        factory = provision(store, pki)
        customer = propose(store, pki.leaf(DEVICE.names))
        assert served(store) == customer.bundle
        store.remove(store.slots()[0].key, via="x")
        assert store.bundle(str(served(store))).fingerprint == factory.fingerprint


def test_a_start_lets_the_waiting_key_go_where_its_bundle_is_in_the_slot(store, root, pki, tmp_path):
    candidate = answer(pki, store.factory.request(DEVICE).request)
    kept = shutil.copytree(root / FACTORY_REQUEST, tmp_path / "kept")
    install(store, candidate)
    store.close()
    shutil.copytree(kept, root / FACTORY_REQUEST)
    with reopened(root) as again:
        assert not (root / FACTORY_REQUEST).exists()
        assert again.factory.state().stage is Stage.PROVISIONED


def test_the_repr_of_a_waiting_key_shows_none(store):
    store.factory.request(DEVICE)
    assert "PRIVATE" not in repr(read_waiting(store.path))
