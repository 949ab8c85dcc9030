"""Fingerprints as people compare them, and as programs take them. Pure: hex in, text out.

Sixty-four hex digits are compared in groups of four, in upper case: a person keeps a group in mind between
two looks, finds the place again, and gets along with what browsers show (Firefox pairs with colons, Safari
pairs with blanks, Chrome and Edge no separators at all), since each of these falls into the same groups.
Eight groups fit into 40 columns. Wherever a person looks (status, `certs show`, the label) it is this form.
"""

from __future__ import annotations

import base64

__all__ = ["grouped", "in_lines", "pin", "plain"]

GROUP = 4


def grouped(fingerprint: str) -> str:
    """Write hex digits in groups of four, upper case: `1F0C 22AB ...`."""
    upper = fingerprint.upper()
    return " ".join(upper[at : at + GROUP] for at in range(0, len(upper), GROUP))


def in_lines(fingerprint: str, groups: int) -> tuple[str, ...]:
    """Write them likewise in lines of so many groups."""
    step = groups * GROUP
    return tuple(grouped(fingerprint[at : at + step]) for at in range(0, len(fingerprint), step))


def plain(text: str) -> str:
    """Give back the hex digits of what somebody copied, from here or from a browser."""
    return "".join(c for c in text.lower() if c not in ": -")


def pin(spki: str) -> str:
    """Write an SPKI hash as `curl --pinnedpubkey` takes it: `sha256//` and base64 (as in RFC 7469)."""
    return f"sha256//{base64.b64encode(bytes.fromhex(spki)).decode('ascii')}"
