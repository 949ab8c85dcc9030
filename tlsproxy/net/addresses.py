"""The addresses by which this device is reached, for its own certificate.

Promises: the stable private and global addresses of all interfaces, in a settled order. Leaves out what no
client types or what soon goes away: loopback, link-local, multicast, and IPv6 addresses that are temporary
(RFC 8981), deprecated, or not yet proved unique.
"""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

# Flags of an IPv6 address in /proc/net/if_inet6 (linux/if_addr.h): IFA_F_TEMPORARY, _DADFAILED, _DEPRECATED,
# _TENTATIVE.
_PASSING = 0x01 | 0x08 | 0x20 | 0x40


def stable_addresses() -> tuple[str, ...]:
    """Give the device's stable addresses as text, IPv4 first, each once, sorted; none where nobody tells."""
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    passing = _passing_ipv6()
    for addresses in _interfaces().values():
        for entry in addresses:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = ipaddress.ip_address(entry.address.partition("%")[0])
            if is_stable(address) and address not in passing:
                found.add(address)
    return tuple(str(a) for a in sorted(found, key=lambda a: (a.version, int(a))))


def _interfaces() -> dict[str, list[Any]]:
    import psutil  # for a device whose certificate names addresses; it is 0.7 MB

    try:
        return psutil.net_if_addrs()
    except OSError:  # no descriptor left, or a sandbox without AF_NETLINK, which getifaddrs(3) asks
        return {}


def is_stable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Say whether a client could reach us by this address next month as well."""
    return not (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    )


def _passing_ipv6() -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        lines = Path("/proc/net/if_inet6").read_text("ascii").splitlines()
    except OSError:
        return set()
    fields = (line.split() for line in lines)
    return {ipaddress.IPv6Address(bytes.fromhex(f[0])) for f in fields if int(f[4], 16) & _PASSING}
