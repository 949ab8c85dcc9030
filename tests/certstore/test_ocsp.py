"""An OCSP answer counts where its authority gave it, for this certificate, now; else it says why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from certstore.findings import Finding, Severity
from certstore.ocsp import LARGEST_OCSP, judge_ocsp, ocsp_question
from certstore.revocation import (
    ASSUMED,
    SKEW,
    Judgement,
    Status,
    is_to_be_stapled,
    list_urls,
    responder_urls,
)
from tests.pki import Issued, Pki
from tests.responding import AT, DAY, HOUR, Responder, delegate, resigned, with_responder

SECOND = timedelta(seconds=1)
SHA256_OID = bytes.fromhex("608648016503040201")


@pytest.fixture(scope="module")
def leaf(pki: Pki) -> x509.Certificate:
    return pki.leaf(start=AT - DAY).certificate


def impostor(pki: Pki, of: x509.Certificate) -> Issued:
    """Make a certificate in somebody's name, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(of.subject).issuer_name(of.issuer)
    builder = builder.public_key(key.public_key()).serial_number(of.serial_number)
    builder = builder.not_valid_before(AT - DAY).not_valid_after(AT + DAY)
    eku = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    return Issued(key, builder.add_extension(eku, critical=False).sign(key, hashes.SHA256()), ())


def judged(answer: bytes, leaf: x509.Certificate, pki: Pki) -> Judgement:
    found = judge_ocsp(answer, leaf, pki.intermediate, AT)
    assert isinstance(found, Judgement), found
    return found


def refused(answer: bytes, leaf: x509.Certificate, pki: Pki) -> Finding:
    found = judge_ocsp(answer, leaf, pki.intermediate, AT)
    assert isinstance(found, Finding), found
    assert found.severity is Severity.WARNING
    return found


def test_the_question_names_the_certificate_by_its_issuer_and_number(pki, leaf):
    asked = ocsp.load_der_ocsp_request(ocsp_question(leaf, pki.intermediate))
    assert asked.serial_number == leaf.serial_number
    assert (
        asked.issuer_key_hash
        == x509.SubjectKeyIdentifier.from_public_key(pki.intermediate.public_key()).digest
    )


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384()], ids=lambda h: h.name)
def test_a_good_answer_of_the_issuer_counts_until_its_end(pki, leaf, algorithm, by_name):
    answer = Responder(pki, hash=algorithm, by_name=by_name).answer(leaf)
    assert judged(answer, leaf, pki) == Judgement(Status.GOOD, AT - HOUR, AT + 7 * DAY)


def test_half_of_an_answers_life_is_when_the_next_is_asked_for():
    assert Judgement(Status.GOOD, AT, AT + 4 * DAY).half == AT + 2 * DAY


def test_a_revoked_certificate_is_told_with_when_and_why(pki, leaf):
    found = judged(Responder(pki).revoked(leaf), leaf, pki)
    assert (found.status, found.revoked_at, found.reason) == (Status.REVOKED, AT - 2 * DAY, "keyCompromise")
    assert found.is_revoked
    assert not found.may_return


def test_only_a_hold_may_end(pki, leaf):
    assert judged(Responder(pki).revoked(leaf, x509.ReasonFlags.certificate_hold), leaf, pki).may_return
    assert not judged(Responder(pki).revoked(leaf, None), leaf, pki).may_return


def test_a_responder_may_not_know_the_certificate(pki, leaf):
    answer = Responder(pki).answer(leaf, ocsp.OCSPCertStatus.UNKNOWN)
    assert judged(answer, leaf, pki).status is Status.UNKNOWN


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_delegate_of_the_issuer_may_answer(pki, leaf, kind):
    key = pki.make_key(kind)
    usages = (ExtendedKeyUsageOID.OCSP_SIGNING,)
    issued = pki.leaf(("ocsp.test",), key=key, eku=usages, start=AT - DAY)
    answer = Responder(pki, key, issued.certificate, (issued.certificate,)).answer(leaf)
    assert judged(answer, leaf, pki).status is Status.GOOD


