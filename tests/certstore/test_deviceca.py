"""The device's own authority: it signs for this device and nobody else, and its leaves never outlive it."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certstore.authority import DeviceCA, read_authority
from certstore.checks import check
from certstore.circumstances import Circumstances
from certstore.errors import NotFound, StoreCorrupt
from certstore.identity import (
    PATIENCE,
    Cause,
    plan,
    plan_authority,
    uncovered_names,
)
from certstore.issuers import selfsigned
from certstore.issuers.deviceca import LIFETIME, Authority, make, reach
from certstore.issuers.selfsigned import Identity, general_names, new_key
from certstore.store import Store
from tests.storing import half_done

NAMES = ("pump-7.site.test", "pump-7", "192.0.2.7", "2001:db8::7")


def identity(*names: str, common: str = "pump-7.site.test") -> Identity:
    return Identity(names or NAMES, "PX-7", common)


def root(now, *names: str) -> Authority:
    wanted = identity(*names)
    return make(wanted.names, wanted, now)


def forged(authority: Authority, name: str, now) -> x509.Certificate:
    """What somebody makes who has stolen the authority's key."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "thief")]))
        .issuer_name(authority.certificate.subject)
        .public_key(new_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(general_names([name])), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


@pytest.fixture
def verify(tool: Callable[[str], str], tmp_path: Path):
    """Have `openssl verify` judge a leaf under a root; gives its exit code and what it says."""

    def run(anchor: x509.Certificate, leaf: x509.Certificate, *more: str) -> tuple[int, str]:
        for name, one in (("root", anchor), ("leaf", leaf)):
            (tmp_path / f"{name}.pem").write_bytes(one.public_bytes(Encoding.PEM))
        done = subprocess.run(
            [
                *(tool("openssl"), "verify", "-x509_strict", "-purpose", "sslserver", *more),
                *("-CAfile", str(tmp_path / "root.pem"), str(tmp_path / "leaf.pem")),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


# --- what openssl says ---


@pytest.mark.parametrize("names", [NAMES, NAMES[:1], NAMES[2:]], ids=["all", "a name only", "addresses only"])
def test_openssl_takes_a_leaf_for_each_of_its_names_and_addresses(verify, now, names):
    authority = root(now, *names)
    leaf = authority.issue(identity(*names), new_key(), now).leaf
    for name in names:
        kind = "-verify_ip" if name[0] in "12" else "-verify_hostname"
        assert verify(authority.certificate, leaf, kind, name)[0] == 0, name


@pytest.mark.parametrize("names", [NAMES, NAMES[:1], NAMES[2:]], ids=["all", "a name only", "addresses only"])
@pytest.mark.parametrize("other", ["bank.test", "evil-pump-7", "192.0.2.8", "2001:db8::8", "10.0.0.1"])
def test_openssl_refuses_a_leaf_for_anybody_else(verify, now, names, other):
    authority = root(now, *names)
    code, said = verify(authority.certificate, forged(authority, other, now))
    assert code != 0
    assert "subtree violation" in said


@pytest.mark.parametrize("names", [NAMES, NAMES[:1], NAMES[2:]], ids=["all", "a name only", "addresses only"])
def test_gnutls_says_the_same(tool, tmp_path, now, names):
    authority = root(now, *names)
    leaves = {
        "not trusted": [forged(authority, one, now) for one in ("bank.test", "192.0.2.8")],
        "is trusted": [authority.issue(identity(*names), new_key(), now).leaf],
    }
    (tmp_path / "root.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    for verdict, certificates in leaves.items():
        for leaf in certificates:
            (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
            done = subprocess.run(
                [tool("certtool"), "--verify", "--load-ca-certificate", "root.pem", "--infile", "leaf.pem"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert verdict in (done.stdout + done.stderr).lower()


def test_openssl_refuses_an_authority_below_it(verify, now, tool, tmp_path):
    authority = root(now)
    below = make(("bank.test",), identity("bank.test", common="below"), now)
    signed = (
        x509.CertificateBuilder()
        .subject_name(below.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(below.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority.key, hashes.SHA256())
    )
    (tmp_path / "below.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    leaf = below.issue(identity("bank.test"), new_key(), now).leaf
    code, said = verify(authority.certificate, leaf, "-untrusted", str(tmp_path / "below.pem"))
    assert code != 0
    assert "path length constraint exceeded" in said


def test_leaves_are_good_under_the_root_before_and_after_its_renewal(verify, now):
    old = root(now)
    leaf = old.issue(identity(), new_key(), now).leaf
    new = make(old.names, identity(common="renamed since"), now + timedelta(hours=1), old)
    later = new.issue(identity(), new_key(), now + timedelta(hours=1)).leaf
    assert old.fingerprint != new.fingerprint
    assert (old.spki, old.certificate.subject) == (new.spki, new.certificate.subject)
    for anchor in (old, new):
        for one in (leaf, later):
            assert verify(anchor.certificate, one)[0] == 0


# --- what it is ---


def test_its_certificate_says_what_it_may_do_and_is_no_servers(now):
    certificate = root(now).certificate
    extensions = certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    names = extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert names.value.permitted_subtrees is not None
    assert x509.IPAddress(ipaddress.ip_network("192.0.2.7/32")) in names.value.permitted_subtrees
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < LIFETIME
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha256"


def test_a_leaf_is_one_that_clients_take_and_never_outlives_its_authority(now):
    authority = root(now)
    bundle = authority.issue(identity(), new_key(), now)
    findings = check(bundle, Circumstances(now, clock_plausible=True))
    assert [one for one in findings if one.severity != "note"] == []
    assert not bundle.self_signed
    assert bundle.chain == ()
    end = authority.certificate.not_valid_after_utc
    late = authority.issue(identity(), new_key(), end - timedelta(days=30))
    assert late.not_after == end


def test_it_covers_its_names_hosts_below_them_and_its_very_addresses(now):
    authority = root(now)
    assert all(map(authority.covers, (*NAMES, "api.pump-7.site.test", "*.pump-7.site.test")))
    assert not any(map(authority.covers, ("site.test", "xpump-7", "192.0.2.8", "2001:db8::", "*.site.test")))
    assert authority.names == tuple(sorted(NAMES))
    assert uncovered_names(authority, identity("192.0.2.8", *NAMES)) == ("192.0.2.8",)


def test_a_leaf_holds_what_is_covered_only_and_where_nothing_is_what_it_was_made_for(now):
    authority = root(now)
    assert reach(authority, identity("192.0.2.8", "192.0.2.7")).names == ("192.0.2.7",)
    assert reach(authority, identity("192.0.2.8")).names == authority.names
    assert make((), identity("x.test"), now).names == ()


def test_its_key_stands_in_no_repr(now):
    authority = root(now)
    assert "PrivateKey" not in repr(authority)


# --- when it is made anew ---


def test_it_is_made_at_first_and_renewed_in_its_last_third_for_all_that_it_covered(now):
    assert plan_authority(None, identity(), now, None, is_exported=False) == identity().names
    authority = root(now)
    for is_exported in (False, True):
        for days, names in ((2400, None), (2440, tuple(sorted((*NAMES, "192.0.2.8"))))):
            at = now + timedelta(days=days)
            wanted = identity("192.0.2.8")
            assert plan_authority(authority, wanted, at, None, is_exported=is_exported) == names


def test_a_name_that_it_doesnt_cover_makes_it_anew_only_while_nobody_has_it(now):
    authority, wanted = root(now), identity("192.0.2.8", *NAMES)
    early, late = now + PATIENCE / 2, now + PATIENCE
    assert plan_authority(authority, wanted, early, now, is_exported=False) is None
    assert plan_authority(authority, wanted, late, now, is_exported=False) == wanted.names
    assert plan_authority(authority, wanted, late + 9 * PATIENCE, now, is_exported=True) is None


def test_a_leaf_is_issued_anew_with_its_key_when_its_issuer_changes(now):
    key = new_key()
    own = selfsigned.issue(identity(), key, now)
    authority = root(now)
    due = plan(own, identity(), now, None, authority)
    assert due is not None
    assert (due.cause, due.key) == (Cause.ISSUER, own.key)
    below = authority.issue(identity(), key, now)
    assert plan(below, identity(), now, None, authority) is None
    newer = make(authority.names, identity(), now + timedelta(seconds=5), authority)
    again = plan(below, identity(), now, None, newer)
    assert again is not None
    assert again.cause is Cause.ISSUER
    assert (
        plan(newer.issue(identity(), key, now + timedelta(seconds=5)), identity(), now, None, newer) is None
    )
    back = plan(below, identity(), now, None, None)
    assert back is not None
    assert back.cause is Cause.ISSUER
    stranger = root(now).issue(identity(), key, now)
    assert plan(stranger, identity(), now, None, authority) is not None


# --- where it lies ---


@pytest.fixture
def ca(store: Store) -> DeviceCA:
    return store.device_ca


def test_it_is_kept_for_its_owner_alone_and_found_again(store, ca, clock):
    assert ca.current() is None
    with pytest.raises(NotFound, match="device authority"):
        ca.export()
    authority = root(clock())
    ca.keep(authority)
    (file,) = store.path.glob("authority/device-ca/*")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    again = read_authority(store.path)
    assert again is not None
    assert again.certificate == authority.certificate
    assert again.key.private_numbers() == authority.key.private_numbers()
    assert half_done(store.path) == []


def test_once_it_was_given_to_somebody_that_is_remembered(store, ca, clock):
    ca.keep(root(clock()))
    assert not ca.is_exported
    assert ca.export() == ca.export()
    assert ca.is_exported
    store.close()
    with Store.open(store.path, clock=clock) as again:
        assert again.device_ca.is_exported
        again.device_ca.remove()
        assert again.device_ca.current() is None
        assert not again.device_ca.is_exported


@pytest.mark.parametrize("damage", ["half", "empty", "another's key"])
def test_a_damaged_one_is_told_and_can_be_made_anew(store, clock, damage):
    store.device_ca.keep(root(clock()))
    (file,) = store.path.glob("authority/device-ca/*")
    content = file.read_bytes()
    other = root(clock())
    store.device_ca.keep(other)
    swapped = (
        content.split(b"-----BEGIN CERT")[0] + b"-----BEGIN CERT" + file.read_bytes().split(b"BEGIN CERT")[1]
    )
    file.write_bytes({"half": content[: len(content) // 2], "empty": b"", "another's key": swapped}[damage])
    store.close()
    with Store.open(store.path, clock=clock) as again:
        with pytest.raises(StoreCorrupt):
            again.device_ca.current()
        again.device_ca.keep(other)
        assert read_authority(again.path) == other or again.device_ca.current() is other
