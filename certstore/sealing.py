"""Sealing: bytes under a passphrase, as a file that shows at once when anything of it is missing or changed.

    tlsproxy-backup 1 scrypt 15 8 3 <salt, 43 characters of base64url> <line end>
    <ciphertext> <tag, 16 bytes>

The key is scrypt(passphrase in UTF-8, salt, N = 2^15, r = 8, p = 3) (RFC 7914), 32 bytes; what follows the
first line is ChaCha20-Poly1305 (RFC 8439) with that key, a nonce of zeros, and the first line, its line end
included, as associated data. A salt is never used twice, so neither is a key, and the nonce need not differ.
The tag is over everything: what was cut off, lengthened or changed anywhere can't be opened.

Promises: `unseal` gives what `seal` got, or raises; what it costs a stranger's file to be refused is bounded.
Pure, but for the salt. Refuses to know what is sealed.

Theory. scrypt's cost is its memory: these numbers take 32 MiB and 0.3 s, which a device has to spare, and are
what OWASP's password storage sheet takes for equal to N = 2^17 with p = 1. A file says its own numbers, so
that later versions may take more; what would take more than 256 MiB is refused before it is tried.
"""

from __future__ import annotations

import base64
import re
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from certstore.errors import BackupUnreadable

__all__ = ["LARGEST", "LONGEST_PASSPHRASE", "SHORTEST_PASSPHRASE", "seal", "unseal"]

# 10,000 bundles with their keys have 30 MB; a device has two or three, 15 KB.
LARGEST: Final = 64 << 20
# NIST SP 800-63B section 5.1.1.2: at least 8 characters, and at least 64 must be allowed.
SHORTEST_PASSPHRASE: Final = 8
LONGEST_PASSPHRASE: Final = 1024

_LOG_N, _R, _P = 15, 8, 3
_MOST_MEMORY = 256 << 20
_MOST_P = 16
_NONCE = bytes(12)
_TAG = 16
_LINE = re.compile(rb"tlsproxy-backup (\d{1,4}) scrypt (\d{1,2}) (\d{1,2}) (\d{1,2}) ([A-Za-z0-9_-]{43})\n")
_VERSION = 1


def seal(content: bytes, passphrase: str) -> bytes:
    """Give the file that holds `content`. ValueError for a passphrase that is too short or too long."""
    if not SHORTEST_PASSPHRASE <= len(passphrase) <= LONGEST_PASSPHRASE:
        raise ValueError(f"a passphrase has {SHORTEST_PASSPHRASE} to {LONGEST_PASSPHRASE} characters")
    if len(content) > LARGEST:
        raise ValueError("too much for one file")
    salt = secrets.token_bytes(32)
    shown = base64.urlsafe_b64encode(salt).rstrip(b"=").decode("ascii")
    line = f"tlsproxy-backup {_VERSION} scrypt {_LOG_N} {_R} {_P} {shown}\n".encode("ascii")
    key = _key(passphrase, salt, _LOG_N, _R, _P)
    return line + ChaCha20Poly1305(key).encrypt(_NONCE, content, line)


def unseal(file: bytes, passphrase: str) -> bytes:
    """Give what a file holds. Raises BackupUnreadable."""
    found = _LINE.match(file)
    if found is None:
        raise BackupUnreadable("it isn't a backup of this software")
    version, log_n, r, p = (int(number) for number in found.groups()[:4])
    if version != _VERSION:
        raise BackupUnreadable(f"it has version {version}; this software knows version {_VERSION}")
    if not (1 <= log_n <= 24 and r >= 1 and 1 <= p <= _MOST_P and (128 * r << log_n) <= _MOST_MEMORY):
        raise BackupUnreadable("opening it would take more memory than a backup needs")
    if len(file) - found.end() > LARGEST + _TAG:
        raise BackupUnreadable(f"it is larger than {LARGEST} bytes")
    salt = base64.urlsafe_b64decode(found[5] + b"=")
    key = _key(passphrase[:LONGEST_PASSPHRASE], salt, log_n, r, p)
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, file[found.end() :], found[0])
    except InvalidTag:
        raise BackupUnreadable("the passphrase is another one, or the file is incomplete") from None


def _key(passphrase: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << log_n, r=r, p=p).derive(passphrase.encode("utf-8"))
