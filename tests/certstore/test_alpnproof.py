"""The certificate of tls-alpn-01: what RFC 8737 section 3 asks of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from cryptography import x509

from certstore import alpn_proof, asked_as

AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
DIGEST = hashlib.sha256(b"token.thumbprint").digest()
IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


@pytest.mark.parametrize("name", ["device.test", "192.0.2.7", "2001:db8::7"])
def test_it_has_exactly_the_name_and_the_digest(name):
    bundle = alpn_proof(name, DIGEST, AT)
    leaf = bundle.leaf
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in names] == [name]
    proof = leaf.extensions.get_extension_for_oid(IDENTIFIER)
    assert proof.critical
    assert proof.value.public_bytes() == bytes.fromhex("0420") + DIGEST
    assert leaf.issuer == leaf.subject
    assert leaf.not_valid_before_utc < AT < leaf.not_valid_after_utc
    assert alpn_proof(name, DIGEST, AT).spki != bundle.spki, "a key for one use"


def test_a_digest_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        alpn_proof("device.test", DIGEST[:-1], AT)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("device.test", "device.test"),
        ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ("2001:db8::7", "7." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_an_address_is_asked_for_by_its_reverse_name(name, asked):
    assert asked_as(name) == asked
