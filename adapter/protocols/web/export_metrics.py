"""Metrics of exports, by destination."""

from prometheus_client.core import GaugeMetricFamily, Metric

from adapter.domain.tables import ExportState
from adapter.domain.views import Views
from adapter.protocols.web.families import counters, gauges


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
        gauges(
            "dicom_adapter_destination_up",
            "0 while a destination is down, and not sent to", "destination",
            {name: float(name not in figures.down) for name in web.export_orders},
        ),
        gauges(
            "dicom_adapter_destination_held",
            "1 while an operator holds a destination", "destination",
            {name: float(web.ledger.holds.of(name) is not None) for name in web.export_orders},
        ),
        gauges(
            "dicom_adapter_export_queue_age_seconds",
            "Age of the oldest export that is Queued", "destination",
            {name: 0.0 if at is None else max(now - at, 0.0) for name, at in opened_at.items()},
        ),
        gauges(
            "dicom_adapter_export_associations",
            "Open associations with a destination", "destination",
            {name: float(figures.associations[name]) for name in web.export_orders},
        ),
        counters(
            "dicom_adapter_instances_sent", "Instances a destination has taken",
            "destination", {name: figures.sent[name] for name in web.export_orders},
        ),
        counters(
            "dicom_adapter_export_retries", "Attempts that left something to be sent later",
            "destination", {name: figures.retries[name] for name in web.export_orders},
        ),
        counters(
            "dicom_adapter_destination_outages",
            "Tries and probes that did not reach a destination",
            "destination", {name: figures.outages[name] for name in web.export_orders},
        ),
    ]  # fmt: skip
