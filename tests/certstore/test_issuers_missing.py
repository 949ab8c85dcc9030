"""A missing issuer is told with the place where it is said to be, and only a signature finds it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID as Access

from certstore.assembly import assemble
from certstore.chain import issuer_among
from certstore.extensions import issuer_urls
from tests.keyselection import fitted
from tests.pki import Issued, Pki
from tests.storing import candidate_of


def pointing(*urls: str):
    """A tweak for `Pki.leaf`: the certificate says that its issuer's is there."""
    places = [x509.AccessDescription(Access.CA_ISSUERS, x509.UniformResourceIdentifier(url)) for url in urls]
    other = x509.AccessDescription(Access.OCSP, x509.UniformResourceIdentifier("http://ocsp.test/"))
    return lambda builder: builder.add_extension(
        x509.AuthorityInformationAccess([other, *places]), critical=False
    )


def codes_of(issued) -> list[str]:
    return [finding.code for finding in assemble(candidate_of(issued), lambda _spki: None)[1]]


def alone(issued: Issued) -> Issued:
    """The same without what stands above the leaf."""
    return replace(issued, chain=())


def test_the_place_of_a_missing_issuer_is_told_and_of_none_that_is_there(pki):
    issued = pki.leaf(tweak=pointing("http://ca.test/issuer.cer", "http://b.test/"))
    assert issuer_urls(issued.certificate) == ("http://ca.test/issuer.cer", "http://b.test/")
    assert codes_of(issued) == []
    assert codes_of(alone(issued)) == ["incomplete_chain", "issuer_known_at"]
    assert codes_of(alone(pki.leaf())) == ["incomplete_chain"]
    _, findings = assemble(candidate_of(alone(issued)), lambda _spki: None)
    assert "http://ca.test/issuer.cer" in findings[1].words
    assert "aia = true" in findings[1].hint


def test_a_place_that_is_no_url_is_passed_by(pki):
    def tweak(builder):
        place = x509.AccessDescription(Access.CA_ISSUERS, x509.DNSName("ca.test"))
        return builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)

    assert issuer_urls(pki.leaf(tweak=tweak).certificate) == ()


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_an_issuer_is_found_by_its_signature_and_not_by_its_name(pki, kind):
    leaf = pki.leaf(key=kind).certificate
    impostor = Pki().intermediate  # of the same name, with another key
    assert issuer_among(leaf, [impostor, pki.root]) is None
    assert issuer_among(leaf, [impostor, pki.root, pki.intermediate]) == pki.intermediate


def test_a_certificate_that_is_no_authority_is_no_issuer(pki):
    """A customer's leaf that signs another one: no client takes it."""
    signer = pki.leaf(names=("signer.test",))
    now = datetime.now(UTC)
    child = (
        x509.CertificateBuilder()
        .subject_name(signer.certificate.subject)
        .issuer_name(signer.certificate.subject)
        .public_key(pki.leaf().key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(signer.key, hashes.SHA256())
    )
    assert issuer_among(child, [signer.certificate]) is None


def test_a_key_that_was_made_to_fit_the_signature_is_no_issuers():
    """Whoever answers in an authority's place would have its word: also on what is revoked."""
    pki, now = Pki(), datetime.now(UTC).replace(microsecond=0)
    key = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    issuer = pki.authority("RSA", key, None, key, now=now)

    def issue() -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(issuer.subject)
        builder = builder.public_key(pki.root_key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
        return builder.sign(key, hashes.SHA256())

    leaf, fitting = fitted(issue)
    forged = pki.authority("RSA", fitting, None, fitting, now=now)
    leaf.verify_directly_issued_by(forged)  # which says so
    assert issuer_among(leaf, [forged]) is None
    assert issuer_among(leaf, [forged, issuer]) == issuer
