"""Revocation lists and authorities that OpenSSL reads otherwise than we: what is refused, what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certstore.trust import Crl, TrustSet
from certstore.trustchecks import Material, check_trust, join, standing
from tests.pki import Key, Pki, crl, to_pem

NOW = datetime.now(UTC).replace(microsecond=0)
Extension = tuple[x509.ExtensionType, bool]
FULL_NAME = [x509.UniformResourceIdentifier("http://ca.test/all.crl")]


def read(pem: bytes) -> Crl:
    return x509.load_pem_x509_crl(pem)


def codes(wanted: TrustSet, before: TrustSet | None = None) -> list[str]:
    return [one.code for one in check_trust("plant", wanted, before, NOW)]


def authority(key: Key, name: str = "Plant", *extensions: Extension) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=900))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


def listed(pki: Pki, *whole: Extension, entry: Extension | None = None) -> Crl:
    one = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(NOW - timedelta(days=2))
    one = one.add_extension(*entry) if entry is not None else one
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(pki.root.subject)
        .last_update(NOW - timedelta(hours=1))
        .next_update(NOW + timedelta(days=30))
        .add_revoked_certificate(one.build())
    )
    for extension, critical in whole:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(pki.root_key, hashes.SHA256())


def scope(**which: Any) -> x509.IssuingDistributionPoint:
    parts: dict[str, Any] = dict.fromkeys(["full_name", "relative_name", "only_some_reasons"])
    kinds = ["only_contains_user_certs", "only_contains_ca_certs", "only_contains_attribute_certs"]
    return x509.IssuingDistributionPoint(**parts | dict.fromkeys([*kinds, "indirect_crl"], False) | which)


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "which", [{"full_name": FULL_NAME}, {"only_contains_ca_certs": True}, {"only_contains_user_certs": True}]
)
def test_a_list_for_a_part_is_refused_whether_or_not_it_calls_that_critical(pki, which, critical):
    crl_now = listed(pki, (scope(**which), critical))
    assert codes(TrustSet.of([pki.root], [crl_now])) == ["crl_unsupported"]


@pytest.mark.parametrize(
    "entry",
    [
        (x509.CRLReason(x509.ReasonFlags.key_compromise), True),
        (x509.CRLReason(x509.ReasonFlags.remove_from_crl), False),
        (x509.CertificateIssuer([x509.DNSName("else.test")]), True),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.21"), b"\x04\x00"), False),
    ],
    ids=["critical reason", "taken back", "another issuer", "unknown", "nonsense"],
)
def test_a_list_with_an_entry_that_spoils_it_is_refused(pki, entry):
    assert codes(TrustSet.of([pki.root], [listed(pki, entry=entry)])) == ["crl_unsupported"]


def test_everyday_reasons_spoil_nothing(pki):
    plain = listed(pki, entry=(x509.CRLReason(x509.ReasonFlags.certificate_hold), False))
    assert codes(TrustSet.of([pki.root], [plain])) == []


def test_of_two_lists_of_one_moment_the_number_says_which_is_older(pki):
    first, second = (listed(pki, (x509.CRLNumber(number), False)) for number in (1, 2))
    assert codes(TrustSet.of([pki.root], [first]), TrustSet.of([pki.root], [second])) == ["crl_older"]
    assert codes(TrustSet.of([pki.root], [second]), TrustSet.of([pki.root], [first])) == []


def test_an_authority_that_changes_its_key_keeps_the_list_of_the_old_one(pki):
    key = ec.generate_private_key(ec.SECP256R1())
    successor = authority(key, "Test Root")
    old, new = (
        read(crl(pki.root, pki.root_key, (7,))),
        read(crl(successor, key, start=NOW - timedelta(days=9))),
    )
    held = TrustSet.of([pki.root, successor], [old])
    assert codes(held) == ["crl_not_for_all"], "it has none yet, though one of its name is there"
    both, told = join(held, Material((), (new,)))
    assert (both, told) == (TrustSet.of(held.anchors, [old, new]), ())
    assert codes(both, held) == [], "it isn't older than one by another key"
    newer = read(crl(pki.root, pki.root_key, (7, 8)))
    assert join(both, Material((), (newer,)))[0] == TrustSet.of(held.anchors, [newer, new])
    alone, told = join(both, Material((successor,)))
    assert (alone.crls, [one.code for one in told]) == ((new,), ["crl_left_out"])


def test_a_revoked_authority_stays_in_the_set_and_nothing_of_it_is_in_force(pki):
    own = read(crl(pki.intermediate, pki.intermediate_key))
    revoking = read(crl(pki.root, pki.root_key, (pki.intermediate.serial_number,)))
    held = TrustSet.of([pki.root, pki.intermediate], [own, revoking])
    assert codes(held) == ["anchor_revoked"]
    assert [one.code for one in standing("plant", held, NOW)] == ["anchor_revoked"]
    assert held.in_force() == TrustSet.of([pki.root], [revoking])
    cleared = TrustSet.of(held.anchors, [own, read(crl(pki.root, pki.root_key))])
    assert cleared.in_force() is cleared
    itself = TrustSet.of([pki.root], [read(crl(pki.root, pki.root_key, (pki.root.serial_number,)))])
    assert itself.in_force() is itself, "an anchor is no anchor by its own word (RFC 5280 section 6.1)"


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
NO_USES = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.37"), b"\x04\x00")
ANY_USE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])


@pytest.mark.parametrize(
    ("extension", "code"),
    [
        ((UNKNOWN, True), "anchor_unsupported"),
        ((NO_USES, False), "anchor_unsupported"),
        ((ANY_USE, False), "anchor_not_for_clients"),
        ((UNKNOWN, False), None),
        ((x509.NameConstraints([x509.DNSName("plant.test")], None), True), None),
    ],
)
def test_an_authority_whose_clients_openssl_would_refuse_is_refused(extension, code):
    key = ec.generate_private_key(ec.SECP256R1())
    assert codes(TrustSet.of([authority(key, "Plant", extension)])) == ([code] if code else [])


def test_an_authority_with_a_small_curve_is_weak():
    key = ec.generate_private_key(ec.SECP192R1())
    assert codes(TrustSet.of([authority(key)])) == ["anchor_weak"]


def test_an_authority_with_an_extension_twice_is_refused(pki):
    twice = to_pem(
        authority(
            ec.generate_private_key(ec.SECP256R1()),
            "Plant",
            *(
                (x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.3.6.1.4.1.{n}"), b""), False)
                for n in (90, 91)
            ),
        )
    )
    der = x509.load_pem_x509_certificate(twice).public_bytes(Encoding.DER)
    assert der.count(b"\x2b\x06\x01\x04\x01\x5b") == 1
    same = x509.load_der_x509_certificate(
        der.replace(b"\x2b\x06\x01\x04\x01\x5b", b"\x2b\x06\x01\x04\x01\x5a")
    )
    assert codes(TrustSet.of([same])) == ["anchor_unsupported"]


def test_a_large_list_says_what_memory_it_takes(pki):
    for revoked, told in ((1_000, False), (20_000, True)):
        held = TrustSet.from_pem(
            pki.root_pem, crl(pki.root, pki.root_key, tuple(range(2**126, 2**126 + revoked)))
        )
        findings = [one for one in check_trust("plant", held, None, NOW) if one.code == "crl_heavy"]
        assert bool(findings) is told
        size = len(held.crls[0].public_bytes(Encoding.DER))
        assert all(f"{size / 1e6:.1f} MB" in one.words for one in findings)
