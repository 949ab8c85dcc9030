"""The word that confirms a change over the network: made for one answer, and then known by its hash alone."""

from __future__ import annotations

import hashlib
import secrets

from tlsproxy import policy_changes

__all__ = ["hash_of", "make_word"]


def make_word() -> tuple[str, str]:
    """Make a word, and give it with its hash."""
    word = secrets.token_hex(policy_changes.WORD_RANDOM_BYTES)
    return word, hash_of(word.encode("ascii"))


def hash_of(word: bytes) -> str:
    """Give the hash by which a word is known, in hex."""
    return hashlib.sha256(word).hexdigest()