def test_a_delegate_needs_to_have_been_told_so_by_this_issuer_and_for_now(pki, leaf):
    def answered_by(*usages: x509.ObjectIdentifier, **facts: object) -> str:
        made = delegate(pki, *usages, **facts)  # type: ignore[arg-type]
        answer = Responder(pki, made.key, made.certificate, (made.certificate,)).answer(leaf)
        found = refused(answer, leaf, pki)
        assert found.code == "revocation_unsigned"
        return found.words

    assert "not told by the issuer" in answered_by(ExtendedKeyUsageOID.SERVER_AUTH)
    assert "not told by the issuer" in answered_by(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    assert "no certificate of the issuer" in answered_by(issuer="root")
    assert "out of date" in answered_by(start=AT - 3 * DAY, days=1)
    assert "out of date" in answered_by(start=AT + DAY)


def test_any_other_certificate_of_the_issuer_may_not_answer(pki, leaf):
    """Else whoever has a server's key could call its neighbours revoked, or not revoked."""
    other = pki.leaf(("other.test",), start=AT - DAY)
    answer = Responder(pki, other.key, other.certificate, (other.certificate,)).answer(leaf)
    assert refused(answer, leaf, pki).code == "revocation_unsigned"


def test_a_delegate_of_the_same_name_with_another_key_is_nobody(pki, leaf):
    made = delegate(pki)
    forger = impostor(pki, made.certificate)
    forged = Responder(pki, forger.key, forger.certificate, (made.certificate,), by_name=True).answer(leaf)
    assert "signature is wrong" in refused(forged, leaf, pki).words


def test_a_delegate_whose_certificate_nobody_can_verify_is_nobody():
    """Anybody can write one: in the issuer's name, signed by an algorithm that there isn't."""
    pki, by = Pki(), padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
    issuer = pki.authority("RSA", pki.rsa_key, None, pki.rsa_key, now=AT)
    leaf = impostor(pki, issuer).certificate
    key = pki.other_rsa_key
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(issuer.subject)
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(AT - DAY).not_valid_after(AT + DAY)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    made = builder.add_extension(usage, critical=False).sign(key, hashes.SHA256(), rsa_padding=by)
    strange = made.public_bytes(Encoding.DER).replace(SHA256_OID, SHA256_OID[:-1] + b"\x7f")
    forger = x509.load_der_x509_certificate(strange)
    with pytest.raises(UnsupportedAlgorithm):
        forger.verify_directly_issued_by(issuer)
    answer = Responder(pki, key, forger, (forger,), issuer=issuer).revoked(leaf)
    found = judge_ocsp(answer, leaf, issuer, AT)
    assert isinstance(found, Finding), found
    assert "no certificate of the issuer" in found.words


def test_a_delegate_whose_certificate_does_not_come_along_is_unknown(pki, leaf):
    made = delegate(pki)
    assert refused(Responder(pki, made.key, made.certificate).answer(leaf), leaf, pki).code == (
        "revocation_unsigned"
    )


def test_only_so_many_certificates_are_tried(pki, leaf):
    made = delegate(pki)
    crowd = tuple(pki.leaf((f"n{n}.test",)).certificate for n in range(4))
    answer = Responder(pki, made.key, made.certificate, (*crowd, made.certificate)).answer(leaf)
    assert refused(answer, leaf, pki).code == "revocation_unsigned"


def test_a_forger_in_the_issuers_name_is_found_out(pki, leaf):
    forger = impostor(pki, pki.intermediate)
    for along in ((), (forger.certificate,)):
        forged = Responder(pki, forger.key, forger.certificate, along, by_name=True).answer(leaf)
        assert refused(forged, leaf, pki).code == "revocation_unsigned"


PSS = bytes.fromhex(  # RSASSA-PSS with SHA-256, MGF1 with SHA-256, 32 bytes of salt (RFC 4055)
    "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
)


@pytest.mark.parametrize("is_theirs", [True, False])
def test_an_rsa_authority_may_sign_by_pss(pki, is_theirs):
    key, now = pki.rsa_key, AT
    issuer = pki.authority("RSA", key, None, key, now=now)
    leaf = impostor(pki, issuer).certificate
    plain = Responder(pki, key, issuer, issuer=issuer).answer(leaf)
    by = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signing = key if is_theirs else pki.other_rsa_key
    answer = resigned(plain, PSS, lambda signed: signing.sign(signed, by, hashes.SHA256()))
    found = judge_ocsp(answer, leaf, issuer, AT)
    if is_theirs:
        assert found == Judgement(Status.GOOD, AT - HOUR, AT + 7 * DAY)
    else:
        assert isinstance(found, Finding)
        assert found.code == "revocation_unsigned"


def test_a_reason_that_nobody_knows_leaves_it_revoked(pki, leaf):
    key = pki.intermediate_key
    by = bytes.fromhex("300a06082a8648ce3d040302")

    def sign(signed: bytes) -> bytes:
        signature: bytes = key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return signature

    known, unknown = bytes.fromhex("a0030a0101"), bytes.fromhex("a0030a0107")
    answer = resigned(Responder(pki).revoked(leaf), by, sign, known, unknown)
    found = judged(answer, leaf, pki)
    assert (found.is_revoked, found.reason, found.may_return) == (True, "", False)


def test_an_answer_of_a_delegate_counts_no_longer_than_its_certificate(pki, leaf):
    """A client looks at that too, and refuses the staple."""
    made = delegate(pki, days=2, start=AT - DAY)
    answer = Responder(pki, made.key, made.certificate, (made.certificate,)).answer(leaf)
    assert judged(answer, leaf, pki).ends == AT + DAY


def test_an_answer_with_something_critical_that_nobody_knows_counts_for_nothing(pki, leaf):
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")

    def answer(*, critical: bool) -> bytes:
        key, issuer = pki.intermediate_key, pki.intermediate
        builder = ocsp.OCSPResponseBuilder().responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
        good = ocsp.OCSPCertStatus.GOOD
        builder = builder.add_response(leaf, issuer, hashes.SHA1(), good, AT, AT + DAY, None, None)
        builder = builder.add_extension(strange, critical=critical)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

    assert judged(answer(critical=False), leaf, pki).status is Status.GOOD
    found = refused(answer(critical=True), leaf, pki)
    assert found.code == "revocation_unreadable"
    assert "critical" in found.words


def test_an_answer_of_the_last_day_that_there_is_is_refused_and_no_error(pki, leaf):
    end = datetime(9999, 12, 31, 23, tzinfo=UTC)
    assert refused(Responder(pki, begins=end, ends=None).answer(leaf), leaf, pki).code == "revocation_early"


def test_a_signature_by_sha1_counts_for_nothing(pki, leaf):
    signer = pki.leaf(key="rsa", eku=(ExtendedKeyUsageOID.OCSP_SIGNING,), start=AT - DAY)
    strong = Responder(pki, signer.key, signer.certificate, (signer.certificate,)).answer(leaf)
    # cryptography signs by none such: sha256WithRSAEncryption is called sha1WithRSAEncryption
    weak = strong.replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105"))
    assert "broken" in refused(weak, leaf, pki).words


def test_another_certificates_answer_is_not_this_ones(pki, leaf):
    other = pki.leaf(start=AT - DAY).certificate
    assert refused(Responder(pki).answer(other), leaf, pki).code == "revocation_foreign"


def test_the_same_number_of_another_issuer_is_another_certificate(pki, leaf):
    """A serial number is unique to its issuer only (RFC 5280 section 4.1.2.2)."""
    answer = Responder(pki, issuer=pki.root).answer(leaf)
    assert refused(answer, leaf, pki).code == "revocation_foreign"


@pytest.mark.parametrize(
    ("begins", "ends", "code"),
    [
        (AT - 8 * DAY, AT - SKEW - SECOND, "revocation_outdated"),
        (AT + SKEW + SECOND, AT + 7 * DAY, "revocation_early"),
        (AT - ASSUMED - SKEW - SECOND, None, "revocation_outdated"),
    ],
)
def test_an_answer_counts_in_its_time_only(pki, leaf, begins, ends, code):
    assert refused(Responder(pki, begins=begins, ends=ends).answer(leaf), leaf, pki).code == code


@pytest.mark.parametrize(
    ("begins", "ends"), [(AT - 8 * DAY, AT - SKEW), (AT + SKEW, AT + 7 * DAY), (AT - ASSUMED, None)]
)
def test_clocks_may_differ_a_little(pki, leaf, begins, ends):
    found = judged(Responder(pki, begins=begins, ends=ends).answer(leaf), leaf, pki)
    assert found.ends == (ends or begins + ASSUMED)


@pytest.mark.parametrize(
    "status", [s for s in ocsp.OCSPResponseStatus if s is not ocsp.OCSPResponseStatus.SUCCESSFUL]
)
def test_a_responder_that_gives_no_answer_says_so(pki, leaf, status):
    answer = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    found = refused(answer, leaf, pki)
    assert found.code == "revocation_unanswered"
    assert status.name.lower().replace("_", " ") in found.words


@pytest.mark.parametrize("answer", [b"", b"\x30", b"<html>", b"\x30\x82\xff\xff", b"\x30\x03\x0a\x01\x00"])
def test_garbage_is_unreadable(pki, leaf, answer):
    assert refused(answer, leaf, pki).code == "revocation_unreadable"


def test_what_is_too_large_is_not_even_looked_into(pki, leaf):
    crowd = tuple(pki.leaf((f"n{n}.test",)).certificate for n in range(40))
    answer = Responder(pki, certificates=crowd).answer(leaf)
    assert len(answer) > LARGEST_OCSP
    assert "bytes" in refused(answer, leaf, pki).words


def test_no_beginning_of_an_answer_is_one(pki, leaf):
    answer = Responder(pki).answer(leaf)
    for end in range(0, len(answer), 7):
        assert refused(answer[:end], leaf, pki).code == "revocation_unreadable"


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_of_an_answer_can_be_turned_without_its_being_refused_or_the_same(pki, leaf, place, bit):
    answer = bytearray(Responder(pki).answer(leaf))
    answer[place % len(answer)] ^= 1 << bit
    found = judge_ocsp(bytes(answer), leaf, pki.intermediate, AT)
    assert isinstance(found, Finding) or found == Judgement(Status.GOOD, AT - HOUR, AT + 7 * DAY)


def test_a_certificate_tells_whom_to_ask_and_what_it_promises(pki):
    tweak = with_responder(
        "http://ocsp.test/a",
        "ldap://ocsp.test",
        "https://ocsp.test/b",
        "HTTP://ocsp.test/c",
        lists=("http://crl.test/1", "ldap://crl.test"),
        must_staple=True,
    )
    told = pki.leaf(tweak=tweak).certificate
    assert responder_urls(told) == ("http://ocsp.test/a", "HTTP://ocsp.test/c")
    assert list_urls(told) == ("http://crl.test/1",)
    assert is_to_be_stapled(told)


def test_a_certificate_without_any_of_that_tells_nothing(leaf):
    assert (responder_urls(leaf), list_urls(leaf), is_to_be_stapled(leaf)) == ((), (), False)


def test_a_list_of_some_reasons_only_or_of_others_is_not_the_whole(pki):
    url = [x509.UniformResourceIdentifier("http://crl.test/1")]
    other = [x509.DirectoryName(pki.root.subject)]
    points = [
        x509.DistributionPoint(url, None, frozenset({x509.ReasonFlags.key_compromise}), None),
        x509.DistributionPoint(url, None, None, other),
    ]
    leaf = pki.leaf(tweak=lambda b: b.add_extension(x509.CRLDistributionPoints(points), critical=False))
    assert list_urls(leaf.certificate) == ()
