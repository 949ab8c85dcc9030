"""Sealed bytes come back whole, or not at all."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from certstore import sealing
from certstore.errors import BackupUnreadable
from certstore.sealing import seal, unseal

PASSPHRASE = "correct horse \N{BATTERY}"


@pytest.fixture(scope="module")
def sealed() -> bytes:
    return seal(b"secret" * 10, PASSPHRASE)


@pytest.fixture
def quick(monkeypatch):
    """Take scrypt's cost away where a test opens hundreds of files: what it tests is behind it."""
    monkeypatch.setattr(sealing, "_key", lambda _passphrase, salt, *_: salt)


def test_what_was_sealed_comes_back(sealed):
    assert unseal(sealed, PASSPHRASE) == b"secret" * 10
    assert b"secret" not in sealed


def test_the_file_is_as_its_page_says(sealed):
    """docs/certificates.md is enough to write another reader."""
    line, _, rest = sealed.partition(b"\n")
    name, version, kdf, log_n, r, p, salt = line.decode("ascii").split(" ")
    assert (name, version, kdf) == ("tlsproxy-backup", "1", "scrypt")
    scrypt = Scrypt(base64.urlsafe_b64decode(salt + "="), 32, 1 << int(log_n), int(r), int(p))
    key = scrypt.derive(PASSPHRASE.encode())
    assert ChaCha20Poly1305(key).decrypt(bytes(12), rest, line + b"\n") == b"secret" * 10


def test_the_same_twice_is_never_the_same_file(quick):
    assert seal(b"x", PASSPHRASE) != seal(b"x", PASSPHRASE)


def test_another_passphrase_opens_nothing(sealed):
    with pytest.raises(BackupUnreadable, match="passphrase is another one"):
        unseal(sealed, PASSPHRASE + "!")


def test_whatever_is_missing_is_noticed(quick):
    file = seal(b"secret", PASSPHRASE)
    for length in range(len(file)):
        with pytest.raises(BackupUnreadable):
            unseal(file[:length], PASSPHRASE)


def test_whatever_is_changed_or_added_is_noticed(quick):
    file = seal(b"secret", PASSPHRASE)
    for at in range(len(file)):
        for bit in (0, 3, 7):
            changed = bytearray(file)
            changed[at] ^= 1 << bit
            with pytest.raises(BackupUnreadable):
                unseal(bytes(changed), PASSPHRASE)
    with pytest.raises(BackupUnreadable):
        unseal(file + b"\0", PASSPHRASE)


@pytest.mark.parametrize("passphrase", ["", "seven77", "x" * 1025])
def test_a_passphrase_is_neither_short_nor_endless(passphrase):
    with pytest.raises(ValueError, match="8 to 1024"):
        seal(b"", passphrase)


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        (b"2 scrypt 15 8 3", "version 2"),
        (b"1 scrypt 24 8 1", "memory"),
        (b"1 scrypt 99 8 1", "memory"),
        (b"1 scrypt 0 8 1", "memory"),
        (b"1 scrypt 15 99 16", "memory"),
        (b"1 scrypt 15 0 3", "memory"),
        (b"1 scrypt 15 8 17", "memory"),
        (b"1 scrypt 15 8 0", "memory"),
        (b"1 argon2 15 8 3", "isn't a backup"),
    ],
)
def test_a_file_that_would_cost_too_much_is_refused_before_it_costs_anything(sealed, numbers, why):
    began = time.process_time()
    with pytest.raises(BackupUnreadable, match=why):
        unseal(sealed.replace(b"1 scrypt 15 8 3", numbers, 1), PASSPHRASE)
    assert time.process_time() - began < 0.1


def test_more_than_a_backup_may_have_is_refused(quick, monkeypatch):
    file = seal(bytes(100), PASSPHRASE)
    monkeypatch.setattr(sealing, "LARGEST", 99)
    with pytest.raises(BackupUnreadable, match="larger than 99"):
        unseal(file, PASSPHRASE)
    with pytest.raises(ValueError, match="too much"):
        seal(bytes(100), PASSPHRASE)


@pytest.mark.parametrize("file", [b"", b"\n", b"PK\x03\x04", b"tlsproxy-backup", b"\0" * 1000])
def test_other_files_are_told_as_such(file):
    with pytest.raises(BackupUnreadable, match="isn't a backup"):
        unseal(file, PASSPHRASE)
