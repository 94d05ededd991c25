"""How long associations, instances, groups, jobs and exports take: for /metrics.

Pure: `apply` folds one live event in. Labels are AE Titles and destinations, all of the
configuration; what a peer made up has no event that is counted here. What began before the process
did is not counted.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET

from adapter.domain.association_events import (
    AssociationAborted,
    AssociationAccepted,
    AssociationReleased,
    InstanceStored,
)
from adapter.domain.events import Event, Publish
from adapter.domain.export_events import ExportCompleted, ExportFailed, ExportOpened
from adapter.domain.group_events import GroupClosed, GroupOpened
from adapter.domain.histogram import Histogram
from adapter.domain.job_events import JobEvent, JobOpened
from adapter.domain.tables import JOB_TERMINAL, JobState

BOUNDS_S: dict[str, tuple[float, ...]] = {
    "association": (0.1, 1, 10, 60, 300, 1800, 3600, 14_400),
    "receive": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
    "group": (1, 5, 10, 30, 60, 300, 1800, 3600, 86_400),
    "submit": (0.1, 1, 10, 60, 600, 3600, 86_400),
    "run": (1, 10, 60, 300, 1800, 3600, 21_600, 86_400),
    "export": (0.1, 1, 10, 60, 600, 3600, 86_400),
}
"""By what is measured."""
OPEN_MAX = 100_000
"""Things that have begun, of all kinds; over it the oldest is not measured."""


class _Begun(NamedTuple):
    at: float
    label: str


class ServiceTimes:
    """Histograms by what is measured and label, and a count."""

    def __init__(self) -> None:
        self.histograms: dict[str, dict[str, Histogram]] = {name: {} for name in BOUNDS_S}
        self.received_bytes = Counter[str]()
        """By AE Title."""
        self._begun: dict[tuple[str, str], _Begun] = {}

    def apply(self, event: Event, now: float) -> None:
        """Fold in an event that happens now; the clock never goes back."""
        match event:
            case InstanceStored():
                self._stored(event)
            case AssociationAccepted():
                self._begin("association", event.association, event.ae_title, now)
            case AssociationReleased() | AssociationAborted():
                self._end("association", event.association, now)
            case GroupOpened():
                self._begin("group", event.group, event.ae_title, now)
            case GroupClosed():
                self._end("group", event.group, now)
            case JobOpened():
                self._begin("submit", event.job, event.ae_title, now)
            case JobEvent():
                self._job(event, now)
            case ExportOpened():
                self._begin("export", event.export, event.destination, now)
            case ExportCompleted():
                self._end("export", event.export, now)
            case ExportFailed():
                self._begun.pop(("export", event.export), None)
            case _:
                pass

    def _begin(self, kind: str, key: str, label: str, now: float) -> None:
        self._begun[kind, key] = _Begun(now, label.strip())
        if len(self._begun) > OPEN_MAX:
            del self._begun[next(iter(self._begun))]

    def _end(self, kind: str, key: str, now: float) -> None:
        if begun := self._begun.pop((kind, key), None):
            self._observe(kind, begun.label, now - begun.at)

    def _observe(self, kind: str, label: str, seconds: float) -> None:
        by_label = self.histograms[kind]
        if label not in by_label:
            by_label[label] = Histogram(BOUNDS_S[kind])
        by_label[label].observe(seconds)

    def _stored(self, event: InstanceStored) -> None:
        ae_title = event.ae_title.strip()
        self.received_bytes[ae_title] += event.data.payload_bytes or 0
        if event.data.receive_s is not UNSET:
            self._observe("receive", ae_title, event.data.receive_s)

    def _job(self, event: JobEvent, now: float) -> None:
        if event.data.state is JobState.STARTING:  # the platform has all of it
            self._end("submit", event.job, now)
            self._begin("run", event.job, event.ae_title, now)
        elif event.data.state in JOB_TERMINAL:
            if event.data.state is JobState.COMPLETED:
                self._end("run", event.job, now)
            for kind in ("submit", "run"):
                self._begun.pop((kind, event.job), None)


def measured(publish: Publish, times: ServiceTimes, clock: Callable[[], float]) -> Publish:
    """Return `publish`, with each event folded into the figures on its way."""

    def publish_measured(event: Event, /) -> None:
        times.apply(event, clock())
        publish(event)

    return publish_measured
