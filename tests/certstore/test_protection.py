"""Derivation and ciphers against the standards' own examples, and what they refuse to begin with."""

from __future__ import annotations

import os

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from certstore import protection, rc2
from certstore.derivation import MOST_ROUNDS, Purse, TooCostlyError, Work, pbkdf2, pem_key, pkcs12, scrypt
from certstore.protection import Form, UnknownProtectionError, decrypt_pem, forms_of


@pytest.mark.parametrize(
    ("key", "bits", "plain", "encrypted"),
    [  # RFC 2268 section 5
        ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
        ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
        ("88", 64, "0000000000000000", "61a8a244adacccf0"),
        ("88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"),
        ("88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"),
        ("88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"),
    ],
)
def test_rc2_does_what_its_standard_says(key, bits, plain, encrypted):
    assert rc2.decrypt_cbc(bytes.fromhex(key), bits, bytes(8), bytes.fromhex(encrypted)).hex() == plain


def test_rc2_agrees_with_another_one_over_chained_blocks():
    for _ in range(20):
        key, iv, plain = os.urandom(16), os.urandom(8), os.urandom(48)
        encrypted = Cipher(RC2(key), modes.CBC(iv)).encryptor().update(plain)
        assert rc2.decrypt_cbc(key, 128, iv, encrypted) == plain


def test_pkcs12_derives_as_others_do():
    # the examples that most implementations are tested with
    smeg, queeg = ("smeg".encode("utf-16-be") + b"\0\0", "queeg".encode("utf-16-be") + b"\0\0")
    for wide, purpose, salt, rounds, expected in (
        (smeg, 1, "0a58cf64530d823f", 1, "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3"),
        (smeg, 2, "0a58cf64530d823f", 1, "79993dfe048d3b76"),
        (queeg, 1, "05dec959acff72f7", 1000, "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4"),
        (queeg, 2, "05dec959acff72f7", 1000, "11dedad7758d4860"),
    ):
        work = Work("sha1", bytes.fromhex(salt), rounds)
        assert pkcs12(work, wide, purpose, len(expected) // 2, Purse()).hex() == expected


@pytest.mark.parametrize("rounds", [MOST_ROUNDS + 1, 3_000_000, 2**63, 2**200])
def test_too_many_rounds_are_refused_before_the_first_one(rounds):
    for derive in (
        lambda work, purse: pkcs12(work, b"", 1, 24, purse),
        lambda work, purse: pbkdf2(work, b"x", 32, purse),
    ):
        purse = Purse()
        with pytest.raises(TooCostlyError) as refused:
            derive(Work("sha256", bytes(8), rounds), purse)
        assert refused.value.rounds == rounds
        assert purse == Purse(), "nothing was spent"


def test_all_together_get_no_more_than_the_purse_holds():
    purse = Purse(left=1000)
    pbkdf2(Work("sha256", bytes(8), 300), b"x", 64, purse)  # twice, for so many bytes
    assert purse.left == 400
    with pytest.raises(TooCostlyError):
        pbkdf2(Work("sha256", bytes(8), 401), b"x", 32, purse)
    assert purse.left == 400


@pytest.mark.parametrize("cost", [(1 << 40, 8, 1), (1 << 14, 8, 1 << 20), (2, 1 << 30, 1), (1 << 20, 8, 1)])
def test_scrypt_that_wants_much_memory_or_time_is_refused(cost):
    with pytest.raises(TooCostlyError):
        scrypt(b"x", bytes(8), cost, 32, Purse())


@pytest.mark.parametrize("cost", [(0, 8, 1), (3, 8, 1), (16, 0, 1), (16, 8, 0), (-16, 8, 1)])
def test_scrypt_without_sense_is_malformed(cost):
    with pytest.raises(ValueError, match="make no sense"):
        scrypt(b"x", bytes(8), cost, 32, Purse())


def test_a_hash_of_an_unknown_kind_and_an_endless_salt_are_refused():
    for work in (Work("shake_128", bytes(8), 1), Work("sha1", bytes(2000), 1), Work("sha1", bytes(8), 0)):
        with pytest.raises(ValueError, match=r"unknown kind|far too long|makes no sense"):
            pbkdf2(work, b"x", 32, Purse())


def test_old_openssl_keys_derive_by_md5():
    assert len(pem_key(b"secret", bytes(8), 32)) == 32


def test_a_passphrase_is_tried_in_each_of_its_forms_and_none_at_all_last():
    none = [Form(b"", b"\0\0"), Form(b"", b"")]
    assert list(forms_of(())) == none
    assert list(forms_of((b"ab",))) == [Form(b"ab", b"\0a\0b\0\0"), *none]
    both = forms_of(("ä".encode(),))
    assert both[0].wide == b"\0\xe4\0\0"
    assert both[1].wide == b"\0\xc3\0\xa4\0\0"
    assert forms_of((b"\xe4",))[0].wide == b"\0\xe4\0\0"
    assert "ab" not in repr(forms_of((b"ab",)))


@pytest.mark.parametrize("cipher", ["DES-CBC", "DES-EDE3-CBC", "AES-256-CBC"])
def test_a_cipher_that_this_systems_openssl_leaves_out_is_named_and_nothing_breaks(cipher, monkeypatch):
    def refuse(*_args: object) -> None:
        raise UnsupportedAlgorithm("built for FIPS")

    monkeypatch.setattr(protection, "Cipher", refuse)
    block = 16 if cipher.startswith("AES") else 8
    with pytest.raises(UnknownProtectionError):
        decrypt_pem(f"{cipher},{bytes(block).hex()}", bytes(32), Form(b"x", b""), Purse())
