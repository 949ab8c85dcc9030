"""Metrics as Prometheus reads them: by its own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tlsproxy.observe.metrics import FAMILIES

Series = dict[tuple[str, ...], float]


def parsed(text: str) -> dict[str, Series]:
    """Read a page: the name of each sample, and by the values of its labels, in our order, its value."""
    found: dict[str, Series] = {}
    for metric in text_string_to_metric_families(text):
        family = FAMILIES.get(metric.name) or FAMILIES[f"{metric.name}_total"]
        for sample in metric.samples:
            names = [*family.labels, *(["le"] if sample.name.endswith("_bucket") else [])]
            assert set(sample.labels) == set(names)
            found.setdefault(sample.name, {})[tuple(sample.labels[name] for name in names)] = sample.value
    return found
