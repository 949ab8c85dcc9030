"""Roots for an authority's own TLS, out of whatever text they came in.

Pure. Promises: only the certificates are kept: comments around them may be in any language and encoding, as
tools write them. Refuses to know whether they are certificates inside.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["roots_in"]

_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s[^-]{1,20000}-----END CERTIFICATE-----")


def roots_in(text: str) -> str:
    """Give the certificates in PEM (RFC 7468); "" for an empty text, ValueError for any other without one."""
    blocks = _BLOCK.findall(text)
    if not blocks and text.strip():
        raise ValueError("the roots for the authority hold no certificate in PEM")
    if not all(block.isascii() for block in blocks):
        raise ValueError("a root for the authority is no PEM: it holds more than ASCII")
    return "".join(f"{block}\n" for block in blocks)
