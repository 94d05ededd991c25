"""Families of metrics with one label, or none."""

from collections.abc import Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from adapter.domain.histogram import Histogram


def counters(name: str, text: str, label: str, counts: Mapping[str, float]) -> Metric:
    """Return a counter for each value of a label."""
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def gauges(name: str, text: str, label: str, numbers: Mapping[str, float]) -> Metric:
    """Return a gauge for each value of a label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in sorted(numbers.items()):
        family.add_metric([value], number)
    return family


def histograms(name: str, text: str, label: str, by_value: Mapping[str, Histogram]) -> Metric:
    """Return a histogram for each value of a label; of an empty label there is one."""
    family = HistogramMetricFamily(name, text, labels=[label] if label else [])
    for value, histogram in sorted(by_value.items()):
        buckets = [
            ("+Inf" if bound == float("inf") else str(float(bound)), float(count))
            for bound, count in histogram.cumulative()
        ]
        family.add_metric([value] if label else [], buckets, histogram.total)
    return family
