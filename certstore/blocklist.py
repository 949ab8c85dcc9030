"""Block lists: keys that strangers have, and certificates that many devices share, by their hashes.

Two forms of file, both made elsewhere and shipped with firmware. A name that ends in `.dat` is badkeys' list:
sorted records of 16 bytes, 15 of SHA-256 over a key's number (n, x, or the raw key) and one that says which
collection it comes from; it is searched where it lies, however large. All others are text: a line is SHA-256
in hex, of a certificate or of a public key (SPKI), colons allowed, then words that say whose; `#` begins a
comment.

Refuses to know where lists come from, and what follows from a hit.
"""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certstore.bundle import PublicKey, spki_of

__all__ = ["Blocklist", "open_blocklist", "traces_of"]

RECORD: Final = 16
LARGEST_TEXT: Final = 16 << 20  # bytes; 200,000 lines, which is more than a hand keeps
_LINE: Final = re.compile(r"([0-9a-f]{64}|(?:[0-9a-f]{2}:){31}[0-9a-f]{2})(?:\s+(.*))?", re.IGNORECASE)
_LONGEST_WORDS: Final = 120

Blocklist: TypeAlias = Callable[[bytes], str | None]
"""Says what it knows of a SHA-256 (its 32 bytes); None for nothing."""


def open_blocklist(path: Path) -> Blocklist:
    """Open a list, for as long as it is used. Raises OSError, or ValueError where it is none."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")  # a pipe would hold us up for ever
    if path.suffix == ".dat":
        with path.open("rb") as file:
            records = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # ValueError where it is empty
        if len(records) % RECORD:
            raise ValueError(f"its size is no multiple of {RECORD} bytes")
        return lambda digest: _searched(records, digest, path.name)
    with path.open("rb") as file:
        text = file.read(LARGEST_TEXT + 1)
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"it is larger than {LARGEST_TEXT} bytes")
    return _read(text.decode("utf-8"), path.name).get


def traces_of(public: PublicKey) -> tuple[bytes, ...]:
    """Give the hashes by which a list may know a key: its SPKI's, and its number's."""
    spki = bytes.fromhex(spki_of(public))
    number = _number(public)
    return (spki,) if number is None else (spki, hashlib.sha256(number).digest())


def _number(public: PublicKey) -> bytes | None:
    """Give what badkeys hashes: a whole number without leading zeros, big end first."""
    if isinstance(public, rsa.RSAPublicKey):
        number = public.public_numbers().n
    elif isinstance(public, ec.EllipticCurvePublicKey):
        number = public.public_numbers().x
    else:
        try:
            number = int.from_bytes(public.public_bytes(Encoding.Raw, PublicFormat.Raw), "big")
        except ValueError:  # DSA has no raw form, and no use here
            return None
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _searched(records: mmap.mmap, digest: bytes, name: str) -> str | None:
    wanted, low, high = digest[: RECORD - 1], 0, len(records) // RECORD
    while low < high:
        middle = (low + high) // 2
        record = records[middle * RECORD : (middle + 1) * RECORD]
        if record[:-1] == wanted:
            return f"{name}, collection {record[-1]}"
        low, high = (middle + 1, high) if record[:-1] < wanted else (low, middle)
    return None


def _read(text: str, name: str) -> dict[bytes, str]:
    known: dict[bytes, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        plain = line.partition("#")[0].strip()
        if not plain:
            continue
        found = _LINE.fullmatch(plain)
        if found is None:
            raise ValueError(f"line {number} does not begin with SHA-256 in hex")
        words = (found[2] or "").strip()[:_LONGEST_WORDS]
        known[bytes.fromhex(found[1].replace(":", ""))] = f"{name}: {words}" if words else name
    return known
