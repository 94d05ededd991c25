"""Metrics of pictures."""

from prometheus_client.core import Metric

from adapter.domain.views import Views
from adapter.protocols.web.families import counters


def preview_metrics(web: Views) -> list[Metric]:
    """Return the metrics; none where there are no pictures."""
    if web.previews is None:
        return []
    return [
        counters(
            "dicom_adapter_previews",
            "Pictures by what came of them: drawn, form (no image, cannot be decoded), size, time, "
            "busy; missing where there are no pictures", "outcome", web.previews.counts,
        )
    ]  # fmt: skip
