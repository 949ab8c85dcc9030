"""The word that confirms a change over the network: made for one answer, then known by its hash alone."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum

from tlsproxy import policy_changes

__all__ = ["Judgement", "hash_of", "make_word"]


class Judgement(StrEnum):
    """What became of a client's wish to confirm a change over its connection."""

    CONFIRMED = "confirmed"
    NOT_HERE = "not_here"  # the word is unknown, or the connection isn't served by what it stands for
    TOO_OFTEN = "too_often"
    FAILED = "failed"


def make_word() -> tuple[str, str]:
    """Make a word, and give it with its hash."""
    word = secrets.token_hex(policy_changes.WORD_RANDOM_BYTES)
    return word, hash_of(word.encode("ascii"))


def hash_of(word: bytes) -> str:
    """Give the hash by which a word is known, in hex."""
    return hashlib.sha256(word).hexdigest()
