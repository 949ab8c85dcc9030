"""Weakness: what makes a public key one whose private half strangers can compute, or clients refuse.

Pure, and cheap: some milliseconds for RSA, nothing for others. The tests are the classical ones, in the form
in which badkeys has them (which the laws hold ours against): close primes, the ROCA fingerprint, small
factors, odd exponents. Refuses to know lists of keys that leaked (blocklist.py).

Why not badkeys itself: it brings gmpy2, another native library that would read strangers' numbers on every
device, and its block list's reader ends the process where the list is missing. What it knows beyond these
tests (primes shared with the keys of one scan of 2012, two makers' generators) stands in its block list too,
as far as such keys were found, and that list is read here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from certstore.bundle import PublicKey

__all__ = ["weaknesses"]

# Whoever takes the next prime after the first gets primes so close that Fermat's method finds them at once
# (CVE-2022-26320); badkeys takes as many rounds, and random primes of this size need some 2**500.
_FERMAT_ROUNDS: Final = 100
# FIPS 186-5, 5.4: at least 65537. Beyond 32 bits Windows and Go refuse; it may hide a short private one, too.
_LEAST_EXPONENT: Final = 65_537
_MOST_EXPONENT_BITS: Final = 32
# The primes of Infineon's library are powers of 65537 modulo all small primes (CVE-2017-15361; Nemec and
# others, "The Return of Coppersmith's Attack", section 3.1); a random modulus is so for these by 2**-28.
_ROCA_GENERATOR: Final = 65_537
_ROCA_LARGEST: Final = 167
_LARGEST_SMALL_PRIME: Final = 65_537


def weaknesses(public: PublicKey) -> Iterator[str]:
    """Say each thing that is wrong with a key's numbers, in words that follow "the key is weak: "."""
    if not isinstance(public, rsa.RSAPublicKey):
        return  # of a point on a curve nothing can be said: lists know those that leaked
    numbers = public.public_numbers()
    n, e = numbers.n, numbers.e
    if e < _LEAST_EXPONENT:
        yield f"its public exponent is {e}, less than 65537"
    elif e.bit_length() > _MOST_EXPONENT_BITS:
        yield "its public exponent is larger than any that clients expect"
    if has_small_factor(n):
        yield "its modulus has a small factor"
    elif has_close_primes(n):
        yield "its two primes lie close together, so that anybody can find them (CVE-2022-26320)"
    if has_roca_fingerprint(n):
        yield "it was made by a faulty library for smart cards and TPMs (ROCA, CVE-2017-15361)"


def has_close_primes(n: int) -> bool:
    """Say whether Fermat's method finds the factors of `n` within some rounds."""
    a = math.isqrt(n)
    a += a * a < n
    for _ in range(_FERMAT_ROUNDS):
        rest = a * a - n
        root = math.isqrt(rest)
        if root * root == rest:
            return True
        a += 1
    return False


def has_roca_fingerprint(n: int) -> bool:
    """Say whether `n` is a power of 65537 modulo each of the small primes."""
    return all(n % prime in powers for prime, powers in _roca_powers())


def has_small_factor(n: int) -> bool:
    """Say whether a prime up to 65537 divides `n`."""
    return any(n % prime == 0 for prime in _primes(_LARGEST_SMALL_PRIME))


@cache
def _roca_powers() -> tuple[tuple[int, frozenset[int]], ...]:
    def powers(prime: int) -> frozenset[int]:
        return frozenset(pow(_ROCA_GENERATOR, exponent, prime) for exponent in range(prime))

    return tuple((prime, powers(prime)) for prime in _primes(_ROCA_LARGEST) if prime > 2)


@cache
def _primes(largest: int) -> tuple[int, ...]:
    sieve = bytearray(b"\1") * (largest + 1)
    sieve[:2] = b"\0\0"
    for number in range(2, math.isqrt(largest) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, largest + 1, number)))
    return tuple(number for number in range(largest + 1) if sieve[number])
