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


class Hold(Struct, frozen=True, kw_only=True):
    """Why a job's files and rows stay."""

    why: str
    until_at: float | None = None
    """When this ends by itself; None: when something happens."""


def hold_of(
    job: Job, held_by: Sequence[Export | Task], retention: Retention, now: float
) -> Hold | None:
    """Return what holds the job; None: it goes.

    A completed job is held by every export and every task that is not completed, however old it is:
    what could not be delivered waits for an operator. A job that faulted or was cancelled is held
    for its retention, always, and until the platform has stopped it.
    """
    if job.condemned:
        return None  # its removal has begun, and is tried again while it fails
    if job.held:
        return Hold(why="an operator holds it")
    if job.state in (JobState.FAULTED, JobState.CANCELLED):
        if job.stopping:
            return Hold(why="the platform has not stopped it yet")
        return _retained(job.changed_at, retention.faulted_s, "storage.retention.faulted_s", now)
    if (held := _held_by_work(job, held_by)) is not None:
        return held
    ended_at = max([job.changed_at, *(each.changed_at for each in held_by)])
    return _retained(ended_at, retention.completed_s, COMPLETED_RETENTION, now)


def goes_when_space_is_low(hold: Hold) -> bool:
    """Return whether only the retention of what is completed holds it."""
    return hold.why == COMPLETED_RETENTION


def is_reclaimable(
    job: Job,
    held_by: Sequence[Export | Task],
    retention: Retention,
    now: float,
    *,
    hurry: bool,
) -> bool:
    """Return whether nothing holds the job any more."""
    hold = hold_of(job, held_by, retention, now)
    return hold is None or (hurry and goes_when_space_is_low(hold))


def _held_by_work(job: Job, held_by: Sequence[Export | Task]) -> Hold | None:
    if job.state is not JobState.COMPLETED:
        return Hold(why=f"the job is {job.state}")
    if not job.collected:
        return Hold(why="its results are not collected yet")
    for each in held_by:
        kind = "task" if isinstance(each, Task) else "export"
        if each.state not in _OVER:
            return Hold(why=f"{kind} {each.id} is {each.state}")
    for each in held_by:
        if isinstance(each, Task) and each.service_id and not each.reported:
            # Its service offers it again until it has been told: it must be known then.
            return Hold(why=f"task {each.id} is not reported to its service")
    return None


def _retained(since: float, retention_s: float, why: str, now: float) -> Hold | None:
    return Hold(why=why, until_at=since + retention_s) if now - since < retention_s else None


COMPLETED_RETENTION = "storage.retention.completed_s"
_OVER = frozenset({ExportState.COMPLETED, TaskState.SUCCEEDED})
