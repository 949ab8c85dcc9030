"""What a supervisor and its workers say of proofs for ACME authorities: part of messages.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

__all__ = ["Answering", "Answers", "PendingAnswer"]


@dataclass(frozen=True, slots=True)
class PendingAnswer:
    """What an authority will look for: under this name this value, for a while.

    name: the token (http-01), or the host name or address (tls-alpn-01). value: the key authorization, or its
    SHA-256 in hex. holds_s: from now on.
    """

    kind: Literal["http-01", "tls-alpn-01"]
    name: str
    value: str
    holds_s: float


class Answers(msgspec.Struct, frozen=True, tag=True, tag_field="type"):
    """Give exactly these answers to ACME authorities from now on; `Answering` says that it is so.

    at: the time now, in seconds since 1970, for certificates that are made.
    """

    number: int
    at: float = 0.0
    answers: list[PendingAnswer] = []


class Answering(msgspec.Struct, frozen=True, tag=True, tag_field="type"):
    """This worker gives the answers of `Answers` with this number, and no others."""

    number: int
