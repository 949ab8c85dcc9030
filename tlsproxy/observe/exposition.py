"""Metrics as Prometheus reads them: prometheus-client's only host.

Promises: a registry of its own for each page, nothing global; text in version 0.0.4, or OpenMetrics where it
is asked for. Buckets, which are counted one by one, are told as Prometheus wants them: each with all below.

Imported when the first page is made (metering.py): it costs 0.7 MB and 25 ms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tlsproxy.observe.metrics import FAMILIES, SUM, Counted, Family, Key, Kind

__all__ = ["page"]


def page(counted: Counted, accept: str = "") -> tuple[bytes, str]:
    """Write all series, those with the same key added; give the page and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(counted))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Families(Collector):
    """What is exposed, as prometheus-client's own values."""

    def __init__(self, counted: Counted) -> None:
        self._by_family: dict[str, dict[Key, float]] = defaultdict(dict)
        for (name, *labels), value in counted:
            series = self._by_family[name]
            series[tuple(labels)] = series.get(tuple(labels), 0.0) + value

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES.values():
            if series := self._by_family.get(family.name):
                yield _written(family, series.items())


def _written(family: Family, series: Iterable[tuple[Key, float]]) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        return _histogram(family, series)
    kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = kind(family.name, family.words, labels=family.labels)
    for labels, value in sorted(series):
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, series: Iterable[tuple[Key, float]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.words, labels=family.labels)
    by_labels: dict[Key, dict[str, float]] = defaultdict(dict)
    for key, value in series:
        by_labels[key[:-1]][key[-1]] = value
    for labels, buckets in sorted(by_labels.items()):
        total, below = buckets.pop(SUM, 0.0), 0.0
        cumulative = []
        for bound in sorted(buckets, key=float):
            below += buckets[bound]
            cumulative.append((bound, below))
        metric.add_metric(labels, buckets=cumulative, sum_value=total)
    return metric
