"""What a scenario is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.server import Server


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of work.

    `measure` does it once and gives its figures by key; its second argument asks for small counts (QUICK).
    It raises OSError or ValueError where the server fails at it: such a round counts as failed.
    fresh: wants a server that has done nothing yet, in each round. rounds: at most so many.
    """

    name: str
    title: str
    load: str
    figures: tuple[Figure, ...]
    measure: Callable[[Server, bool], Mapping[str, float]]
    fresh: bool = False
    rounds: int | None = None
