"""What a scenario is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Figure
from benchmarks.peers.table import Peer
from benchmarks.server import Server

# A value, or several that were taken in one measurement: their spread is told like that of rounds.
Measured = Mapping[str, float | Sequence[float]]


def as_it_is(peer: Peer, quick: bool) -> Peer:  # noqa: ARG001, FBT001  the shape of an arrangement
    """Start the peer as its table says."""
    return peer


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of work.

    `measure` does it once and gives its figures by key; its second argument asks for small counts (QUICK).
    It raises OSError or ValueError where the server fails at it: such a round counts as failed.
    fresh: wants a server that has done nothing yet, in each round. rounds: at most so many. limit_s: a
    measurement that takes longer is given up. arrange: how a peer is set up for it. without: the peers that
    take no part, each with the reason.
    """

    name: str
    title: str
    load: str
    figures: tuple[Figure, ...]
    measure: Callable[[Server, bool], Measured]
    fresh: bool = False
    rounds: int | None = None
    limit_s: float = 90.0
    arrange: Callable[[Peer, bool], Peer] = as_it_is
    without: Mapping[str, str] = field(default_factory=dict)
