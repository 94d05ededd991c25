"""Metrics of custom resources; nothing of a cluster that is not watched."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from adapter.domain.views import Views


def cluster_metrics(web: Views) -> Iterator[Metric]:
    """Yield the metrics."""
    cluster = web.measurements.cluster
    if not cluster.watches:
        return
    yield GaugeMetricFamily(
        "dicom_adapter_kubernetes_up",
        "0 while custom resources cannot be followed, or their status not be written; "
        "kubernetesOutage of /health/status says why. Missing where they are not followed",
        value=float(not cluster.outage),
    )  # fmt: skip
    resources = GaugeMetricFamily(
        "dicom_adapter_kubernetes_resources", "Custom resources by kind, and whether accepted",
        labels=["kind", "accepted"],
    )  # fmt: skip
    for (kind, accepted), count in sorted(cluster.resources.items()):
        resources.add_metric([kind, str(accepted).lower()], count)
    yield resources
