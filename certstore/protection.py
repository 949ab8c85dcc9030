"""Protection: what a pass phrase locks away in a key or a container, opened by it.

Promises: `decrypt` reads what an AlgorithmIdentifier says (PBES2 of RFC 8018, the old forms of PKCS #5 and
PKCS #12), pays for the work from the purse before it is done, and gives the plain bytes or raises:
NotOpenedError for a wrong pass phrase, TooCostlyError, UnknownProtectionError, and ValueError for what is
malformed. Nothing of a pass phrase or of what it opens stands in an error or a repr.
Refuses to know: which file it is about, and what is inside.

A pass phrase has several forms, because PKCS #12 hashes it in UTF-16 with a zero behind (RFC 7292 appendix
B.1) and everything else as bytes, and because "none" was written by some tools as an empty text and by
others as nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4, TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from certstore import derivation, rc2
from certstore.asn1 import INTEGER, OCTETS, OID, SEQUENCE, Element
from certstore.derivation import Purse, Work

__all__ = [
    "HASH_OIDS",
    "Form",
    "NotOpenedError",
    "UnknownProtectionError",
    "decrypt",
    "decrypt_pem",
    "forms_of",
    "pbkdf2_from",
]


class NotOpenedError(ValueError):
    """This pass phrase doesn't open it."""


class UnknownProtectionError(ValueError):
    """It is protected by a method that is not known here; `method` names it."""

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.method = method


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a pass phrase down: as bytes, and as PKCS #12 hashes it."""

    raw: bytes = field(repr=False)
    wide: bytes = field(repr=False)


def forms_of(passphrases: Sequence[bytes]) -> tuple[Form, ...]:
    """Give what is to be tried, in this order: what was said, then the two ways to say nothing."""
    every: list[Form] = []
    for raw in passphrases:
        every += (Form(raw, wide) for wide in _wide(raw))
    return tuple(dict.fromkeys([*every, Form(b"", b"\0\0"), Form(b"", b"")]))


def _wide(raw: bytes) -> Iterator[bytes]:
    with suppress(UnicodeDecodeError):
        yield raw.decode("utf-8").encode("utf-16-be") + b"\0\0"
    if not raw.isascii():  # OpenSSL before 1.1.0 took each byte for a character
        yield raw.decode("latin-1").encode("utf-16-be") + b"\0\0"


