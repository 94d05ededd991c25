"""Metrics of webhooks, by name."""

from prometheus_client.core import CounterMetricFamily, Metric

from adapter.domain.views import Views
from adapter.protocols.web.families import gauges


def hook_metrics(web: Views) -> list[Metric]:
    """Return the metrics; every configured webhook is in each of them."""
    deliveries = CounterMetricFamily(
        "dicom_adapter_webhook_deliveries",
        "Deliveries to webhooks by what came of them: delivered, retried, given up",
        labels=["webhook", "outcome"],
    )  # fmt: skip
    for name, hook in web.hooks.items():
        figures = hook.figures
        deliveries.add_metric([name, "delivered"], figures.delivered)
        deliveries.add_metric([name, "retried"], figures.retried)
        deliveries.add_metric([name, "given up"], figures.given_up)
    up = gauges(
        "dicom_adapter_webhook_up",
        "0 while a delivery does not arrive; webhook.failed in the log says why",
        "webhook",
        {name: float(not hook.figures.outage) for name, hook in web.hooks.items()},
    )  # fmt: skip
    return [deliveries, up]
