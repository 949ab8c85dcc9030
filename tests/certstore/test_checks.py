"""What would keep clients away is told before any client meets it, each thing by its own code."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore.bundle import Bundle
from certstore.checks import check
from certstore.circumstances import Circumstances
from tests.pki import Issued, Pki


def codes(bundle: Bundle, now, *, clock_plausible: bool = True) -> list[str]:
    return [finding.code for finding in check(bundle, Circumstances(now, clock_plausible))]


def with_extension(
    extension: x509.ExtensionType,
) -> Callable[[x509.CertificateBuilder], x509.CertificateBuilder]:
    return lambda builder: builder.add_extension(extension, critical=False)


def patched(issued: Issued, old: bytes, new: bytes) -> Bundle:
    """Make a bundle of a certificate with some bytes exchanged: what no library would issue."""
    der = issued.certificate.public_bytes(Encoding.DER)
    assert old in der
    return Bundle.make(issued.key, x509.load_der_x509_certificate(der.replace(old, new)), issued.chain)


def usage(*, digital_signature: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


@pytest.mark.parametrize("key", ["ec", "rsa", ec.generate_private_key(ec.SECP384R1())])
@pytest.mark.parametrize("eku", [True, False, (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)])
def test_nothing_is_said_against_a_good_certificate(pki: Pki, now, key, eku):
    tweak = with_extension(usage(digital_signature=True))
    issued = pki.leaf(key=key, eku=eku, tweak=tweak, names=("*.a.test", "192.0.2.1"))
    assert codes(issued.bundle(), now) == []


# --- dates ---


def test_dates_are_checked_to_the_second(pki: Pki, now):
    bundle = pki.leaf(start=now, days=10).bundle()
    second = timedelta(seconds=1)
    assert codes(bundle, bundle.not_before - second) == ["not_yet_valid"]
    assert codes(bundle, bundle.not_before) == []
    assert codes(bundle, bundle.not_after) == []
    assert codes(bundle, bundle.not_after + second) == ["expired"]


def test_a_clock_that_cant_be_right_turns_what_dates_say_into_warnings(pki: Pki, now):
    bundle = pki.leaf(start=now, days=10).bundle()
    early = check(bundle, Circumstances(now - timedelta(days=9999), clock_plausible=False))
    late = check(bundle, Circumstances(now + timedelta(days=9999), clock_plausible=False))
    assert [f.code for f in (*early, *late)] == ["not_yet_valid_doubtful", "expired_doubtful"]
    assert not any(f.is_error for f in (*early, *late))


def test_the_words_name_the_date_and_what_our_clock_says(pki: Pki, now):
    bundle = pki.leaf(start=now, days=10).bundle()
    (finding,) = check(bundle, Circumstances(now - timedelta(days=1), clock_plausible=True))
    assert f"{now:%Y-%m-%d %H:%M}" in finding.words
    assert f"{now - timedelta(days=1):%Y-%m-%d %H:%M}" in finding.words
    assert "clock" in finding.words


def test_a_certificate_that_ends_before_it_starts_is_refused(pki: Pki, now):
    issued = pki.leaf(start=now, days=10)
    start, end = (f"{moment:%y%m%d%H%M%SZ}".encode() for moment in (now, now + timedelta(days=10)))
    bundle = patched(issued, start + b"\x17\r" + end, end + b"\x17\r" + start)
    assert "dates_reversed" in codes(bundle, now + timedelta(days=5))


@pytest.mark.parametrize(("days", "expected"), [(825, []), (826, ["lifetime_too_long"])])
def test_more_than_825_days_are_warned_about(pki: Pki, now, days, expected):
    assert codes(pki.leaf(days=days).bundle(), now) == expected


# --- keys ---


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), ["key_too_small"]),
        (ec.generate_private_key(ec.SECP224R1()), ["key_too_small"]),
        (ec.generate_private_key(ec.SECP256K1()), ["key_type_unsupported"]),
        (ec.generate_private_key(ec.BrainpoolP256R1()), ["key_type_unsupported"]),
        (ec.generate_private_key(ec.SECP521R1()), ["key_refused_by_chromium"]),
        ("ed25519", ["key_refused_by_browsers"]),
        (ed448.Ed448PrivateKey.generate(), ["key_type_unsupported"]),
        (dsa.generate_private_key(2048), ["key_type_unsupported"]),
    ],
    ids=["rsa1024", "p224", "k256", "brainpool", "p521", "ed25519", "ed448", "dsa"],
)
def test_keys_that_clients_refuse_are_told(pki: Pki, now, key, expected):
    assert codes(pki.leaf(key=key).bundle(), now) == expected


def test_a_key_that_makes_every_handshake_slow_is_warned_about(pki: Pki, now):
    key = rsa.generate_private_key(public_exponent=65537, key_size=4104)
    findings = check(pki.leaf(key=key).bundle(), Circumstances(now, clock_plausible=True))
    assert [(f.code, f.is_error) for f in findings] == [("key_too_large", False)]


def test_a_key_so_large_that_its_handshakes_lock_everybody_out_is_refused(pki: Pki, now):
    e, q = 65537, (1 << 4200) + 1
    p = q + 2
    while math.gcd(e, (p - 1) * (q - 1)) > 1 or math.gcd(p, q) > 1:
        p += 2
    d = pow(e, -1, (p - 1) * (q - 1))
    rest = (d % (p - 1), d % (q - 1), pow(q, -1, p))
    numbers = rsa.RSAPrivateNumbers(p, q, d, *rest, rsa.RSAPublicNumbers(e, p * q))
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)  # no primes: finding them takes minutes
    # weak as well: its factors, which are no primes, lie close together
    assert codes(pki.leaf(key=key).bundle(), now) == ["key_far_too_large", "key_weak"]


@pytest.mark.parametrize(
    "extension",
    [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00"), x509.PrecertPoison()],
    ids=["unknown", "precertificate"],
)
def test_a_critical_extension_that_no_client_knows_locks_nobody_out(pki: Pki, now, extension):
    critical = pki.leaf(tweak=lambda builder: builder.add_extension(extension, critical=True))
    assert codes(critical.bundle(), now) == ["certificate_malformed"]
    harmless = pki.leaf(tweak=lambda builder: builder.add_extension(extension, critical=False))
    assert codes(harmless.bundle(), now) == []


# --- purpose ---


def test_the_certificate_of_an_authority_is_refused_even_when_self_signed(pki: Pki, now):
    assert codes(pki.leaf(ca=True).bundle(), now) == ["ca_as_leaf"]
    assert codes(pki.leaf(ca=True, issuer=None).bundle(), now) == ["ca_as_leaf", "self_signed"]


def test_a_certificate_for_clients_only_is_refused_and_its_purpose_named(pki: Pki, now):
    other = x509.ObjectIdentifier("1.2.3.4")
    bundle = pki.leaf(eku=(ExtendedKeyUsageOID.CLIENT_AUTH, other)).bundle()
    (finding,) = check(bundle, Circumstances(now, clock_plausible=True))
    assert finding.code == "not_for_servers"
    assert "clientAuth, 1.2.3.4" in finding.words


def test_a_key_usage_without_signatures_is_warned_about(pki: Pki, now):
    tweak = with_extension(usage(digital_signature=False))
    assert codes(pki.leaf(tweak=tweak).bundle(), now) == ["no_digital_signature"]


def test_a_demand_for_a_staple_that_is_not_sent_is_warned_about(pki: Pki, now):
    tweak = with_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]))
    assert codes(pki.leaf(tweak=tweak).bundle(), now) == ["must_staple"]


# --- names ---


def test_a_common_name_is_no_name(pki: Pki, now):
    assert codes(pki.leaf(names=()).bundle(), now) == ["no_alternative_names"]


def test_names_that_no_client_can_ask_for_are_told_and_the_others_count(pki: Pki, now):
    san = x509.SubjectAlternativeName(
        [x509.DNSName("good.test"), x509.DNSName("*.*.bad"), x509.RFC822Name("a@b.test"), x509.DNSName("")]
    )
    bundle = pki.leaf(names=(), tweak=with_extension(san)).bundle()
    assert bundle.names == ("good.test",)
    assert codes(bundle, now) == ["name_ignored", "name_ignored"]


def test_an_address_written_as_a_host_name_is_told_because_no_client_takes_it(pki: Pki, now):
    san = x509.SubjectAlternativeName([x509.DNSName("192.0.2.1"), x509.DNSName("good.test")])
    bundle = pki.leaf(names=(), tweak=with_extension(san)).bundle()
    assert bundle.names == ("good.test",)
    assert codes(bundle, now) == ["name_ignored"]


# --- form, signatures, chain ---


def test_extensions_that_cant_be_read_are_refused_with_the_reason(pki: Pki, now):
    ski, aki = bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d23")
    bundle = patched(pki.leaf(), aki, ski)
    (finding,) = (f for f in check(bundle, Circumstances(now, clock_plausible=True)) if f.is_error)
    assert finding.code == "certificate_malformed"
    assert "2.5.29.14" in finding.words
    assert bundle.names == ()


def test_an_extension_with_garbage_in_it_is_refused(pki: Pki, now):
    bundle = patched(pki.leaf(names=("device.test",)), b"\x82\x0bdevice.test", b"\x82\x0cdevice.test")
    assert "certificate_malformed" in codes(bundle, now)


def test_a_sha1_signature_is_warned_about(pki: Pki, now):
    sha256_rsa, sha1_rsa = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    # with that claim its signature no longer verifies, so it counts as signed by another of the same name
    bundle = patched(pki.leaf(key="rsa", issuer=None), sha256_rsa, sha1_rsa)
    findings = check(bundle, Circumstances(now, clock_plausible=True))
    assert [f.code for f in findings] == ["weak_signature"]
    assert "sha1" in findings[0].words


def test_an_expired_intermediate_is_warned_about_while_the_clock_is_plausible(pki: Pki, now):
    yesterday = now - timedelta(days=1)
    ended = pki.authority(
        "Test Intermediate", pki.intermediate_key, pki.root, pki.root_key, now=now, end=yesterday
    )
    issued = pki.leaf()
    bundle = Bundle.make(issued.key, issued.certificate, (ended,))
    assert codes(bundle, now) == ["issuer_expired"]
    assert codes(bundle, now, clock_plausible=False) == []


def test_a_self_signed_certificate_is_only_noted(pki: Pki, now):
    findings = check(pki.leaf(issuer=None).bundle(), Circumstances(now, clock_plausible=True))
    assert [(f.code, str(f.severity)) for f in findings] == [("self_signed", "note")]


def test_all_findings_come_at_once_errors_first(pki: Pki, now):
    bundle = pki.leaf(
        names=(), days=900, start=now - timedelta(days=1000), eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)
    ).bundle()
    expected = ["expired", "not_for_servers", "lifetime_too_long", "no_alternative_names"]
    assert codes(bundle, now) == expected
