"""RC2: the cipher of the 1990s' PKCS #12 files (RFC 2268), to read them and for nothing else.

Ours, because `cryptography` has it with 128 bits only, and what Windows and OpenSSL wrote for twenty years
has 40: a protection that protects nothing any more. Checked against RFC 2268 section 5 and against OpenSSL.
Decrypts some 40 KB a second; certificates in such a file have a few.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["BLOCK", "decrypt_cbc"]

BLOCK: Final = 8  # bytes

# RFC 2268 section 2: a permutation from the digits of pi.
_PI: Final = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)
_MASHES: Final = {11, 5}  # the rounds after which the words are mashed as well (section 3.3)
_SHIFTS: Final = (1, 2, 3, 5)


def decrypt_cbc(key: bytes, bits: int, iv: bytes, data: bytes) -> bytes:
    """Decrypt whole blocks; `bits` is the effective key length (section 2)."""
    words = _expand(key, bits)
    plain, before = bytearray(), iv
    for at in range(0, len(data), BLOCK):
        block = data[at : at + BLOCK]
        plain += bytes(a ^ b for a, b in zip(_decrypt(words, block), before, strict=True))
        before = block
    return bytes(plain)


def _expand(key: bytes, bits: int) -> tuple[int, ...]:
    """Make the 64 words of a key (section 2)."""
    buffer = bytearray(key)
    while len(buffer) < 128:
        buffer.append(_PI[(buffer[-1] + buffer[-len(key)]) & 0xFF])
    size = (bits + 7) // 8
    buffer[128 - size] = _PI[buffer[128 - size] & 0xFF >> (8 * size - bits)]
    for at in range(127 - size, -1, -1):
        buffer[at] = _PI[buffer[at + 1] ^ buffer[at + size]]
    return struct.unpack("<64H", buffer)


def _decrypt(key: tuple[int, ...], block: bytes) -> bytes:
    """Decrypt one block (section 4)."""
    r = list(struct.unpack("<4H", block))
    for turn in range(15, -1, -1):
        for i in range(3, -1, -1):
            r[i] = (r[i] >> _SHIFTS[i] | r[i] << 16 - _SHIFTS[i]) & 0xFFFF
            mixed = (r[i - 1] & r[i - 2]) + (~r[i - 1] & r[i - 3])
            r[i] = (r[i] - key[4 * turn + i] - mixed) & 0xFFFF
        if turn in _MASHES:
            for i in range(3, -1, -1):
                r[i] = (r[i] - key[r[i - 1] & 63]) & 0xFFFF
    return struct.pack("<4H", *r)
