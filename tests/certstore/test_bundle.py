"""A bundle that exists is a key with its own certificate, and is known by what is sent."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certstore.bundle import Bundle, is_issued_by, key_words, spki_of
from certstore.errors import Refusal
from tests.pki import Pki, key_to_pem


def test_a_key_of_another_certificate_is_refused_with_words_that_name_both(pki: Pki):
    issued, other = pki.leaf(), pki.leaf()
    with pytest.raises(Refusal) as refusal:
        Bundle.make(other.key, issued.certificate, ())
    (finding,) = refusal.value.findings
    assert finding.code == "key_mismatch"
    assert issued.bundle().spki[:12] in finding.words
    assert other.bundle().spki[:12] in finding.words


def test_its_hashes_are_those_that_browsers_and_pins_use(pki: Pki):
    issued = pki.leaf()
    bundle = issued.bundle()
    ders = [c.public_bytes(Encoding.DER) for c in (issued.certificate, *issued.chain)]
    spki = issued.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert bundle.fingerprint == hashlib.sha256(ders[0]).hexdigest()
    assert bundle.spki == hashlib.sha256(spki).hexdigest() == spki_of(issued.key.public_key())
    assert bundle.id == hashlib.sha256(b"".join(ders)).hexdigest()


def test_the_same_leaf_with_a_mended_chain_is_another_bundle(pki: Pki):
    issued = pki.leaf()
    short, whole = Bundle.make(issued.key, issued.certificate, ()), issued.bundle()
    assert short.fingerprint == whole.fingerprint
    assert short != whole
    assert len({short, whole, issued.bundle()}) == 2
    assert short != short.id


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_it_comes_back_from_its_files_as_it_was(pki: Pki, kind):
    bundle = pki.leaf(key=kind).bundle()
    again = Bundle.from_pem(bundle.key_pem(), bundle.chain_pem())
    assert again == bundle
    assert again.key_pem() == bundle.key_pem()
    for field in dataclasses.fields(Bundle):
        if field.name != "key":
            assert getattr(again, field.name) == getattr(bundle, field.name)


def test_its_facts_are_those_of_its_leaf(pki: Pki, now):
    start = now - timedelta(days=3)
    names = ("Device.Test", "*.device.test", "2001:DB8::1", "192.0.2.1")
    bundle = pki.leaf(names=names, start=start, days=30, key="rsa").bundle()
    assert bundle.names == ("*.device.test", "192.0.2.1", "2001:db8::1", "device.test")
    assert (bundle.not_before, bundle.not_after) == (start, start + timedelta(days=30))
    assert bundle.not_before.tzinfo is UTC
    assert bundle.key_type == "RSA"
    assert not bundle.self_signed
    assert pki.leaf(issuer=None).bundle().self_signed


def test_a_certificate_without_alternative_names_has_no_names(pki: Pki):
    assert pki.leaf(names=()).bundle().names == ()


def test_it_cant_be_changed_and_shows_no_key(pki: Pki):
    bundle = pki.leaf().bundle()
    with pytest.raises(dataclasses.FrozenInstanceError):
        bundle.id = "x"  # type: ignore[misc]  # that is what is tried
    assert "Key" not in repr(bundle)
    assert bundle.id[:12] in repr(bundle)


@pytest.mark.parametrize(
    "broken", ["no key", "no certificate", "half a key", "half a certificate", "encrypted"]
)
def test_files_that_cant_be_read_are_a_value_error(pki: Pki, broken):
    bundle = pki.leaf().bundle()
    key, chain = bundle.key_pem(), bundle.chain_pem()
    encrypted = (
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,"
        b"00000000000000000000000000000000\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    )
    files = {
        "no key": (b"", chain),
        "no certificate": (key, b""),
        "half a key": (key[:100], chain),
        "half a certificate": (key, chain[:300]),
        "encrypted": (encrypted, chain),
    }
    with pytest.raises(ValueError):
        Bundle.from_pem(*files[broken])


def test_files_of_two_bundles_are_refused(pki: Pki):
    with pytest.raises(Refusal):
        Bundle.from_pem(pki.leaf().key_pem, pki.leaf().chain_pem)


def test_an_rsa_key_that_rotted_on_the_disk_is_not_loaded(pki: Pki):
    issued = pki.leaf(key="rsa")
    assert isinstance(issued.key, rsa.RSAPrivateKey)
    numbers = issued.key.private_numbers()
    rotted = rsa.RSAPrivateNumbers(
        p=numbers.p,
        q=numbers.q,
        d=numbers.d,
        dmp1=numbers.dmp1 ^ 4,
        dmq1=numbers.dmq1,
        iqmp=numbers.iqmp,
        public_numbers=numbers.public_numbers,
    ).private_key(unsafe_skip_rsa_key_validation=True)
    with pytest.raises(ValueError, match="belong together"):
        Bundle.from_pem(key_to_pem(rotted), issued.chain_pem)


def test_who_issued_what_needs_the_name_and_the_signature(pki: Pki, now):
    issued = pki.leaf()
    namesake = pki.authority(
        "Test Intermediate", (key := ec.generate_private_key(ec.SECP256R1())), None, key, now=now
    )
    assert is_issued_by(issued.certificate, pki.intermediate)
    assert not is_issued_by(issued.certificate, namesake)
    assert not is_issued_by(issued.certificate, pki.root)


def test_keys_are_named_by_kind_and_size(pki: Pki):
    assert key_words(pki.make_key("rsa").public_key()).startswith("RSA 2048 (")
    assert key_words(pki.make_key("ec").public_key()).startswith("EC secp256r1 (")
    assert key_words(pki.make_key("ed25519").public_key()).startswith("Ed25519 (")
