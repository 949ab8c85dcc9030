"""The device's own certificate is what RFC 5280 and browsers ask of a server's."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certstore.bundle import Bundle
from certstore.checks import check
from certstore.circumstances import Circumstances
from certstore.firstboot import BUILD_DATE
from certstore.issuers.selfsigned import Identity, issue, new_key

IDENTITY = Identity(("device.local", "Device", "192.0.2.7", "2001:DB8::7"), "SN 0815", "Pump 7")
NOW = BUILD_DATE + timedelta(days=30, microseconds=5)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return issue(IDENTITY, new_key(), NOW)


def extension(bundle: Bundle, kind):
    return bundle.leaf.extensions.get_extension_for_class(kind)


def test_it_is_for_this_device_and_for_nothing_else(bundle):
    assert bundle.self_signed
    assert bundle.chain == ()
    assert bundle.key_type == "EC"
    constraints = extension(bundle, x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    usage = extension(bundle, x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert list(extension(bundle, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_it_names_all_names_and_addresses_and_the_device_in_its_subject(bundle):
    assert bundle.names == ("192.0.2.7", "2001:db8::7", "device", "device.local")
    assert not extension(bundle, x509.SubjectAlternativeName).critical
    subject = {attribute.oid: attribute.value for attribute in bundle.leaf.subject}
    assert subject == {NameOID.COMMON_NAME: "Pump 7", NameOID.SERIAL_NUMBER: "SN 0815"}


def test_its_key_identifiers_are_there_and_equal(bundle):
    own = extension(bundle, x509.SubjectKeyIdentifier).value
    assert extension(bundle, x509.AuthorityKeyIdentifier).value.key_identifier == own.digest


def test_it_lasts_397_days_from_a_day_ago(bundle):
    assert bundle.not_before == NOW.replace(microsecond=0) - timedelta(days=1)
    assert bundle.not_after - bundle.not_before == timedelta(days=397, seconds=-1)


def test_a_clock_behind_the_build_date_begins_it_at_the_build_date():
    early = issue(IDENTITY, new_key(), datetime(1970, 1, 1, tzinfo=UTC))
    assert early.not_before == BUILD_DATE - timedelta(days=1)


def test_its_serial_number_is_random_and_nothing_of_the_device():
    key = new_key()
    serials = {issue(IDENTITY, key, NOW).leaf.serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(0 < serial < 2**159 for serial in serials)
    assert max(serials) > 2**140


def test_a_reissue_with_the_same_key_keeps_the_pin(bundle):
    again = issue(IDENTITY, bundle.key, NOW + timedelta(days=300))
    assert again.spki == bundle.spki
    assert again.id != bundle.id


def test_the_checks_find_only_that_it_is_self_signed(bundle):
    assert [f.code for f in check(bundle, Circumstances(NOW, clock_plausible=True))] == ["self_signed"]


@pytest.mark.parametrize(
    ("identity", "common_name"),
    [
        (Identity(("a.test",), "", ""), "a.test"),
        (Identity((), "", ""), "device"),
        (Identity((), "x" * 100, "y" * 100), "y" * 64),
        (Identity(("a.test",), "nü_1\n", "Gerät\x00 7"), "Gerät 7"),
        (Identity(("a." + "b" * 63 + ".test",), "", ""), "a." + "b" * 62),
    ],
)
def test_a_device_that_knows_little_or_too_much_of_itself_gets_one_too(identity, common_name):
    made = issue(identity, new_key(), NOW)
    assert made.leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == common_name
    assert made.names == identity.names


def test_a_name_that_is_none_is_refused_at_once():
    with pytest.raises(ValueError):
        Identity(("not a name",), "", "")


def test_each_key_is_new_and_p256():
    one, two = new_key(), new_key()
    assert isinstance(one.curve, ec.SECP256R1)
    assert one.private_numbers() != two.private_numbers()


def test_openssl_finds_it_valid_for_a_server_and_for_its_names(bundle, tmp_path):
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    path = tmp_path / "cert.pem"
    path.write_bytes(bundle.leaf.public_bytes(Encoding.PEM))
    for check_option in ("-verify_hostname=device.local", "-verify_ip=2001:db8::7"):
        option, _, value = check_option.partition("=")
        command = [openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", path, option, value]
        command += ["-attime", str(int(NOW.timestamp())), path]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        [openssl, "x509", "-in", path, "-noout", "-subject"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert "serialNumber = SN 0815" in shown.stdout
