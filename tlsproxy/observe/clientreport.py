"""Who was here: what clients can do, what was negotiated, who was refused, whom a stricter profile cuts off.

Pure, made of counts (metrics.py, clientele.py). Promises: `to_json` and `from_json` are inverse; who would be
cut off is told by what clients offered, not by what was negotiated with them. Refuses to know who counts, and
how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, Self, TypeVar

import msgspec

from tlsproxy.observe.metrics import Counted, Sums
from tlsproxy.policy_tls import Profile

__all__ = ["ClientReport", "CutOff", "HandshakeCount", "HelloCount", "RefusedCount", "report_of"]

_OLDER: Final = "older"


class _Counting(Protocol):
    @property
    def count(self) -> int: ...


T = TypeVar("T", bound=_Counting)


@dataclass(frozen=True, slots=True)
class HelloCount:
    """Clients that offer alike: words of tls/offers.py."""

    version: str
    keys: str
    exchange: str
    count: int


@dataclass(frozen=True, slots=True)
class HandshakeCount:
    """Handshakes that succeeded alike; as the labels of tlsproxy_handshakes_total."""

    version: str
    group: str
    cipher: str
    resumed: bool
    count: int


@dataclass(frozen=True, slots=True)
class CutOff:
    """How many hellos, of clients that any profile can serve, come from clients that this one can't."""

    profile: str
    count: int
    of: int


@dataclass(frozen=True, slots=True)
class RefusedCount:
    """Handshakes that failed alike: why (docs/metrics.md), and the JA4 fingerprint of the software."""

    reason: str
    ja4: str
    count: int


@dataclass(frozen=True, slots=True)
class ClientReport:
    """All of it, each list with what came most often first. since: when the counts began."""

    since: datetime
    hellos: tuple[HelloCount, ...]
    handshakes: tuple[HandshakeCount, ...]
    cut_off: tuple[CutOff, ...]
    refused: tuple[RefusedCount, ...]

    def to_json(self) -> dict[str, object]:
        """Give what JSON can hold."""
        document: dict[str, object] = msgspec.to_builtins(self)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Self:
        """Read what `to_json` gave. Raises ValueError (msgspec.ValidationError)."""
        return msgspec.convert(document, cls)


def report_of(sums: Sums, since: datetime) -> ClientReport:
    """Make the report of what was counted."""
    counted = sums.counted()
    hellos = [
        HelloCount(version, keys, exchange, count)
        for (version, keys, exchange), count in _of(counted, "tlsproxy_hellos_total")
    ]
    return ClientReport(
        since,
        _most_first(hellos),
        _most_first(
            HandshakeCount(version, group, cipher, resumed == "true", count)
            for (version, group, cipher, resumed), count in _of(counted, "tlsproxy_handshakes_total")
        ),
        tuple(_cut_off(hellos)),
        _most_first(RefusedCount(*who, int(count)) for who, count in sums.clientele.refused.items()),
    )


_SERVES: Final[Mapping[Profile, Callable[[HelloCount], bool]]] = {
    Profile.MODERN: lambda hello: hello.version == "TLSv1.3",
    Profile.PQ_ONLY: lambda hello: hello.exchange == "hybrid",
}


def _cut_off(hellos: Iterable[HelloCount]) -> Iterator[CutOff]:
    """Leave out who offers nothing newer than TLS 1.1: nobody here serves them, whatever the profile."""
    able = [hello for hello in hellos if hello.version != _OLDER]
    for profile, serves in _SERVES.items():
        cut = sum(hello.count for hello in able if not serves(hello))
        yield CutOff(str(profile), cut, sum(hello.count for hello in able))


def _of(counted: Counted, family: str) -> Iterator[tuple[tuple[str, ...], int]]:
    return ((key[1:], int(count)) for key, count in counted if key[0] == family and count)


def _most_first(counts: Iterable[T]) -> tuple[T, ...]:
    return tuple(sorted(counts, key=lambda one: (-one.count, repr(one))))