HASH_OIDS: Final = {
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_HMAC_OIDS: Final = {
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.8": "sha224",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
# PKCS #5 v1.5 (RFC 8018 appendix A.3): hash, cipher
_PBES1: Final = {
    "1.2.840.113549.1.5.3": ("md5", "DES"),
    "1.2.840.113549.1.5.6": ("md5", "RC2-64"),
    "1.2.840.113549.1.5.10": ("sha1", "DES"),
    "1.2.840.113549.1.5.11": ("sha1", "RC2-64"),
}
# RFC 7292 appendix C: cipher, bytes of its key
_PKCS12: Final = {
    "1.2.840.113549.1.12.1.1": ("RC4", 16),
    "1.2.840.113549.1.12.1.2": ("RC4", 5),
    "1.2.840.113549.1.12.1.3": ("3DES", 24),
    "1.2.840.113549.1.12.1.4": ("3DES", 16),
    "1.2.840.113549.1.12.1.5": ("RC2-128", 16),
    "1.2.840.113549.1.12.1.6": ("RC2-40", 5),
}
_PBES2: Final = "1.2.840.113549.1.5.13"
_PBKDF2: Final = "1.2.840.113549.1.5.12"
_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"
# RFC 8018 appendix B.2: cipher, bytes of its key
_SCHEMES: Final = {
    "2.16.840.1.101.3.4.1.2": ("AES", 16),
    "2.16.840.1.101.3.4.1.22": ("AES", 24),
    "2.16.840.1.101.3.4.1.42": ("AES", 32),
    "1.2.840.113549.3.7": ("3DES", 24),
    "1.3.14.3.2.7": ("DES", 8),
}
_RC2_CBC: Final = "1.2.840.113549.3.2"
_RC2_VERSIONS: Final = {160: ("RC2-40", 5), 120: ("RC2-64", 8), 58: ("RC2-128", 16)}
_PEM_CIPHERS: Final = {
    "DES-CBC": ("DES", 8),
    "DES-EDE3-CBC": ("3DES", 24),
    "AES-128-CBC": ("AES", 16),
    "AES-192-CBC": ("AES", 24),
    "AES-256-CBC": ("AES", 32),
}
_RC2_ROUNDS_A_BLOCK: Final = 200  # a block takes as long here as so many rounds of a hash


def decrypt(algorithm: Element, data: bytes, form: Form, purse: Purse) -> bytes:
    """Decrypt what an AlgorithmIdentifier protects."""
    fields = algorithm.fields()
    method = fields.take(OID).oid()
    if method == _PBES2:
        return _decrypt_pbes2(fields.take(SEQUENCE), data, form, purse)
    if method not in _PBES1 and method not in _PKCS12:
        raise UnknownProtectionError(method)
    parameters = fields.take(SEQUENCE).fields()
    salt, rounds = parameters.take(OCTETS).octets(), parameters.take(INTEGER).number()
    if method in _PBES1:
        hash_name, cipher = _PBES1[method]
        derived = derivation.pbkdf1(Work(hash_name, salt, rounds), form.raw, purse)
        return _open(cipher, derived[:8], derived[8:], data, purse)
    cipher, size = _PKCS12[method]
    work = Work("sha1", salt, rounds)
    key = derivation.pkcs12(work, form.wide, 1, size, purse)
    iv = b"" if cipher == "RC4" else derivation.pkcs12(work, form.wide, 2, 8, purse)
    return _open(cipher, key, iv, data, purse)


def decrypt_pem(dek_info: str, data: bytes, form: Form, purse: Purse) -> bytes:
    """Decrypt an old OpenSSL key; `dek_info` is what its DEK-Info header says (RFC 1421 section 4.6.1.3)."""
    name, _, digits = dek_info.partition(",")
    known = _PEM_CIPHERS.get(name.strip().upper())
    if known is None:
        raise UnknownProtectionError(name.strip())
    iv = bytes.fromhex(digits.strip())
    cipher, size = known
    return _open(cipher, derivation.pem_key(form.raw, iv[:8], size), iv, data, purse)


def pbkdf2_from(parameters: Element, form: Form, size: int, purse: Purse) -> bytes:
    """Derive by PBKDF2-params (RFC 8018 appendix A.2)."""
    fields = parameters.fields()
    salt, rounds = fields.take(OCTETS).octets(), fields.take(INTEGER).number()
    fields.maybe(INTEGER)  # how long the key is, which the cipher knows too
    prf = fields.maybe(SEQUENCE)
    method = prf.fields().take(OID).oid() if prf else "1.2.840.113549.2.7"  # its default
    if method not in _HMAC_OIDS:
        raise UnknownProtectionError(method)
    return derivation.pbkdf2(Work(_HMAC_OIDS[method], salt, rounds), form.raw, size, purse)


def _decrypt_pbes2(parameters: Element, data: bytes, form: Form, purse: Purse) -> bytes:
    fields = parameters.fields()
    by, scheme = fields.take(SEQUENCE).fields(), fields.take(SEQUENCE).fields()
    method = scheme.take(OID).oid()
    if method == _RC2_CBC:
        inner = scheme.take(SEQUENCE).fields()
        version, iv = inner.take(INTEGER).number(), inner.take(OCTETS).octets()
        cipher, size = _RC2_VERSIONS.get(version, ("", 0))
    else:
        cipher, size = _SCHEMES.get(method, ("", 0))
        iv = scheme.take(OCTETS).octets() if cipher else b""
    derive = by.take(OID).oid()
    if not cipher or derive not in {_PBKDF2, _SCRYPT}:
        raise UnknownProtectionError(derive if cipher else method)
    if derive == _PBKDF2:
        key = pbkdf2_from(by.take(SEQUENCE), form, size, purse)
    else:
        inner = by.take(SEQUENCE).fields()
        salt = inner.take(OCTETS).octets()
        n, r, p = (inner.take(INTEGER).number() for _ in range(3))
        key = derivation.scrypt(form.raw, salt, (n, r, p), size, purse)
    return _open(cipher, key, iv, data, purse)


def _open(cipher: str, key: bytes, iv: bytes, data: bytes, purse: Purse) -> bytes:
    """Decrypt, as far as this system's OpenSSL does: one that is built for FIPS leaves old ciphers out."""
    try:
        return _opened(cipher, key, iv, data, purse)
    except UnsupportedAlgorithm:
        raise UnknownProtectionError(cipher) from None


def _opened(cipher: str, key: bytes, iv: bytes, data: bytes, purse: Purse) -> bytes:
    """Decrypt, and take the padding off: it is what shows a wrong pass phrase."""
    if cipher == "RC4":
        return Cipher(ARC4(key), mode=None).decryptor().update(data)
    block = 16 if cipher == "AES" else 8
    if len(iv) != block or not data or len(data) % block:
        raise ValueError("what is encrypted has a length that can't be")
    if cipher.startswith("RC2"):
        purse.spend(len(data) // block * _RC2_ROUNDS_A_BLOCK)
        plain = rc2.decrypt_cbc(key, int(cipher[4:]), iv, data)
    else:
        plain = Cipher(_block_cipher(cipher, key), modes.CBC(iv)).decryptor().update(data)
    padding = plain[-1]
    if not 1 <= padding <= block or plain[-padding:] != bytes([padding]) * padding:
        raise NotOpenedError
    return plain[:-padding]


def _block_cipher(cipher: str, key: bytes) -> BlockCipherAlgorithm:
    if cipher == "AES":
        return AES(key)
    if cipher == "DES":  # three times the same is once (FIPS 46-3)
        return TripleDES(key * 3)
    return TripleDES(key if len(key) == 24 else key + key[:8])
