"""What is measured while the adapter runs: written by actors, read by the web side."""

from dataclasses import dataclass, field

from adapter.domain.custom_resources import ClusterFigures
from adapter.domain.reconfiguration import ReloadFigures
from adapter.domain.service_times import ServiceTimes
from adapter.domain.space_trend import SpaceTrend


@dataclass(frozen=True, slots=True)
class Measurements:
    """Since the process began."""

    times: ServiceTimes = field(default_factory=ServiceTimes)
    trend: SpaceTrend = field(default_factory=SpaceTrend)
    reloads: ReloadFigures = field(default_factory=ReloadFigures)
    cluster: ClusterFigures = field(default_factory=ClusterFigures)
