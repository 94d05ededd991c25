"""Metrics of exports, by destination."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from adapter.domain.tables import ExportState
from adapter.domain.views import Views


def _by_destination(name: str, text: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["destination"])
    for destination, value in values.items():
        family.add_metric([destination], value)
    return family


def _counts(name: str, text: str, web: Views, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["destination"])
    for destination in web.export_orders:
        family.add_metric([destination], counts.get(destination, 0))
    return family


def export_metrics(web: Views) -> list[Metric]:
    """Return the metrics; every configured destination is in each of them."""
    figures, now = web.export_figures, web.now()
    exports = GaugeMetricFamily(
        "dicom_adapter_exports", "Exports in the ledger by destination and state",
        labels=["destination", "state"],
    )  # fmt: skip
    for (destination, state), count in sorted(web.ledger.export_counts().items()):
        exports.add_metric([destination, state], count)
    opened_at = {name: web.ledger.oldest_export_at(name, ExportState.QUEUED)
                 for name in web.export_orders}  # fmt: skip
    return [
        exports,
        _by_destination(
            "dicom_adapter_destination_up", "0 while a destination is not sent to: it is down",
            {name: float(name not in figures.down) for name in web.export_orders},
        ),
        _by_destination(
            "dicom_adapter_destination_held", "1 while an operator holds a destination",
            {name: float(web.ledger.holds.of(name) is not None) for name in web.export_orders},
        ),
        _by_destination(
            "dicom_adapter_export_queue_age_seconds", "How long the oldest export waits",
            {name: 0.0 if at is None else max(now - at, 0.0) for name, at in opened_at.items()},
        ),
        _by_destination(
            "dicom_adapter_export_associations", "Open associations with a destination",
            {name: float(figures.associations[name]) for name in web.export_orders},
        ),
        _counts(
            "dicom_adapter_instances_sent", "Instances a destination has taken",
            web, figures.sent,
        ),
        _counts(
            "dicom_adapter_export_retries", "Attempts that left something to be sent later",
            web, figures.retries,
        ),
        _counts(
            "dicom_adapter_destination_outages", "Tries that did not reach a destination",
            web, figures.outages,
        ),
    ]  # fmt: skip
