"""Laws of the ACME client's pure half: whatever an authority says, one of a few good things comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from certstore.findings import CATALOGUE
from certstore.issuers.acme import jws, order
from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.client import LONGEST_WAIT, retry_after
from certstore.issuers.acme.messages import (
    Authorization,
    Directory,
    Identifier,
    Offer,
    Order,
    OrderStatus,
    ProofStatus,
    https,
)
from certstore.issuers.acme.problems import Asked, Problem, error_of
from certstore.issuers.acme.renewalinfo import RenewalInfo
from certstore.issuers.acme.wishes import Binding
from tests.authorities.scripted import key_of, thumb, unb64, verify

NOW = datetime(2026, 11, 26, tzinfo=UTC)
KEY = jws.new_key()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
FIELDS = [
    "newNonce",
    "newAccount",
    "newOrder",
    "meta",
    "status",
    "identifiers",
    "identifier",
    "authorizations",
    "finalize",
    "challenges",
    "type",
    "detail",
    "subproblems",
    "suggestedWindow",
    "start",
    "end",
    "error",
    "token",
    "url",
    "value",
]
WORDS = st.sampled_from(["valid", "pending", "dns", "https://a.test/x", "x.test", "2026-11-26T00:00:00Z"])
SHAPES = st.recursive(
    JSON | WORDS,
    lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner, max_size=8) | st.lists(inner, max_size=3),
    max_leaves=20,
)


@given(SHAPES.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=200))
def test_whatever_an_authority_says_is_a_value_or_a_value_error(content):
    for read in (
        Directory.read,
        Order.read,
        lambda found: Authorization.read(found, "https://a.test/1"),
        lambda found: RenewalInfo.read(found, NOW),
    ):
        try:
            read(content)
        except ValueError:
            continue
    error = error_of(Problem.read(content, 400), Asked("a.test"))
    assert error.code in CATALOGUE
    assert str(error).isprintable()


@given(st.text(max_size=40))
def test_an_address_is_https_or_refused(text):
    for url in (text, f"http://{text}", f"https://u:p@{text}"):
        try:
            assert https(url).startswith("https://")
        except ValueError:
            continue
        assert "@" not in url.split("/")[2]


@given(st.text(alphabet="0123456789 -GMTabc:,", max_size=30), st.text(max_size=10))
def test_a_wait_that_an_authority_asks_for_is_at_most_a_week(said, date):
    found = retry_after({"retry-after": said, "date": date}, NOW)
    assert found is None or NOW <= found <= NOW + LONGEST_WAIT


@given(st.integers(0, 10**6))
def test_a_wait_in_seconds_and_as_a_date_are_the_same_by_the_authoritys_clock(seconds):
    theirs = NOW + timedelta(days=400)
    until = f"{theirs + timedelta(seconds=seconds):%a, %d %b %Y %H:%M:%S GMT}"
    date = f"{theirs:%a, %d %b %Y %H:%M:%S GMT}"
    assert retry_after({"retry-after": str(seconds)}, NOW) == retry_after(
        {"retry-after": until, "date": date}, NOW
    )


def test_the_thumbprint_is_that_of_the_rfc():
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )
    public = rsa.RSAPublicNumbers(65537, int.from_bytes(unb64(n), "big")).public_key()
    assert jws.thumbprint(public) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"  # RFC 7638 section 3.1


@given(st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), st.booleans())
def test_what_is_signed_verifies_and_names_its_url_and_nonce(payload, has_kid):
    signer = jws.Signer.of(KEY, "https://a.test/acct/1" if has_kid else None)
    flat = json.loads(signer.sign(payload, "https://a.test/x", "nonce"))
    verify(KEY.public_key(), flat)
    head = json.loads(unb64(flat["protected"]))
    assert (head["url"], head["nonce"], "kid" in head, "jwk" in head) == (
        "https://a.test/x",
        "nonce",
        has_kid,
        not has_kid,
    )
    assert (json.loads(unb64(flat["payload"])) if flat["payload"] else None) == payload
    assert thumb(KEY.public_key()) == jws.thumbprint(KEY.public_key())


def test_a_key_change_is_signed_by_the_new_key_without_a_nonce():
    new = jws.new_key()
    flat = jws.roll(KEY, new, "https://a.test/acct/1", "https://a.test/change")
    verify(new.public_key(), flat)
    head, payload = (json.loads(unb64(flat[one])) for one in ("protected", "payload"))
    assert "nonce" not in head
    assert thumb(key_of(payload["oldKey"])) == thumb(KEY.public_key())


@given(st.binary(min_size=1, max_size=64))
def test_no_mac_key_is_shown(mac):
    binding = Binding("kid", b"secret-" + mac)
    assert "secret-" not in repr(binding)
    assert "secret-" not in json.dumps(jws.bind(binding, KEY.public_key(), "https://a.test/x"))


OFFERS = st.builds(
    Offer,
    st.sampled_from([*Challenge, "onion-csr-01"]),
    st.integers(0, 50).map(lambda n: f"https://a.test/c/{n}"),
    st.sampled_from(ProofStatus),
    st.sampled_from(["", "token"]),
)
NAMES = st.sampled_from(["device.test", "192.0.2.1"]).map(Identifier.of)
AUTHORIZATIONS = st.builds(
    Authorization,
    st.just("https://a.test/z"),
    st.sampled_from(ProofStatus),
    NAMES,
    st.booleans(),
    st.lists(OFFERS, max_size=4, unique_by=lambda one: one.url).map(tuple),
)
ORDERS = st.builds(
    Order,
    st.sampled_from(OrderStatus),
    st.frozensets(NAMES, min_size=1),
    st.just(("https://a.test/z",)),
    st.just("https://a.test/f"),
    st.none() | st.just("https://a.test/cert"),
)
SEEN = st.builds(order.Seen, ORDERS, st.lists(AUTHORIZATIONS, max_size=3).map(tuple))
URLS = st.frozensets(st.integers(0, 50).map(lambda n: f"https://a.test/c/{n}"))
KNOWN = st.builds(
    order.Known,
    st.lists(st.sampled_from(Challenge), unique=True),
    st.booleans(),
    st.booleans(),
    st.none() | SEEN,
    URLS,
    URLS,
)


@given(KNOWN)
def test_a_request_is_handed_in_only_for_an_order_that_is_ready(known):
    step = order.plan(known)
    if isinstance(step, order.Finalize):
        assert known.seen is not None
        assert known.seen.order.status is OrderStatus.READY
    assert isinstance(step, order.Create) == (not known.has_url and not known.has_chain)
    assert isinstance(step, order.Done) == known.has_chain


@given(KNOWN)
def test_nothing_is_told_ready_that_is_not_answered_or_was_told(known):
    step = order.plan(known)
    if isinstance(step, order.Tell):
        for proof in step.proofs:
            assert proof.offer.url in known.answered
            assert proof.offer.url not in known.told
            assert proof.challenge in known.kinds
            assert proof.offer.kind == proof.challenge
    if isinstance(step, order.Answer | order.Tell):
        for proof in step.proofs:
            by_dns = proof.challenge in {Challenge.DNS_01, Challenge.DNS_PERSIST_01}
            assert by_dns or not proof.authorization.is_wildcard
            assert not (by_dns and proof.authorization.identifier.kind == "ip")


@given(KNOWN)
def test_what_was_done_is_not_to_be_done_again(known):
    """An answer given, then told: so each order waits or ends after as many steps as it has proofs."""
    for _ in range(3):
        step = order.plan(known)
        if isinstance(step, order.Answer):
            known = replace(known, answered=known.answered | {one.offer.url for one in step.proofs})
        elif isinstance(step, order.Tell):
            known = replace(known, told=known.told | {one.offer.url for one in step.proofs})
    assert not isinstance(order.plan(known), order.Answer | order.Tell)
