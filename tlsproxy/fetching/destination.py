"""Destinations: which URLs may be fetched from, and which addresses may be connected to. Pure.

What could go wrong: a certificate is made by strangers, and its URLs name whatever they like. Without a rule
the device would ask services of its own site for them (SSRF), which listen to machines inside only: itself,
a cloud's metadata address, a printer. So what is judged is the address that will be connected to, not the
name; an address inside of another (IPv4-mapped, NAT64) is judged by the inner one; and only what is known to
be public may be asked, not all that isn't known to be private.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

__all__ = ["Destination", "Network", "parse", "plain", "refusal"]

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

LONGEST_URL: Final = 2_048  # bytes; real ones have under a hundred
HTTP_PORT: Final = 80
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252})")

# IANA's registry of special-purpose IPv4 addresses (RFC 6890), and multicast: everything else is public.
_NOT_PUBLIC_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by carriers (RFC 6598)
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# Of IPv6 only global unicast is public (RFC 4291 section 2.4, RFC 3513 before it), but for these.
_GLOBAL_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)
# What a resolver of a network without IPv4 makes of an IPv4 address (RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL leads: a host to resolve, a port, and what is asked for there."""

    url: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What stands in the field Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTP_PORT else f"{host}:{self.port}"


def parse(url: str) -> Destination:
    """Read a URL; raises ValueError with why nothing is fetched from it, in words."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > LONGEST_URL:
        raise ValueError("it is no URL")
    try:
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else HTTP_PORT
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme != "http":
        raise ValueError(f"only http is used, not {parts.scheme or 'a path'}")
    if parts.username is not None or parts.password is not None or not port:
        raise ValueError("it is no URL that a certificate may have")
    return Destination(url, _host(parts), port, _target(parts))


def plain(address: Address) -> Address:
    """Give an address as it will be reached: an IPv4 one where it stands for one."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def refusal(address: Address, port: int, allow: Iterable[Network]) -> str | None:
    """Say why this address may not be connected to; None where it may. `allow`: networks that may anyway."""
    address = plain(address)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return f"{address} belongs to one interface only"
    if any(address in network for network in allow if network.version == address.version):
        return None
    if not _is_public(address):
        return f"{address} is not a public address"
    if port != HTTP_PORT:  # what listens there is not made for the world's questions
        return f"at a public address only port {HTTP_PORT} is asked, not {port}"
    return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address in _NAT64:
        return _is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_6 and not any(address in network for network in _NOT_PUBLIC_6)


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if parts.netloc.startswith("["):
        try:
            return str(IPv6Address(host))  # one with a scope is judged, and refused, as an address
        except ValueError:
            raise ValueError("it is no URL") from None
    if not _HOST.fullmatch(host):
        raise ValueError("it names no host")
    try:
        return str(ip_address(host))
    except ValueError:
        return host.rstrip(".")


def _target(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path
