"""Admission: how many connections may be open, in all and for one address; it counts and decides, no more.

Promises: no address takes more than its share, so one client, or one attacker, never keeps the others out. An
IPv6 client is counted by its /64, since a host is given a whole one (RFC 6177, RFC 7934); proxies whose word
counts (`forwarded.trust`) are not, since they speak for many. Refuses to know what a connection speaks.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum


class Verdict(Enum):
    """What is to be done with a new connection; the value is the code that is told."""

    ADMIT = "admitted"
    FULL = "connections_full"
    ADDRESS_FULL = "address_full"


class Admission:
    """Counts the open connections of one worker."""

    __slots__ = ("_by_network", "_is_exempt", "_turned_away", "entered", "limit", "open", "per_address")

    def __init__(self, limit: int, per_address: int, is_exempt: Callable[[str], bool]) -> None:
        self.limit, self.per_address = limit, per_address
        self._is_exempt = is_exempt
        self._by_network: Counter[str] = Counter()
        self.open = 0
        self.entered = 0
        """How many were ever let in."""
        self._turned_away = dict.fromkeys((Verdict.FULL, Verdict.ADDRESS_FULL), 0)

    @property
    def turned_away(self) -> Mapping[Verdict, int]:
        """How many were not, and why."""
        return self._turned_away

    def turn_away(self, verdict: Verdict) -> None:
        """Count one that isn't let in."""
        self._turned_away[verdict] += 1

    def judge(self, address: str, shares: int = 1) -> Verdict:
        """Say whether a client with this address ("" for none) may come in now.

        shares: of how many workers' parts of an address this one may take here. Those who come back gather at
        the worker that has their tickets, and had room where they came in.
        """
        most = self.per_address * shares
        if self._by_network[network_of(address)] >= most and not self._is_exempt(address):
            return Verdict.ADDRESS_FULL
        return Verdict.FULL if self.open >= self.limit else Verdict.ADMIT

    def enter(self, address: str) -> None:
        """Count a connection in."""
        self.open += 1
        self.entered += 1
        self._by_network[network_of(address)] += 1

    def leave(self, address: str) -> None:
        """Count it out."""
        self.open -= 1
        network = network_of(address)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]


def network_of(address: str) -> str:
    """Give what an address is counted by: itself, for IPv6 its /64."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(address)) >> 64 << 64))
