"""The values of the suite: what is measured, and what came out.

Pure; medians and ratios are made here. A ratio is taken within one round, in which both were measured
within a minute, and the median of the rounds' ratios is told with its spread (least and most): a machine
that gets slower between rounds then changes neither.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One column of the results; less is better unless `more_is_better`. `digits` are those after the point.

    compared: whether ours / theirs means something; it doesn't for counts that should be nought. drawn:
    whether it has a panel in the chart.
    """

    key: str
    title: str
    digits: int = 0
    more_is_better: bool = False
    compared: bool = True
    drawn: bool = True


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some values, with the least and the most."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Sum values up; there must be one at least."""
    return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` (0 to 1) of the values don't exceed (nearest rank); there must be one."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


@dataclass(slots=True)
class Results:
    """All measured values: figure key -> server name -> one value a round (None: that round failed)."""

    values: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)

    def add(self, figure: str, server: str, value: float | None) -> None:
        """Note one round's value."""
        self.values.setdefault(figure, {}).setdefault(server, []).append(value)

    def of(self, figure: str, server: str) -> Spread | None:
        """Give a figure's spread over the rounds that went well; None if there was none."""
        values = [v for v in self.values.get(figure, {}).get(server, []) if v is not None]
        return spread(values) if values else None

    def ratio(self, figure: str, ours: str, theirs: str) -> Spread | None:
        """Give ours / theirs, taken round by round; None where no round has both."""
        rows = self.values.get(figure, {})
        pairs = zip(rows.get(ours, []), rows.get(theirs, []), strict=False)
        ratios = [a / b for a, b in pairs if a is not None and b]
        return spread(ratios) if ratios else None
