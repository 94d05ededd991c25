"""The order in which jobs are taken up, and when a failed step is tried again: pure rules.

Theory: a job's rank is the time since when it waits, put back by `AGEING_S` for each class of
priority below the highest. So a job goes before every job that came more than that later, however
urgent: a steady stream of urgent jobs delays others, and starves none.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from adapter.domain.entities import PRIORITY_ORDER
from adapter.domain.exporting import outage_pause_s
from adapter.domain.histogram import Histogram
from adapter.domain.records import Job
from adapter.domain.tables import JobState

AGEING_S = 600.0
"""Waiting so long makes up for one class of priority."""
JITTER = 0.1
"""Share of a pause that is drawn: what failed together does not come back together."""
WAIT_BUCKETS_S = (1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)

Draw = Callable[[], float]
"""A random number, 0 <= x < 1."""


def rank(job: Job) -> float:
    """Return the job's rank; the lowest is taken up first."""
    return (job.queued_at or job.opened_at) + AGEING_S * PRIORITY_ORDER[job.priority]


def retry_pause_s(tries: int, retry_delay_s: float, draw: Draw) -> float:
    """Return the pause after so many failures of a step: doubled each time, up to a limit."""
    return outage_pause_s(tries, retry_delay_s) * (1 + JITTER * draw())


def lack_of(job: Job, inputs: int | None) -> str:
    """Return what a job has lost of what it is to be given; empty: nothing.

    Once a platform has its payload, it may take away what it has read.

    Args:
        inputs: Files in its input; None: its folder has gone.
    """
    if inputs is None:
        return "its folder has gone"
    missing = job.instances - inputs
    if missing <= 0 or job.state is JobState.STARTING:
        return ""
    return f"{missing} of {job.instances} instances are missing in its folder"


@dataclass(slots=True)
class QueueFigures:
    """What the submitter counts since the process began, for /metrics."""

    retries: Counter[str] = field(default_factory=Counter)
    """Failures that are tried again, by the state in which they happened."""
    waits: Histogram = field(default_factory=lambda: Histogram(WAIT_BUCKETS_S))
    """How long jobs waited for their turn."""
