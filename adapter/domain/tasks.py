"""Registered results: tasks, each some files of a job's output folder for an agent.

The agent is the adapter itself (its SCU AE Title), which makes exports of it; or another program,
which takes what is pending and reports what became of it. The words are those of Clara's Results
Service.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import trio
from msgspec import Struct

from adapter.domain.job_events import (
    TaskChanged,
    TaskEvent,
    TaskFailed,
    TaskStanding,
    TaskSucceeded,
)
from adapter.domain.records import Export
from adapter.domain.tables import EXPORT_TERMINAL, ExportState, StepEvent, TaskState


class Task(Struct, frozen=True, kw_only=True):
    """Results that were registered."""

    id: str
    """A UUID, made from what was registered: registering it again changes nothing."""
    job_id: str
    pipeline_id: str
    agent: str
    destinations: tuple[str, ...] = ()
    """Empty: as the AE Title of the job says. Of other agents: whatever they understand."""
    files: int
    state: TaskState = TaskState.PENDING
    retries: int = 0
    """How often its agent has asked to retry it later."""
    opened_at: float
    changed_at: float
    due_at: float = 0.0
    """Not offered before: a pause, or the time its agent has to report."""
    exports: tuple[str, ...] = ()
    """What the adapter has made of it."""
    skipped: int = 0
    """Files that are no instances."""
    missing: int = 0
    """Files that are not in the output folder."""
    error: str = ""
    service_id: str = ""
    """The task of a Results Service elsewhere that this one is; empty: it was registered here."""
    reported: bool = False
    """That service has been told how it ended."""


class TaskLedger(Protocol):
    """The tasks, durable before a method returns. Errors as of `Ledger`.

    They go with their job (`Ledger.remove_job`).
    """

    async def register(self, task: Task, files: Sequence[str]) -> Task:
        """Add a task, or return the one of this id.

        Raises:
            RowNotFoundError: There is no such job, or it is being removed.
        """

    async def change(self, task_id: str, event: StepEvent, **changes: object) -> Task:
        """Apply an event of the task table, and set fields; as `Ledger.change_job`."""

    async def note(self, task_id: str, **changes: object) -> Task:
        """Set fields that are not of the task table."""

    def unreported(self) -> list[Task]:
        """Return tasks of a service that have ended, and it has not been told."""

    def find(self, task_id: str) -> Task:
        """Return one task.

        Raises:
            RowNotFoundError: There is none.
        """

    def files(self, task_id: str) -> tuple[str, ...]:
        """Return its files, relative to the output folder of its job."""

    def of_job(self, job_id: str) -> list[Task]:
        """Return the tasks of a job, in the order of registration."""

    def select(self, states: Set[TaskState] | None = None) -> list[Task]:
        """Return tasks, those registered first first; None: in any state."""


def exports_of(task: Task, exports: Sequence[Export]) -> list[Export]:
    """Return those exports of its job that are the task's, and what their fallbacks were given."""
    mine = [export for export in exports if export.id in task.exports]
    given = {export.destination for export in mine if export.given_to}
    return mine + [export for export in exports if export.instead_of in given]


def follows(task: Task, exports: Sequence[Export]) -> tuple[StepEvent, str] | None:
    """Return what the exports of a task mean for it, and why; None: nothing yet."""
    failed = [export for export in exports if export.state is ExportState.FAILED]
    if any(export.state not in EXPORT_TERMINAL for export in exports):
        return None
    if task.state is TaskState.FAILED:
        over = exports and not failed and not task.missing
        return (StepEvent.RESUBMIT, "") if over else None
    if failed:
        return StepEvent.GIVE_UP, f"{len(failed)} of {len(exports)} exports: {failed[0].error}"
    if task.missing:
        return StepEvent.GIVE_UP, f"{task.missing} files are not in the output folder"
    return StepEvent.SUCCEED, ""


def outcome_of(event: StepEvent) -> type[TaskEvent]:
    """Return what is told when this has happened to a task."""
    return {StepEvent.SUCCEED: TaskSucceeded, StepEvent.GIVE_UP: TaskFailed}.get(event, TaskChanged)


def task_event(kind: type[TaskEvent], task: Task) -> TaskEvent:
    """Return the event that says where a task stands."""
    facts = TaskStanding(
        task=task.id,
        agent=task.agent,
        state=task.state,
        files=task.files,
        skipped=task.skipped,
        missing=task.missing,
        retries=task.retries,
        error=task.error,
    )
    return kind(job=task.job_id, data=facts)


class TaskRefusal(Enum):
    """Why nothing was changed."""

    UNKNOWN = auto()
    """There is no such task, or no such job."""
    STATE = auto()
    """Its state, or whose it is, does not allow it."""
    INVALID = auto()
    """It names what there is not."""


@dataclass(frozen=True, slots=True)
class TaskRefused:
    """Tasks -> web: nothing was changed."""

    refusal: TaskRefusal
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRegistered:
    """Web -> tasks: results of a job for an agent; the answer tells the task, when it is durable.

    Beside it, whether it is new.
    """

    job_id: str
    agent: str
    """Empty: the adapter."""
    destinations: tuple[str, ...]
    files: tuple[str, ...]
    """Checked: none leads out of the output folder."""
    reply: trio.MemorySendChannel[tuple[Task, bool] | TaskRefused]


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksTaken:
    """Web -> tasks: an agent takes what is pending; they are its own when it hears of them."""

    agent: str
    size: int
    reply: trio.MemorySendChannel[list[Task] | TaskRefused]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReported:
    """Web -> tasks: what became of a task, or what is to become of it (RESUBMIT)."""

    task_id: str
    event: StepEvent
    """SUCCEED, FAIL (retry later), GIVE_UP, RESUBMIT."""
    reply: trio.MemorySendChannel[Task | TaskRefused]


TaskOrder = TaskRegistered | TasksTaken | TaskReported
