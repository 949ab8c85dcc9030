"""What is found about a certificate by what surrounds it: names in use, lists, authorities, browsers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from certstore.bundle import Bundle
from certstore.checks import check, check_shown
from certstore.circumstances import Anchor, Circumstances, names_of_the_same_key
from certstore.meta import Meta
from tests.pki import Issued, Pki


@pytest.fixture
def around(now) -> Circumstances:
    return Circumstances(now, clock_plausible=True)


def codes(bundle: Bundle, around: Circumstances) -> list[str]:
    return [finding.code for finding in check(bundle, around)]


def authority(
    pki: Pki, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType, path_length: int | None = None
) -> x509.Certificate:
    """Make another certificate for the test intermediate, with a key that is known here."""
    plain = pki.intermediate
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.subject)
        .issuer_name(pki.root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(plain.not_valid_before_utc)
        .not_valid_after(plain.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(pki.root_key, hashes.SHA256())


def under(pki: Pki, issued: Issued, *extensions: x509.ExtensionType, **more: int) -> Bundle:
    """Put a leaf below the same intermediate with other extensions."""
    above = authority(pki, pki.intermediate_key, *extensions, **more)
    return Bundle.make(issued.key, issued.certificate, (above,))


def policies(*oids: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]
    )


def public(pki: Pki, start: datetime, days: float) -> Bundle:
    """Issue as a public authority does, by its own word; without timestamps, which nobody can make here."""
    tweak = lambda builder: builder.add_extension(policies("2.23.140.1.2.1"), critical=False)  # noqa: E731
    return pki.leaf(start=start, days=days, tweak=tweak).bundle()


# --- names ---


def test_names_in_use_that_the_certificate_covers_are_no_news(pki, around):
    bundle = pki.leaf(("*.site.test", "192.0.2.7")).bundle()
    used = replace(around, reached_by=("pump.site.test", "192.0.2.7"))
    assert codes(bundle, used) == []


def test_names_in_use_that_are_not_covered_are_noted_with_their_names(pki, around):
    used = replace(around, reached_by=("device.test", "pump.local", "192.0.2.7"))
    (finding,) = check(pki.leaf().bundle(), used)
    assert (finding.code, str(finding.severity)) == ("names_not_covered", "note")
    assert "pump.local, 192.0.2.7" in finding.words


def test_a_certificate_for_none_of_the_names_in_use_is_warned_about(pki, around):
    used = replace(around, reached_by=("pump.local", "192.0.2.7"))
    (finding,) = check(pki.leaf().bundle(), used)
    assert (finding.code, str(finding.severity)) == ("no_name_covered", "warning")
    assert "device.test" in finding.hint


# --- keys that others know ---


def test_what_lists_say_of_key_and_certificate_is_a_warning_each(pki, around):
    listed = replace(
        around, key_listed="leaked.dat, collection 7", certificate_listed="shared.txt: ACME routers"
    )
    findings = check(pki.leaf().bundle(), listed)
    assert [f.code for f in findings] == ["key_leaked", "certificate_shared"]
    assert not any(f.is_error for f in findings)
    assert "ACME routers" in findings[1].words


def test_a_list_that_cant_be_read_is_a_note_and_no_more(pki, around):
    (finding,) = check(pki.leaf().bundle(), replace(around, unread=("/x.dat: no such file or directory",)))
    assert (finding.code, str(finding.severity)) == ("list_unread", "note")


def test_a_key_that_is_here_under_a_quite_different_name_is_noted(pki, around):
    issued = pki.leaf()
    bundle = issued.bundle()
    other = pki.leaf(("mail.test",), key=issued.key).bundle()
    renewed = pki.leaf(("device.test", "new.test"), key=issued.key).bundle()
    below = pki.leaf(("*.test",), key=issued.key).bundle()
    stranger = pki.leaf(("mail.test",)).bundle()
    metas = [Meta.of(one) for one in (bundle, other, renewed, below, stranger)]
    assert names_of_the_same_key(bundle, metas) == ("mail.test",)
    (finding,) = check(bundle, replace(around, known_as=("mail.test",)))
    assert (finding.code, str(finding.severity)) == ("key_known_elsewhere", "note")


# --- authorities ---


def test_an_authority_that_no_list_knows_is_noted_only_where_there_is_a_list(pki, around):
    bundle = pki.leaf().bundle()
    assert codes(bundle, around) == []
    assert codes(bundle, replace(around, anchor=Anchor.KNOWN)) == []
    (finding,) = check(bundle, replace(around, anchor=Anchor.UNKNOWN))
    assert (finding.code, str(finding.severity)) == ("unknown_root", "note")
    assert "Test Root" in finding.words


def test_behind_a_public_certificate_with_an_unknown_end_an_intermediate_is_missing(pki, around, now):
    findings = check(public(pki, now, 30), replace(around, anchor=Anchor.UNKNOWN))
    assert [f.code for f in findings] == ["incomplete_chain", "no_timestamps"]
    assert "Test Root" in findings[0].words


@pytest.mark.parametrize(
    ("permitted", "excluded", "names", "refused"),
    [
        (["site.test"], [], ("site.test", "a.site.test", "*.b.site.test"), []),
        (
            ["site.test"],
            [],
            ("a.site.test", "site.test.evil", "notsite.test"),
            ["site.test.evil", "notsite.test"],
        ),
        ([".site.test"], [], ("a.site.test", "site.test"), ["site.test"]),
        (["SITE.test"], [], ("a.site.test",), []),
        (["site.test"], [], ("192.0.2.1",), []),  # kinds that aren't listed are free
        (["10.0.0.0/8"], [], ("10.1.2.3", "11.0.0.1", "fd00::1"), ["11.0.0.1", "fd00::1"]),
        ([], ["0.0.0.0/0", "::/0"], ("a.test", "192.0.2.1"), ["192.0.2.1"]),
        (["site.test"], ["b.site.test"], ("a.site.test", "c.b.site.test"), ["c.b.site.test"]),
        ([], [""], ("a.test",), ["a.test"]),
    ],
)
def test_what_an_authority_must_not_issue_for_is_told_by_name(
    pki, around, permitted, excluded, names, refused
):
    def subtree(text: str) -> x509.GeneralName:
        return x509.IPAddress(ip_network(text)) if "/" in text else x509.DNSName(text)

    constraints = x509.NameConstraints(
        [subtree(text) for text in permitted] or None, [subtree(text) for text in excluded] or None
    )
    findings = check(under(pki, pki.leaf(names), constraints), around)
    assert [f.code for f in findings] == ["name_constraint_violated"] * len(refused)
    for finding, name in zip(sorted(f.words for f in findings), sorted(refused), strict=True):
        assert name in finding


def test_subjects_are_constrained_too_whatever_their_case(pki, around):
    def within(name: str) -> Bundle:
        subtree = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        return under(pki, pki.leaf(), x509.NameConstraints([subtree], None))

    assert codes(within("DEVICE.test"), around) == []
    assert codes(within("other.test"), around) == ["name_constraint_violated"]


def test_an_authority_with_more_below_it_than_it_may_is_told(pki, around, now):
    key = ec.generate_private_key(ec.SECP256R1())
    lower = pki.authority("Lower", key, pki.intermediate, pki.intermediate_key, now=now)
    for allowed, expected in ((None, []), (1, []), (0, ["path_too_long"])):
        upper = authority(pki, pki.intermediate_key, path_length=allowed)
        findings = check_shown(pki.leaf().certificate, (lower, upper), around)
        assert [f.code for f in findings] == expected


# --- what browsers ask of public authorities ---


@pytest.mark.parametrize(
    ("start", "days", "expected"),
    [
        ("2025-06-01", 398, ["next_lifetime_shorter"]),  # its successor: 200
        ("2025-06-01", 399, ["public_lifetime_too_long"]),
        ("2026-04-01", 90, []),
        ("2026-04-01", 201, ["public_lifetime_too_long"]),
        ("2026-12-01", 200, ["next_lifetime_shorter"]),
        ("2027-04-01", 101, ["public_lifetime_too_long"]),
        ("2029-04-01", 47, []),
        ("2029-04-01", 48, ["public_lifetime_too_long"]),
    ],
)
def test_public_certificates_may_last_as_long_as_the_schedule_says(pki, around, start, days, expected):
    begins = datetime.fromisoformat(start).replace(tzinfo=UTC)
    at = replace(around, now=begins + timedelta(days=1))
    assert codes(public(pki, begins, days), at) == [*expected, "no_timestamps"]


def test_a_private_authority_owes_browsers_neither_timestamps_nor_short_lives(pki, around, now):
    assert codes(pki.leaf(start=now, days=800).bundle(), around) == []


def test_a_certificate_without_its_key_is_judged_alike(pki, around):
    issued = pki.leaf(days=1000)
    assert check_shown(issued.certificate, issued.chain, around) == check(issued.bundle(), around)
