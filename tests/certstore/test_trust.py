"""Trust sets: what may become one, what is refused with which code, and that each change is whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certstore.generation import Cause, Generation, Trusted
from certstore.receipts import State
from certstore.store import Store
from certstore.trust import TrustSet
from tests.pki import Pki, crl, to_pem
from tests.storing import Clock, NotingPublisher

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def publisher() -> NotingPublisher:
    return NotingPublisher()


@pytest.fixture
def store(tmp_path: Path, publisher: NotingPublisher):
    with Store.open(tmp_path / "s", clock=Clock(NOW), publisher=publisher) as store:
        yield store


def put(store: Store, *parts: bytes, name: str = "plant") -> tuple[str, tuple[str, ...]]:
    receipt = store.trust.put(name, [(f"{i}.pem", part) for i, part in enumerate(parts)], via="test")
    return str(receipt.state), receipt.codes


def held(store: Store) -> tuple[Trusted, ...]:
    assert store.active is not None
    return store.active.trust


def test_a_set_is_served_with_a_generation_of_its_own(store, publisher, pki):
    assert put(store, pki.root_pem) == ("confirmed", ())
    assert [one.name for one in store.active.trust] == ["plant"]
    assert publisher.committed[-1].trust == store.active.trust
    assert store.trust.read("plant") == TrustSet.of([pki.root])
    assert store.receipts()[0].cause is Cause.TRUST
    again = Generation.from_json(store.active.to_json())
    assert again == store.active


def test_it_is_there_after_a_start_and_goes_on_through_other_changes(tmp_path, pki):
    with Store.open(tmp_path / "s", clock=Clock(NOW)) as store:
        put(store, pki.root_pem)
        wanted = held(store)
    with Store.open(tmp_path / "s", clock=Clock(NOW)) as store:
        assert held(store) == wanted
        put(store, pki.intermediate_pem, name="other")
        assert [one.name for one in held(store)] == ["other", "plant"]


def test_going_back_to_an_older_generation_lets_nobody_in_again(store, pki):
    put(store, pki.root_pem)
    first = store.active.number
    put(store, pki.root_pem, crl(pki.root, pki.root_key, revoked=(7,)))
    revoking = store.active.trust
    store.activate(first, via="test")
    assert store.active.trust == revoking


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (lambda pki: [pki.leaf().cert_pem], "anchor_not_ca"),
        (lambda pki: [crl(pki.root, pki.root_key)], "trust_no_anchor"),
        (lambda _: [b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"], None),
        (lambda pki: [pki.root_pem, crl(pki.intermediate, pki.intermediate_key)], "crl_issuer_unknown"),
        (lambda pki: [pki.root_pem, crl(pki.root, pki.intermediate_key)], "crl_signature"),
        (
            lambda pki: [pki.root_pem, crl(pki.root, pki.root_key, end=NOW - timedelta(hours=1))],
            "crl_outdated",
        ),
        (
            lambda pki: [pki.root_pem, crl(pki.root, pki.root_key, start=NOW + timedelta(hours=1))],
            "crl_not_yet_valid",
        ),
        (lambda pki: [pki.root_pem, crl(pki.root, pki.root_key, delta=True)], "crl_unsupported"),
        (lambda pki: [ended(pki)], "anchor_expired"),
    ],
)
def test_what_is_bad_is_refused_and_leaves_the_set_as_it_was(store, pki, parts, code):
    assert put(store, pki.intermediate_pem) == ("confirmed", ())
    before = store.active
    state, codes = put(store, *parts(pki), name="new")
    assert state == "refused"
    assert code is None or code in codes
    assert store.active is before


def revoked(known: TrustSet) -> list[int]:
    return [one.serial_number for crl in known.crls for one in crl]


def ended(pki: Pki) -> bytes:
    return to_pem(
        pki.authority("Old", pki.root_key, None, pki.root_key, now=NOW, end=NOW - timedelta(days=1))
    )


def test_a_list_alone_joins_the_set_and_an_older_one_is_no_step_back(store, pki):
    put(store, pki.root_pem)
    newest = crl(pki.root, pki.root_key, revoked=(7,))
    assert put(store, newest) == ("confirmed", ())
    known = store.trust.read("plant")
    assert (len(known.anchors), revoked(known)) == (1, [7])
    older = crl(pki.root, pki.root_key, start=NOW - timedelta(days=3))
    assert put(store, older) == ("refused", ("crl_older",))
    der = x509.load_pem_x509_crl(newest).public_bytes(Encoding.DER)
    assert put(store, der) == ("confirmed", ("trust_unchanged",))


def test_an_authority_that_goes_takes_its_list_along(store, pki):
    put(store, pki.root_pem, crl(pki.root, pki.root_key))
    assert put(store, pki.intermediate_pem) == ("confirmed", ("crl_left_out",))
    assert store.trust.read("plant") == TrustSet.of([pki.intermediate])


def test_a_set_with_lists_for_some_says_who_is_refused(store, pki):
    told = put(store, pki.root_pem + pki.intermediate_pem, crl(pki.root, pki.root_key))
    assert told == ("confirmed", ("crl_not_for_all",))


def test_a_set_that_is_asked_for_is_not_taken_away(store, pki):
    put(store, pki.root_pem)
    assert store.trust.remove("plant", via="test", rule="api.test").codes == ("trust_in_use",)
    receipt = store.trust.remove("plant", via="test")
    assert (receipt.state, receipt.codes) == (State.CONFIRMED, ("trust_removed",))
    assert store.active.trust == ()
    assert [one.code for one in store.trust.standing(["plant"])] == ["trust_missing"]


def test_a_damaged_set_is_told_and_can_be_handed_in_anew(store, pki):
    put(store, pki.root_pem)
    folder = store.path / "trust" / store.active.trust[0].id
    (folder / "anchors.pem").write_bytes(b"")
    assert [one.code for one in store.trust.standing()] == ["trust_damaged"]
    assert put(store, pki.root_pem) == ("confirmed", ())
    assert list(store.trust.standing()) == []


def test_dates_are_told_before_they_come(tmp_path, pki):
    clock = Clock(NOW)
    with Store.open(tmp_path / "s", clock=clock) as store:
        put(store, pki.root_pem, crl(pki.root, pki.root_key, end=NOW + timedelta(days=8)))
        assert list(store.trust.standing()) == []
        clock.go(days=7)
        assert [one.code for one in store.trust.standing()] == ["crl_expiring"]
        clock.go(days=2)
        assert [one.code for one in store.trust.standing()] == ["crl_ended"]


def test_an_authority_for_servers_only_is_none_for_clients(store, pki):
    def serving(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        return builder

    server = pki.leaf(ca=True, issuer="root", tweak=serving)
    state, codes = put(store, server.cert_pem)
    assert (state, codes) == ("refused", ("anchor_not_for_clients",))
    assert isinstance(server.certificate.signature_hash_algorithm, hashes.SHA256)
