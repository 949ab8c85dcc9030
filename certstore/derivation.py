"""Derivation: from a pass phrase to a key, by the ways that files ask for; each paid for before it is gone.

Promises: a file that asks for more rounds than any tool writes is refused before the first one
(`TooCostlyError`), and all files of a candidate together get no more than the `Purse` holds.
Refuses to know: ciphers, and where the parameters stood.

Theory of the bound. How long a pass phrase takes to try is the file's choice: 3,000,000 rounds are one number
in it. OpenSSL writes 2,048 or 10,000, Windows 2,000, Java 10,000 (100,000 once), GnuTLS and NSS 600,000, and
nobody more; a million leaves room. What counts together: GnuTLS locks each certificate by itself, and an old
cipher's key and IV take the rounds three times over, so that its files with 3DES and two intermediates come
to thirteen times 600,000. A round costs 0.5 to 1 us here, and the eight million that are spent at most 4 to
8 s; where a board is so much slower that this is too long, the 20 s that an examination has are the second
fence. scrypt is counted by its N x r x p, which costs about as much a step, and bounded by its memory
besides: OpenSSL's own choice takes 16 MiB, and four times that is admitted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Final

__all__ = [
    "HASHES",
    "MOST_ROUNDS",
    "Purse",
    "TooCostlyError",
    "Work",
    "pbkdf1",
    "pbkdf2",
    "pem_key",
    "pkcs12",
    "scrypt",
]

MOST_ROUNDS: Final = 1_000_000
MOST_ROUNDS_TOGETHER: Final = 8_000_000
_MOST_SCRYPT_BYTES: Final = 64 << 20
_LONGEST_SALT: Final = 1024  # bytes; everybody writes 8 to 64
_MD5: Final = partial(hashlib.md5, usedforsecurity=False)  # the flag alone costs as much as a hash
# What OpenSSL has in every build; the name is hashlib's.
HASHES: Final = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512"})


class TooCostlyError(ValueError):
    """To try a pass phrase would take more `rounds` than `limit`."""

    def __init__(self, rounds: int, limit: int) -> None:
        super().__init__(rounds, limit)
        self.rounds, self.limit = rounds, limit

    def __str__(self) -> str:
        return f"it asks for {self.rounds} rounds, more than {self.limit}"


@dataclass(slots=True)
class Purse:
    """What may yet be spent, in rounds."""

    left: int = MOST_ROUNDS_TOGETHER

    def spend(self, rounds: int, times: int = 1) -> None:
        """Pay for work before it is done: rounds, so many times over.

        Raises TooCostlyError, and ValueError for less than one round.
        """
        if rounds < 1:
            raise ValueError("a number of rounds makes no sense")
        if rounds > MOST_ROUNDS:
            raise TooCostlyError(rounds, MOST_ROUNDS)
        whole = rounds * times
        if whole > self.left:
            raise TooCostlyError(MOST_ROUNDS_TOGETHER - self.left + whole, MOST_ROUNDS_TOGETHER)
        self.left -= whole


@dataclass(frozen=True, slots=True)
class Work:
    """By which hash, with which salt, how often: what each derivation is told."""

    hash_name: str
    salt: bytes
    rounds: int

    def pay(self, purse: Purse, size: int) -> int:
        """Spend what it takes to derive so many bytes; gives the size of the hash's blocks."""
        if self.hash_name not in HASHES or len(self.salt) > _LONGEST_SALT:
            raise ValueError("a hash is of an unknown kind, or a salt far too long")
        blank = hashlib.new(self.hash_name, usedforsecurity=False)
        purse.spend(self.rounds, -(-size // blank.digest_size))
        return blank.block_size


def pkcs12(work: Work, wide: bytes, purpose: int, size: int, purse: Purse) -> bytes:
    """Derive as PKCS #12 does (RFC 7292 appendix B.2).

    wide: the pass phrase as it is hashed. purpose: 1 a key, 2 an IV, 3 a MAC's key.
    """
    block = work.pay(purse, size)
    hash_name = work.hash_name
    mixed = _filled(work.salt, block) + _filled(wide, block)
    out = b""
    while len(out) < size:
        digest = hashlib.new(hash_name, bytes([purpose]) * block + mixed, usedforsecurity=False).digest()
        out += (digest := _again(hash_name, digest, work.rounds - 1))
        add = int.from_bytes(_filled(digest, block)[:block], "big") + 1
        parts = (int.from_bytes(mixed[at : at + block], "big") for at in range(0, len(mixed), block))
        mixed = b"".join(((part + add) % (1 << 8 * block)).to_bytes(block, "big") for part in parts)
    return out[:size]


def pbkdf1(work: Work, secret: bytes, purse: Purse) -> bytes:
    """Derive 16 bytes as PKCS #5 v1.5 does (RFC 8018 section 5.1)."""
    work.pay(purse, 16)
    first = hashlib.new(work.hash_name, secret + work.salt, usedforsecurity=False).digest()
    return _again(work.hash_name, first, work.rounds - 1)[:16]


def pbkdf2(work: Work, secret: bytes, size: int, purse: Purse) -> bytes:
    """Derive as PKCS #5 v2 does (RFC 8018 section 5.2)."""
    work.pay(purse, size)
    return hashlib.pbkdf2_hmac(work.hash_name, secret, work.salt, work.rounds, size)


def scrypt(secret: bytes, salt: bytes, cost: tuple[int, int, int], size: int, purse: Purse) -> bytes:
    """Derive by scrypt (RFC 7914) with cost (N, r, p), which is paid for here."""
    n, r, p = cost
    if n < 2 or n & (n - 1) or r < 1 or p < 1 or len(salt) > _LONGEST_SALT:
        raise ValueError("parameters of scrypt make no sense")
    memory = 128 * n * r
    if memory > _MOST_SCRYPT_BYTES:
        raise TooCostlyError(n * r * p, _MOST_SCRYPT_BYTES // 128)
    purse.spend(n * r * p)
    room = memory + 128 * r * p + (1 << 20)
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=room, dklen=size)


def pem_key(secret: bytes, salt: bytes, size: int) -> bytes:
    """Derive as old OpenSSL keys do (EVP_BytesToKey(3) with MD5 and one round)."""
    out = digest = b""
    while len(out) < size:
        digest = hashlib.md5(digest + secret + salt, usedforsecurity=False).digest()
        out += digest
    return out[:size]


def _again(name: str, digest: bytes, times: int) -> bytes:
    make = _MD5 if name == "md5" else getattr(hashlib, name)
    for _ in range(times):
        digest = make(digest).digest()
    return digest


def _filled(data: bytes, block: int) -> bytes:
    """Repeat data until it fills whole blocks; nothing stays nothing."""
    if not data:
        return b""
    size = -(-len(data) // block) * block
    return (data * (size // len(data) + 1))[:size]
