"""Weak keys are told apart from good ones as badkeys, the second opinion here, tells them."""

from __future__ import annotations

import math
import secrets
from functools import cache

import gmpy2
import pytest
from badkeys.rsakeys import fermat, roca, smallfactors
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from certstore.weakness import has_close_primes, has_roca_fingerprint, has_small_factor, weaknesses


def int_prime(after: int) -> int:
    return int(gmpy2.next_prime(after))


@cache
def moduli() -> tuple[int, ...]:
    """Moduli of honest keys; three are enough, since making one costs a tenth of a second."""
    return tuple(
        rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_numbers().n
        for _ in range(3)
    )


def infineon_prime(bits: int) -> int:
    """Make a prime as the faulty library did: k * M + (65537**a mod M), M a product of the first primes."""
    product = math.prod(p for p in range(2, 225) if gmpy2.is_prime(p))
    while True:
        a, k = secrets.randbits(64), secrets.randbits(bits - product.bit_length())
        candidate = k * product + pow(65537, a, product)
        if candidate.bit_length() == bits and gmpy2.is_prime(candidate):
            return candidate


def words_of(n: int, e: int = 65537) -> str:
    return "; ".join(weaknesses(rsa.RSAPublicNumbers(e, n).public_key()))


def test_honest_keys_are_not_weak():
    for n in moduli():
        assert words_of(n) == ""
        assert not any(check(n) for check in (fermat, roca, smallfactors))
    for other in (ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()):
        assert not list(weaknesses(other.public_key()))


@given(gap=st.integers(min_value=1, max_value=1 << 12))
@settings(max_examples=10, deadline=None)
def test_primes_that_lie_close_together_are_found(gap):
    p = int_prime(secrets.randbits(1023) | 1 << 1023)
    n = p * int_prime(p + gap)
    assert fermat(n)
    assert has_close_primes(n)
    assert "close together" in words_of(n)


def test_a_square_is_found_too():
    p = int_prime(secrets.randbits(1023) | 1 << 1023)
    assert has_close_primes(p * p)


def test_the_fingerprint_of_the_faulty_library_is_found():
    n = infineon_prime(1024) * infineon_prime(1024)
    assert roca(n)
    assert has_roca_fingerprint(n)
    assert "ROCA" in words_of(n)


@given(n=st.integers(min_value=3, max_value=1 << 2048))
@settings(deadline=None)
def test_whatever_the_number_the_fingerprint_is_seen_where_badkeys_sees_it(n):
    # theirs asks for one exponent for all primes, ours for one for each: it may only find more, hardly ever
    assert has_roca_fingerprint(n) or not roca(n)


@given(factor=st.sampled_from([2, 3, 5, 251, 65521, 65537]), rest=st.integers(1 << 1024, 1 << 1030))
@settings(deadline=None)
def test_small_factors_are_found(factor, rest):
    assert smallfactors(factor * rest)
    assert has_small_factor(factor * rest)


@pytest.mark.parametrize(("exponent", "words"), [(3, "is 3, less"), (2**33 + 1, "larger than any")])
def test_exponents_that_clients_do_not_expect_are_told(exponent, words):
    assert words in words_of(moduli()[0], exponent)
