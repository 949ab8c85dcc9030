"""Loading: DER to certificate and key objects that are whole, or a ValueError.

Promises: a certificate from here can be asked for its names, dates, serial number and key without an
exception (an unsupported key excepted: `public_key` may raise UnsupportedAlgorithm) and without a warning.
A key from here is consistent, and proved where that is affordable. Runs no pass phrase.
Refuses to know: PEM (armour.py), files, who wants them.

`cryptography` parses lazily and warns about certificates that it will refuse one day; both would surface
far from the file that is to blame, so all of it is touched here once.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key

__all__ = ["is_consistent", "load_certificate", "load_key", "touch"]

LARGEST_KEY = 16 << 10  # bytes of DER; RSA-16384, the most that OpenSSL works with, has 9.3 KiB
# Proving that the factors are prime takes 36 ms for 2048 bits, 0.25 s for 4096, 3.8 s for 8192 (measured):
# beyond this, consistency and the gate must do.
LARGEST_PROVED = 4096

# The others (Diffie-Hellman, X25519) can't stand behind a certificate of a TLS server.
_SIGNING = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
    dsa.DSAPrivateKey,
)
_quieting = threading.Lock()


def load_certificate(der: bytes) -> x509.Certificate:
    """Load one certificate; ValueError says what is wrong with it."""
    try:
        with _quiet():
            certificate = x509.load_der_x509_certificate(der)
            serial = certificate.serial_number
        touch(certificate)
    except (x509.InvalidVersion, TypeError, InternalError) as error:
        raise ValueError(str(error)) from None
    if serial <= 0:  # `cryptography` only warns as yet, again at each use
        raise ValueError("its serial number is not positive (RFC 5280 section 4.1.2.2)")
    return certificate


def touch(certificate: x509.Certificate) -> None:
    """Parse all that is parsed on first use; what is wrong shows here (ValueError, TypeError)."""
    with _quiet():
        _ = (certificate.subject, certificate.issuer, certificate.serial_number)
        _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        with suppress(UnsupportedAlgorithm):  # the checks have their own code for such keys
            certificate.public_key()


def load_key(der: bytes) -> PrivateKeyTypes:
    """Load one private key (PKCS #8, PKCS #1 or SEC 1), which nothing protects any more.

    ValueError says what is wrong with it; UnsupportedAlgorithm is told apart.
    """
    if len(der) > LARGEST_KEY:
        raise ValueError("it is larger than any key that TLS can use")
    try:
        with _quiet():
            key = load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, rsa.RSAPrivateKey):
            if not is_consistent(key):
                raise ValueError("its numbers don't belong together")
            if key.key_size <= LARGEST_PROVED:
                key = load_der_private_key(der, password=None)
    except TypeError:  # what `cryptography` says where a pass phrase is missing
        raise ValueError("it is protected by a pass phrase") from None
    except InternalError:  # its answer to some nonsensical curve parameters (found by fuzzing)
        raise ValueError("its parameters make no sense") from None
    if not isinstance(key, _SIGNING):
        raise UnsupportedAlgorithm("not for signatures")
    return key


def is_consistent(key: rsa.RSAPrivateKey) -> bool:
    """Say whether an RSA key's numbers belong together, in microseconds; the factors may still not be prime.

    It is what finds a damaged file again: a flipped bit in a factor or an exponent (RFC 8017 section 3.2).
    Such a key must never sign, because one faulty signature can give the other factor away.
    """
    numbers = key.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    e, n = numbers.public_numbers.e, numbers.public_numbers.n
    if p < 3 or q < 3 or p * q != n:
        return False
    return (
        numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and e * numbers.dmp1 % (p - 1) == 1
        and e * numbers.dmq1 % (q - 1) == 1
        and q * numbers.iqmp % p == 1
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep `cryptography` from warning on stderr about a stranger's certificate ("C=Germany" is too long).

    Warning filters belong to the whole process, so threads take turns: else one would put back what another
    had set for a moment.
    """
    with _quieting, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
