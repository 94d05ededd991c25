"""Metrics of the threads of this process. Receiver processes have threads of their own."""

import threading
from collections import Counter

from prometheus_client.core import Metric

from adapter.protocols.web.families import gauges

_KINDS = {"association": "association", "scu": "scu", "disk": "disk", "ledger_0": "ledger"}
"""By the names that threads are given where they are started."""
_IDLE = "Trio thread "
"""Begins the names of Trio's threads while they wait for work; unused for 10 s, they end."""
KINDS = ("main", *_KINDS.values(), "idle", "other")


def thread_metrics() -> list[Metric]:
    """Return the metrics."""
    counts = Counter(map(_kind, threading.enumerate()))
    return [
        gauges(
            "dicom_adapter_threads", "Threads of the main process by what they do", "kind",
            {kind: counts[kind] for kind in KINDS},
        )
    ]  # fmt: skip


def _kind(thread: threading.Thread) -> str:
    if thread is threading.main_thread():
        return "main"
    if thread.name.startswith(_IDLE):
        return "idle"
    return _KINDS.get(thread.name, "other")
