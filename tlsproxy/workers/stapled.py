"""What a supervisor tells its workers of staples: part of messages.py."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

__all__ = ["Staple", "Staples"]


@dataclass(frozen=True, slots=True)
class Staple:
    """An OCSPResponse (DER; base64 on the wire) that a bundle is served with, for so long from now on."""

    bundle: str
    answer: bytes
    holds_s: float


class Staples(msgspec.Struct, frozen=True, tag=True, tag_field="type"):
    """Staple exactly these from now on."""

    staples: list[Staple] = []
