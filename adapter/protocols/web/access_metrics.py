"""What the API says of itself in /metrics."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from adapter.protocols.web.access import Access


class AccessCollector:
    """Reads the metrics off the guard when it is asked."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def collect(self) -> list[Metric]:
        """Return all metrics."""
        places, failed = self._access.places, self._access.failed
        return [
            GaugeMetricFamily(
                "dicom_adapter_api_connections", "Connections of the API", value=places.taken
            ),
            CounterMetricFamily(
                "dicom_adapter_api_connections_refused",
                "Connections that were one too many (api.max_connections)",
                value=places.refused,
            ),
            CounterMetricFamily(
                "dicom_adapter_api_logins_failed", "Requests with a wrong key", value=failed.count
            ),
        ]  # fmt: skip
