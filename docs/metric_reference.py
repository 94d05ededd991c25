"""The reference page of metrics, from the calls that make their families."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from reference import PACKAGE, table

from adapter.protocols.web.service_metrics import HISTOGRAMS

WEB = PACKAGE / "protocols" / "web"
TYPES = {
    "CounterMetricFamily": "counter",
    "GaugeMetricFamily": "gauge",
    "counters": "counter",
    "gauges": "gauge",
    "histograms": "histogram",
}
"""Whoever makes a family, by its name; those in small letters take one label as their third."""
HEAD = """\
# Metrics

What `GET /metrics` tells, in OpenMetrics, as `# HELP` and `# TYPE` say it there. Samples of a
counter end in `_total`, those of a histogram in `_bucket`, `_sum` and `_count`.
[Operating](../operation.md#metrics) says what to watch.
"""


class MetricKind(NamedTuple):
    """A family of metrics."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


def metrics() -> list[MetricKind]:
    """Return every family by its name."""
    found = [MetricKind(name, "histogram", (label,), text) for _, name, text, label in HISTOGRAMS]
    for module in sorted(WEB.glob("*.py")):
        tree = ast.parse(module.read_text())
        found += _made(tree)
    return sorted(found)


def _made(tree: ast.Module) -> Iterator[MetricKind]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        kind, (name, text, *others) = TYPES.get(node.func.id), [*node.args, None, None][:3]
        if kind and isinstance(name, ast.Constant):
            given = next((one.value for one in node.keywords if one.arg == "labels"), None)
            label = others[0] if node.func.id.islower() else None
            labels = ast.literal_eval(given or label or ast.List(elts=[]))
            names = (labels,) if isinstance(labels, str) else labels
            yield MetricKind(name.value, kind, tuple(filter(None, names)), ast.literal_eval(text))


def metrics_page() -> str:
    """Return a table of every metric."""
    rows = (
        (f"`{one.name}`", one.type, ", ".join(f"`{label}`" for label in one.labels), one.help)
        for one in metrics()
    )
    return f"{HEAD}\n{table(('name', 'type', 'labels', 'is'), rows)}"
