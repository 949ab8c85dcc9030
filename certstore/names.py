"""Names: the hosts and addresses that certificates and clients speak of, in one form.

Promises: two names that mean the same host come out as equal text, and `covers` says what a certificate's
name stands for, as clients see it (RFC 6125 section 6.4.3, RFC 9525 section 6.3). `normalise` is idempotent.
Refuses to know: DNS (nothing is looked up), ports, URLs.
"""

from __future__ import annotations

import ipaddress
import re

import idna

__all__ = ["covers", "is_address", "normalise"]

# RFC 1035 section 2.3.4: 63 bytes a label, 253 a name in text. The underscore is against RFC 952, but devices
# are named so, their certificates are issued so, and browsers go along.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a name that ends so is an address to browsers (WHATWG URL, 3.5)
_LONGEST = 253


def normalise(text: str) -> str:
    """Give a name its one form: lower case, A-labels (IDNA 2008 with UTS 46 mapping), no trailing dot.

    An address comes out in its canonical text (RFC 5952); an IPv4-mapped IPv6 address as the IPv4 address
    that it means, as a dual-stack socket shows one. `*.x` is allowed. ValueError for all that no client
    could ask for: an empty or overlong label, a zone, a port, a wildcard elsewhere, a number at the end of
    what is no address (browsers read `10.0.1` as an address).
    """
    # bounded first: IDNA's rules cost more than linear time, and names come from strangers
    if not text or len(text) > _LONGEST + 1:
        raise ValueError("a name has 1 to 253 characters")
    plain = (text if text.isascii() else _ascii(text)).lower()
    address = _address(plain)
    if address is not None:
        return address
    name = plain.removesuffix(".")
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise ValueError("not a host name or address")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise ValueError("ends in a number, but is no address")
    return name


def is_address(name: str) -> bool:
    """Say whether this is an IP address rather than a host name."""
    return _address(name) is not None


def covers(pattern: str, name: str) -> bool:
    """Say whether a certificate's name stands for `name`; both as `normalise` gives them.

    A wildcard is the whole left-most label and stands for exactly one label, never for an address.
    """
    if pattern == name:
        return True
    if not pattern.startswith("*."):
        return False
    label, dot, rest = name.partition(".")
    return bool(label and dot) and rest == pattern[2:] and not is_address(name)


def _ascii(text: str) -> str:
    # IDNA knows no asterisk: a wildcard is put back before the name that it stands for
    head, rest = text[:2], text[2:]
    if head == "*.":
        return head + idna.encode(rest, uts46=True).decode("ascii")
    return idna.encode(text, uts46=True).decode("ascii")


def _address(text: str) -> str | None:
    if "%" in text:  # a zone means something on one host only, and never stands in a certificate
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
