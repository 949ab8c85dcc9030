"""JA4: a fingerprint of the software that sent a ClientHello, the same for every one of its connections.

Pure. Promises: 36 characters in a fixed form, whatever the hello says; nothing of it leads back to a person,
an address or a name. Refuses to know what is concluded from it. Made for hellos that are refused only: it
costs some 30 us.

Source: FoxIO's description of JA4 (technical_details/JA4.md), whose TLS client part is under the BSD licence
of three clauses. GREASE (RFC 8701) counts nowhere. As in `t13d1516h2_8daaf6152771_e5627efa2ab1`: over TCP,
TLS 1.3, with a server name, 15 cipher suites, 16 extensions, ALPN from "h" to "2"; the suites, sorted; the
extensions, sorted, and the signature algorithms in their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from tlsproxy.tls.clienthello import BadHello, NotTLS, Outline, outline

__all__ = ["FORM", "ja4_of"]

FORM: Final = re.compile(r"t(?:1[0-3]|s[1-3]|00)[di][0-9]{4}[0-9A-Za-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}")
"""What a fingerprint looks like."""

_SERVER_NAME, _SIGNATURE_ALGORITHMS, _ALPN, _VERSIONS = 0, 13, 16, 43
_VERSION_WORDS: Final = {
    0x0304: "13",
    0x0303: "12",
    0x0302: "11",
    0x0301: "10",
    0x0300: "s3",
    0x0002: "s2",
    0x0001: "s1",
}
_NOTHING: Final = "0" * 12
_MOST: Final = 99


def ja4_of(data: bytes | bytearray) -> str | None:
    """Give the fingerprint of the hello at the beginning of a stream; None where there is no whole one."""
    try:
        seen = outline(data)
        return None if seen is None else _fingerprint(seen)
    except (NotTLS, BadHello):
        return None


def _fingerprint(seen: Outline) -> str:
    suites = sorted(_without_grease(seen.cipher_suites))
    kinds = sorted(_without_grease(seen.extensions))
    others = [kind for kind in kinds if kind not in {_SERVER_NAME, _ALPN}]
    algorithms = list(_without_grease(seen.numbers(_SIGNATURE_ALGORITHMS, 2)))
    said = "_".join(filter(None, (_listed(others), _listed(algorithms))))
    named = "d" if _SERVER_NAME in seen.extensions else "i"
    counts = f"{min(len(suites), _MOST):02}{min(len(kinds), _MOST):02}"
    first = f"t{_version(seen)}{named}{counts}{_ends(seen.extensions.get(_ALPN, b''))}"
    return f"{first}_{_digest(_listed(suites))}_{_digest(said if others else '')}"


def _version(seen: Outline) -> str:
    offered = list(_without_grease(seen.numbers(_VERSIONS, 1))) or [seen.version]
    return _VERSION_WORDS.get(max(offered), "00")


def _ends(alpn: bytes) -> str:
    """Give the first and the last character of the first protocol, of its hex form where it is no text."""
    protocol = alpn[3 : 3 + alpn[2]] if len(alpn) > 3 else b""
    if not protocol:
        return "00"
    first, last = protocol[:1], protocol[-1:]
    if first.isalnum() and last.isalnum():  # of bytes: ASCII only
        return (first + last).decode("ascii")
    as_hex = protocol.hex()
    return as_hex[0] + as_hex[-1]


def _without_grease(numbers: Iterable[int]) -> Iterable[int]:
    return (one for one in numbers if one & 0x0F0F != 0x0A0A or one >> 8 != one & 0xFF)


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(f"{one:04x}" for one in numbers)


def _digest(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NOTHING
