"""The state tables of jobs, exports and tasks: the only place that says what may follow what.

Rules: a pair that is not listed is a bug of the caller. Working states (something is being done
now) have a waiting state they fall back to when the process dies or the step fails; that is the
whole of crash recovery for rows. The names of the job states are Clara's, but for `Cancelled`.
"""

from enum import StrEnum
from typing import TypeVar


class IllegalTransitionError(Exception):
    """An event arrived in a state that does not list it; the caller has a bug."""


class JobState(StrEnum):
    QUEUED = "Queued"
    CREATING = "Creating"
    CREATED = "Created"
    METADATA_UPLOADING = "MetadataUploading"
    METADATA_UPLOADED = "MetadataUploaded"
    PAYLOAD_UPLOADING = "PayloadUploading"
    PAYLOAD_UPLOADED = "PayloadUploaded"
    STARTING = "Starting"
    COMPLETED = "Completed"
    FAULTED = "Faulted"
    """A step failed for the last time; files are kept, and an operator may resubmit it."""
    CANCELLED = "Cancelled"
    """An operator ended it; the same holds for its files."""


class StepEvent(StrEnum):
    """What can happen to a job or an export; both walk through steps."""

    BEGIN = "begin"
    """The next step is being done."""
    SUCCEED = "succeed"
    COMPLETE = "complete"
    """The step succeeded, and those that follow are not wanted."""
    FAIL = "fail"
    """The step failed and will be tried again."""
    INTERRUPT = "interrupt"
    """The process died, or stopped, while the step was being done."""
    GIVE_UP = "give up"
    """The step failed for the last time; files are kept."""
    REPEAT = "repeat"
    """The step found that what an earlier one did has to be done again."""
    RESUBMIT = "resubmit"
    """An operator wants what was given up, or cancelled, to run again."""
    CANCEL = "cancel"
    """An operator wants it to end."""


class ExportState(StrEnum):
    QUEUED = "Queued"
    SENDING = "Sending"
    SENT = "Sent"
    COMMITTING = "Committing"
    """The destination was asked for storage commitment, and its reports are waited for."""
    COMPLETED = "Completed"
    FAILED = "Failed"
    """Held: something was not delivered, or not committed, and will not be tried again by itself.
    """


class TaskState(StrEnum):
    """Of registered results; the words are Clara's."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    """Its agent has taken it; or it has become exports."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    """Held: its files are kept until it is retried, or somebody says that it succeeded."""


JOB_STEPS: tuple[tuple[JobState, JobState, JobState], ...] = (
    (JobState.QUEUED, JobState.CREATING, JobState.CREATED),
    (JobState.CREATED, JobState.METADATA_UPLOADING, JobState.METADATA_UPLOADED),
    (JobState.METADATA_UPLOADED, JobState.PAYLOAD_UPLOADING, JobState.PAYLOAD_UPLOADED),
    (JobState.PAYLOAD_UPLOADED, JobState.STARTING, JobState.COMPLETED),
)
"""(waiting, working, done) of each step. `Starting` lasts until the platform tells the outcome."""

EXPORT_STEPS: tuple[tuple[ExportState, ExportState, ExportState], ...] = (
    (ExportState.QUEUED, ExportState.SENDING, ExportState.SENT),
    (ExportState.SENT, ExportState.COMMITTING, ExportState.COMPLETED),
)
"""Without storage commitment `Sending` completes the export; what a destination did not commit is
sent again."""

State = TypeVar("State", JobState, ExportState, TaskState)


def _transitions(
    steps: tuple[tuple[State, State, State], ...], given_up: State
) -> dict[tuple[State, StepEvent], State]:
    table = {(given_up, StepEvent.RESUBMIT): steps[0][0]}
    for waiting, working, done in steps:
        table[waiting, StepEvent.BEGIN] = working
        table[working, StepEvent.SUCCEED] = done
        table[working, StepEvent.FAIL] = waiting
        table[working, StepEvent.INTERRUPT] = waiting
        table[working, StepEvent.GIVE_UP] = given_up
    return table


JOB_TRANSITIONS = _transitions(JOB_STEPS, JobState.FAULTED) | {
    (JobState.CANCELLED, StepEvent.RESUBMIT): JobState.QUEUED,
    **{
        (state, StepEvent.CANCEL): JobState.CANCELLED
        for waiting, working, _ in JOB_STEPS
        for state in (waiting, working)
    },
}
"""A resubmitted job that had faulted goes on where it left: see `next_job_state`."""
EXPORT_TRANSITIONS = _transitions(EXPORT_STEPS, ExportState.FAILED) | {
    (ExportState.SENDING, StepEvent.COMPLETE): ExportState.COMPLETED,
    (ExportState.COMMITTING, StepEvent.REPEAT): ExportState.QUEUED,
}

TASK_TRANSITIONS = _transitions(
    ((TaskState.PENDING, TaskState.IN_PROGRESS, TaskState.SUCCEEDED),), TaskState.FAILED
) | {
    (TaskState.IN_PROGRESS, StepEvent.BEGIN): TaskState.IN_PROGRESS,
    (TaskState.PENDING, StepEvent.GIVE_UP): TaskState.FAILED,
    (TaskState.PENDING, StepEvent.SUCCEED): TaskState.SUCCEEDED,
    (TaskState.FAILED, StepEvent.SUCCEED): TaskState.SUCCEEDED,
}
"""An agent that has not reported in time is offered the task again; a late report still counts."""

JOB_WORKING = frozenset(working for _, working, _ in JOB_STEPS)
EXPORT_WORKING = frozenset(working for _, working, _ in EXPORT_STEPS)
EXPORT_WAITING = frozenset(waiting for waiting, _, _ in EXPORT_STEPS)
JOB_WAITING = frozenset(waiting for waiting, _, _ in JOB_STEPS)
JOB_TERMINAL = frozenset({JobState.COMPLETED, JobState.FAULTED, JobState.CANCELLED})
EXPORT_TERMINAL = frozenset({ExportState.COMPLETED, ExportState.FAILED})
TASK_TERMINAL = frozenset({TaskState.SUCCEEDED, TaskState.FAILED})


def next_state(
    table: dict[tuple[State, StepEvent], State], state: State, event: StepEvent
) -> State:
    """Return the state that follows event in state.

    Raises:
        IllegalTransitionError: The table has no such row; the caller has a bug.

    Source: ours, docs/adr/0004-job-and-export-tables.md.
    """
    try:
        return table[state, event]
    except KeyError:
        raise IllegalTransitionError(f"{event!r} in state {state!r}") from None


def next_job_state(state: JobState, event: StepEvent, left: JobState) -> JobState:
    """Return what follows for a job whose last given up step began in the waiting state `left`.

    Raises:
        IllegalTransitionError: As `next_state`.
    """
    following = next_state(JOB_TRANSITIONS, state, event)
    resumed = state is JobState.FAULTED and event is StepEvent.RESUBMIT
    return left if resumed else following
