"""A revocation list counts where the issuer gave it, whole, now; else it says why not."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import CRLEntryExtensionOID

from certstore import revocationlists
from certstore.findings import Finding
from certstore.revocation import SKEW, Judgement, Status
from certstore.revocationlists import judge_list
from tests.pki import Pki
from tests.responding import AT, DAY, HOUR, revocation_list, with_responder

HERE, ELSEWHERE = "http://crl.test/1.crl", "http://crl.test/2.crl"


@pytest.fixture(scope="module")
def leaf(pki: Pki) -> x509.Certificate:
    return pki.leaf(start=AT - DAY, tweak=with_responder(lists=(HERE,))).certificate


def judged(answer: bytes, leaf: x509.Certificate, pki: Pki) -> Judgement:
    found = judge_list(answer, leaf, pki.intermediate, AT)
    assert isinstance(found, Judgement), found
    return found


def refused(answer: bytes, leaf: x509.Certificate, pki: Pki) -> str:
    found = judge_list(answer, leaf, pki.intermediate, AT)
    assert isinstance(found, Finding), found
    return f"{found.code}: {found.words}"


def part(full_name: str | None, *facts: str) -> tuple[x509.ExtensionType, bool]:
    """Make a list say which part it is of."""
    names = [x509.UniformResourceIdentifier(full_name)] if full_name is not None else None
    said = x509.IssuingDistributionPoint(
        full_name=names,
        relative_name=None,
        only_contains_user_certs="only_contains_user_certs" in facts,
        only_contains_ca_certs="only_contains_ca_certs" in facts,
        only_some_reasons=None,
        indirect_crl="indirect_crl" in facts,
        only_contains_attribute_certs="only_contains_attribute_certs" in facts,
    )
    return said, True


def test_who_does_not_stand_on_the_list_is_good_until_its_end(pki, leaf):
    other = pki.leaf().certificate
    found = judged(revocation_list(pki, (other, None)), leaf, pki)
    assert found == Judgement(Status.GOOD, AT - HOUR, AT + 7 * DAY)


@pytest.mark.parametrize("reason", [None, x509.ReasonFlags.superseded, x509.ReasonFlags.certificate_hold])
def test_who_stands_on_it_is_revoked(pki, leaf, reason):
    found = judged(revocation_list(pki, (leaf, reason)), leaf, pki)
    assert (found.status, found.revoked_at) == (Status.REVOKED, AT - 2 * DAY)
    assert found.reason == ("" if reason is None else reason.value)
    assert found.may_return is (reason is x509.ReasonFlags.certificate_hold)


def test_a_list_may_come_as_pem(pki, leaf):
    pem = x509.load_der_x509_crl(revocation_list(pki, (leaf, None))).public_bytes(Encoding.PEM)
    assert judged(pem, leaf, pki).is_revoked


def test_a_list_of_somebody_else_says_nothing(pki, leaf):
    answer = revocation_list(pki, issuer=pki.root.subject, key=pki.root_key)
    assert refused(answer, leaf, pki).startswith("revocation_foreign")


def test_a_forged_list_says_nothing(pki, leaf):
    forged = revocation_list(pki, (leaf, None), key=ec.generate_private_key(ec.SECP256R1()))
    assert refused(forged, leaf, pki).startswith("revocation_unsigned")


def test_a_list_counts_in_its_time_only(pki, leaf):
    late = revocation_list(pki, begins=AT - 8 * DAY, ends=AT - SKEW - HOUR)
    early = revocation_list(pki, begins=AT + HOUR, ends=AT + DAY)
    assert refused(late, leaf, pki).startswith("revocation_outdated")
    assert refused(early, leaf, pki).startswith("revocation_early")


def test_the_part_that_the_certificate_names_is_enough_and_no_other_is(pki, leaf):
    mine = revocation_list(pki, (leaf, None), extensions=[part(HERE, "only_contains_user_certs")])
    assert judged(mine, leaf, pki).is_revoked
    assert "not that of this certificate" in refused(
        revocation_list(pki, extensions=[part(ELSEWHERE)]), leaf, pki
    )


@pytest.mark.parametrize("fact", ["only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"])
def test_a_list_about_something_else_says_nothing(pki, leaf, fact):
    answer = revocation_list(pki, extensions=[part(None, fact)])
    assert refused(answer, leaf, pki).startswith("revocation_unreadable")


def test_a_part_whose_name_counts_from_the_issuers_is_no_whole_list(pki, leaf):
    name = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "part 2")])
    said = x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=name,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    assert "a part of" in refused(revocation_list(pki, extensions=[(said, True)]), leaf, pki)


def test_a_part_is_this_ones_by_any_of_the_names_that_the_certificate_gives(pki):
    """A directory's address beside the one that is fetched from, as Windows' authorities write both."""
    directory = "ldap://ad.test/cn=ca"
    told = with_responder(lists=(HERE, directory))
    leaf = pki.leaf(start=AT - DAY, tweak=told).certificate
    assert judged(revocation_list(pki, extensions=[part(directory)]), leaf, pki).status is Status.GOOD


def test_a_list_about_users_only_does_not_speak_of_an_authority(pki):
    leaf = pki.leaf(start=AT - DAY, ca=True).certificate
    users = revocation_list(pki, extensions=[part(None, "only_contains_user_certs")])
    assert "other kinds" in refused(users, leaf, pki)
    authorities = revocation_list(pki, extensions=[part(None, "only_contains_ca_certs")])
    assert judged(authorities, leaf, pki).status is Status.GOOD


def test_a_reason_that_nobody_knows_leaves_it_revoked(pki, leaf):
    strange = x509.UnrecognizedExtension(CRLEntryExtensionOID.CRL_REASON, b"\x0a\x01\x07")
    found = judged(revocation_list(pki, (leaf, None), beside=strange), leaf, pki)
    assert (found.is_revoked, found.reason) == (True, "")


def test_a_signature_by_sha1_counts_for_nothing():
    pki = Pki()
    issuer = pki.authority("RSA", pki.rsa_key, None, pki.rsa_key, now=AT)
    leaf = pki.leaf(start=AT - DAY, issuer=None).certificate
    builder = x509.CertificateRevocationListBuilder().issuer_name(leaf.issuer)
    strong = builder.last_update(AT).next_update(AT + DAY).sign(pki.rsa_key, hashes.SHA256())
    by256, by1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    signed = strong.tbs_certlist_bytes.replace(by256, by1)
    signature = pki.rsa_key.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    answer = strong.public_bytes(Encoding.DER).replace(by256, by1).replace(strong.signature, signature)
    found = judge_list(answer, leaf, issuer, AT)
    assert isinstance(found, Finding)
    assert "broken" in found.words


def test_a_list_of_changes_says_nothing(pki, leaf):
    answer = revocation_list(pki, extensions=[(x509.DeltaCRLIndicator(1), True)])
    assert "changes only" in refused(answer, leaf, pki)


def test_a_list_with_something_critical_that_nobody_knows_says_nothing(pki, leaf):
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    assert "critical" in refused(revocation_list(pki, extensions=[(strange, True)]), leaf, pki)


@pytest.mark.parametrize("answer", [b"", b"\x30", b"<html>", b"-----BEGIN X509 CRL-----\nAAAA\n"])
def test_garbage_is_unreadable(pki, leaf, answer):
    assert refused(answer, leaf, pki).startswith("revocation_unreadable")


def test_what_is_too_large_is_not_even_looked_into(pki, leaf, monkeypatch):
    answer = revocation_list(pki)
    monkeypatch.setattr(revocationlists, "LARGEST_LIST", len(answer) - 1)
    assert refused(answer, leaf, pki).startswith("revocation_unreadable")
