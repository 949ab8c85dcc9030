"""The way up from a leaf: of several the one that lasts, then the one that ends, then the shortest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from certstore import chain as chains
from certstore.bundle import is_issued_by
from certstore.chain import build_chain
from tests.pki import Key, Pki

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Two:
    """An authority with a short way to its root, and a longer one over an elder's."""

    pki: Pki
    elder_key: Key
    elder: x509.Certificate
    middle_key: Key
    middle: x509.Certificate

    def detour(self, end: datetime | None = None) -> x509.Certificate:
        """Give the intermediate's key a certificate under the elder's."""
        return self.pki.authority(
            "Test Intermediate", self.pki.intermediate_key, self.middle, self.middle_key, now=NOW, end=end
        )

    def short(self, end: datetime) -> x509.Certificate:
        return self.pki.authority(
            "Test Intermediate", self.pki.intermediate_key, self.pki.root, self.pki.root_key, now=NOW, end=end
        )


@pytest.fixture
def two(pki: Pki) -> Two:
    elder_key, middle_key = pki.make_key("ec"), pki.make_key("ec")
    elder = pki.authority("Elder", elder_key, None, elder_key, now=NOW)
    middle = pki.authority("Middle", middle_key, elder, elder_key, now=NOW)
    return Two(pki, elder_key, elder, middle_key, middle)


def test_of_two_whole_ways_the_shorter_one_is_sent(two: Two):
    leaf, detour = two.pki.leaf().certificate, two.detour()
    given = [two.elder, two.middle, detour, two.pki.intermediate, two.pki.root]
    for order in (given, given[::-1]):
        chain = build_chain(leaf, order)
        assert (chain.certificates, chain.has_root) == ((two.pki.intermediate,), True)
        assert set(chain.others) == {two.elder, two.middle, detour}


def test_a_longer_way_is_sent_where_the_shorter_one_ends_before_the_leaf(two: Two):
    leaf, detour = two.pki.leaf(days=90).certificate, two.detour()
    short = two.short(NOW + timedelta(days=30))
    chain = build_chain(leaf, [two.pki.root, short, detour, two.middle, two.elder])
    assert chain.certificates == (detour, two.middle)


def test_a_way_to_a_root_that_came_along_goes_before_one_that_leads_nowhere(two: Two):
    leaf = two.pki.leaf().certificate
    stray = two.pki.authority(
        "Test Intermediate", two.pki.intermediate_key, two.elder, two.elder_key, now=NOW
    )
    chain = build_chain(leaf, [stray, two.detour(), two.middle, two.elder])
    assert chain.certificates == (stray,)
    chain = build_chain(leaf, [stray, two.pki.intermediate, two.pki.root])
    assert chain.certificates == (two.pki.intermediate,)


def test_an_issuer_of_the_right_name_with_another_key_is_noticed(pki: Pki):
    other = Pki()
    chain = build_chain(pki.leaf().certificate, [other.intermediate, other.root])
    assert (chain.certificates, chain.is_misled) == ((), True)
    chain = build_chain(pki.leaf().certificate, [pki.intermediate, other.root])
    assert (chain.certificates, chain.is_misled) == ((pki.intermediate,), True)
    assert not build_chain(pki.leaf().certificate, [pki.intermediate]).is_misled


def test_authorities_that_all_sign_each_other_cost_a_bounded_number_of_looks(pki: Pki, monkeypatch):
    key = pki.intermediate_key
    name = pki.intermediate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    certificate = pki.intermediate
    every = []
    for _ in range(60):  # one name, one key: each is the issuer of each
        certificate = pki.authority(str(name), key, certificate, key, now=NOW)
        every.append(certificate)
    looks = []

    def look(one: x509.Certificate, by: x509.Certificate) -> bool:
        looks.append(one)
        return is_issued_by(one, by)

    monkeypatch.setattr(chains, "is_issued_by", look)
    chain = build_chain(pki.leaf().certificate, every)
    assert len(looks) <= chains.MOST_CHECKS + 1
    assert len(chain.certificates) <= chains.LONGEST_CHAIN
