"""When a job's files and rows may go: pure rules."""

from collections.abc import Sequence

from msgspec import Struct

from adapter.domain.records import Export, Job
from adapter.domain.tables import ExportState, JobState, TaskState
from adapter.domain.tasks import Task


class Retention(Struct):
    """`storage.retention.*`, in seconds after the last change."""

    completed_s: float
    faulted_s: float


def is_reclaimable(
    job: Job,
    held_by: Sequence[Export | Task],
    retention: Retention,
    now: float,
    *,
    hurry: bool,
) -> bool:
    """Return whether nothing holds the job any more.

    A completed job is held by every export and every task that is not completed, however old it is:
    what could not be delivered waits for an operator. A job that faulted or was cancelled is held
    for its retention, always, and until the platform has stopped it.
    """
    if job.condemned:
        return True  # its removal has begun
    if job.state in (JobState.FAULTED, JobState.CANCELLED):
        return not job.stopping and now - job.changed_at >= retention.faulted_s
    if job.state is not JobState.COMPLETED or not job.collected:
        return False
    if any(each.state not in _OVER for each in held_by):
        return False
    if any(isinstance(each, Task) and each.service_id and not each.reported for each in held_by):
        return False  # its service offers it again until it has been told: it must be known then
    ended_at = max([job.changed_at, *(each.changed_at for each in held_by)])
    return hurry or now - ended_at >= retention.completed_s


_OVER = frozenset({ExportState.COMPLETED, TaskState.SUCCEEDED})
