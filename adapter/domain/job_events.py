"""What is told of jobs and of results that are registered for them."""

from msgspec import UNSET, UnsetType, field

from adapter.domain.events import Data, Event
from adapter.domain.tables import JobState, TaskState


class JobFacts(Data, frozen=True, kw_only=True):
    """What a job is."""

    name: str
    pipeline: str
    state: JobState
    instances: int
    payload_bytes: int = field(name="bytes")
    supplements: str | UnsetType = UNSET
    """The job it comes late to."""


class JobStanding(Data, frozen=True, kw_only=True):
    """Where a job stands."""

    state: JobState
    pipeline: str
    tries: int
    due_at: str
    """Of the next try, RFC 3339; empty: at once."""
    error: str


class CollectedFacts(Data, frozen=True, kw_only=True):
    """What was in the output folder."""

    state: JobState
    results: int
    """Instances."""
    skipped: int
    """Files that are none."""
    named: int
    """Results of tasks, not sent by configuration."""
    exports: int


class JobOpened(Event, frozen=True, kw_only=True, tag="job.opened"):
    """Durable in the ledger."""

    data: JobFacts


class JobEvent(Event, frozen=True, kw_only=True):
    """A job stands elsewhere."""

    data: JobStanding


class JobChanged(JobEvent, frozen=True, tag="job.state"):
    """In another state, or about to be tried again."""


class JobCompleted(JobEvent, frozen=True, tag="job.completed"):
    """The pipeline has done its work."""


class JobFaulted(JobEvent, frozen=True, tag="job.faulted"):
    """Given up; kept."""


class JobCancelled(JobEvent, frozen=True, tag="job.cancelled"):
    """By an operator; again when the platform has stopped it, or did not."""


class JobCollected(Event, frozen=True, kw_only=True, tag="job.collected"):
    """Its output folder was read."""

    data: CollectedFacts


# --- tasks


class TaskStanding(Data, frozen=True, kw_only=True):
    """Where registered results stand."""

    task: str
    agent: str
    state: TaskState
    files: int
    skipped: int
    missing: int
    retries: int
    error: str


class TaskEvent(Event, frozen=True, kw_only=True):
    """A task stands elsewhere."""

    data: TaskStanding


class TaskChanged(TaskEvent, frozen=True, tag="task.state"):
    """In another state."""


class TaskRegistered(TaskEvent, frozen=True, tag="task.registered"):
    """Durable in the ledger."""


class TaskTaken(TaskEvent, frozen=True, tag="task.taken"):
    """Its agent has it."""


class TaskSucceeded(TaskEvent, frozen=True, tag="task.succeeded"):
    """Over."""


class TaskFailed(TaskEvent, frozen=True, tag="task.failed"):
    """Over, and kept."""
