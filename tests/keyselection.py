"""An RSA key that is made to fit a signature of somebody else (duplicate-signature key selection).

For any signature s of a message whose padded form is m there is an exponent e with s**e = m modulo another
number: where that is the product of two primes p for which p - 1 has small factors only, e is found in
moments (Pohlig and Hellman), and with it the private key. Blake-Wilson and Menezes, "Unknown Key-Share
Attacks on the Station-to-Station (STS) Protocol", 1999; Ayer found it in ACME in 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

# Found by chance: each less one is twice a product of different primes below 5000.
_P = int(
    "dd340d825726080a6671437fb8b0d14dd7bd6d1363709a035288f3191db81f36"
    "fd612f190d6b8b97b4eb3946284c4db9fb0a1a20f4d0cfdc76dcf6722e678a23",
    16,
)
_Q = int(
    "dd8d09b940c6f52b8439251cbc76ce408924a1f62490a5bcc3cd6e9602b6582e"
    "0d88c152fd4d1e5fb8dc522c14c48fe5249c1ed86110c136feb0df80b852c1bb",
    16,
)
_BYTES = 128
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017 section 9.2


def fitted(issue: Callable[[], x509.Certificate]) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """Issue certificates by an RSA key of 1024 bits until a key fits, some sixteen; gives both."""
    while True:
        certificate = issue()
        key = _key_for(certificate)
        if key is not None:
            return certificate, key


def _key_for(certificate: x509.Certificate) -> rsa.RSAPrivateKey | None:
    told = _SHA256 + sha256(certificate.tbs_certificate_bytes).digest()
    padded = int.from_bytes(b"\0\1" + b"\xff" * (_BYTES - 3 - len(told)) + b"\0" + told, "big")
    signature = int.from_bytes(certificate.signature, "big")
    if signature >= _P * _Q:
        return None
    logs = [_logarithm(signature, padded, prime) for prime in (_P, _Q)]
    if None in logs:
        return None
    exponent = _together([(log or 0, prime - 1) for log, prime in zip(logs, (_P, _Q), strict=True)])
    if math.gcd(exponent, (_P - 1) * (_Q - 1)) != 1:
        return None
    own = pow(exponent, -1, math.lcm(_P - 1, _Q - 1))
    parts = rsa.rsa_crt_dmp1(own, _P), rsa.rsa_crt_dmq1(own, _Q), rsa.rsa_crt_iqmp(_P, _Q)
    public = rsa.RSAPublicNumbers(exponent, _P * _Q)
    return rsa.RSAPrivateNumbers(_P, _Q, own, *parts, public).private_key()


def _logarithm(base: int, power: int, prime: int) -> int | None:
    """Say to which exponent `base` is `power` modulo `prime`; None where it never is."""
    found = []
    for factor in (n for n in range(2, 5_000) if (prime - 1) % n == 0 and _is_prime(n)):
        small, wanted = (pow(x, (prime - 1) // factor, prime) for x in (base, power))
        step, reached = 1, 0
        while step != wanted:
            step, reached = step * small % prime, reached + 1
            if reached == factor:
                return None
        found.append((reached, factor))
    return _together(found)


def _together(parts: list[tuple[int, int]]) -> int:
    """Give the number that leaves these remainders, each by its modulus."""
    number, modulus = 0, 1
    for remainder, by in parts:
        shared = math.gcd(modulus, by)
        if (remainder - number) % shared:
            return 0
        steps = (remainder - number) // shared * pow(modulus // shared, -1, by // shared) % (by // shared)
        number, modulus = number + modulus * steps, math.lcm(modulus, by)
    return number % modulus


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
