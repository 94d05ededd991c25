"""The seams: what actors need from the outside, implemented in `protocols/` and `store/` for real
and in `tests/fakes/` for simulations. An async method may wait; a sync one never does.

Errors a port may raise are those of `adapter.errors`; anything else is a bug and crashes the actor.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Protocol

from msgspec import Struct

from adapter.domain.commitment_ledger import CommitmentLedger
from adapter.domain.destination_rows import (
    DestinationHold,
    DestinationOutage,
    DestinationRows,
)
from adapter.domain.own_results import OwnResults
from adapter.domain.records import (
    Export,
    Job,
    Order,
    Outcome,
    OutgoingInstance,
    Results,
    Transaction,
)
from adapter.domain.tables import ExportState, JobState, StepEvent
from adapter.domain.tasks import TaskLedger

WallClock = Callable[[], float]
"""POSIX seconds, UTC."""


# --- store


class PayloadStore(Protocol):
    """Job folders: input, output, job.meta."""

    async def create_payload(self, job: Job) -> None:
        """Make the job's folder with the closed group as input, durably; again is harmless."""

    async def metadata(self, job_id: str) -> Mapping[str, str]:
        """Return what job.meta says of the job's payload; it may be patient data."""

    async def count_inputs(self, job_id: str) -> int | None:
        """Return how many files the job's input has; None: its folder has gone."""

    async def folders(self) -> set[str]:
        """Return the ids of jobs that have a folder."""

    async def group_of(self, job_id: str) -> str:
        """Return the group the job's payload was made of; empty: job.meta does not tell."""

    async def remove_payload(self, job_id: str) -> int:
        """Delete the job's folder and return its size in bytes; again is harmless."""


class ResultSource(Protocol):
    """Reads what pipelines left behind."""

    async def results(self, job_id: str) -> Results:
        """Return what lies in the job's output folder."""

    async def inputs(self, job_id: str) -> Set[str]:
        """Return the names of the files of its payload: SOP Instance UIDs, but for odd ones."""


class SpaceReading(Struct, frozen=True, kw_only=True):
    """The file system under the storage root."""

    total_bytes: int
    free_bytes: int
    reserved_bytes: int


class SpaceGauge(Protocol):
    """Free space, measured by the reclaimer, read by everyone."""

    low: bool
    """Admission is closed."""
    fault: str
    """Why nothing can be written, if that is the reason; else empty."""

    async def measure(self) -> SpaceReading:
        """Measure, update `low` with hysteresis, and return the reading."""


class HeldInstances(Protocol):
    """Instances that lie in group and job folders, open, closed or handed over."""

    async def find(self, sop_instance_uids: Set[str]) -> dict[str, set[str]]:
        """Return the SOP classes under which each of these instances is held; one walk for all.

        Raises:
            UnavailableError: The folders cannot be read now.
        """


# --- ledger


class Ledger(Protocol):
    """Jobs, exports and outcomes, durable before a method returns.

    Cancel: a change may or may not have been written; rows are never half-written.

    Raises (all methods):
        LedgerError: It cannot be read or written any more.
    """

    @property
    def outage(self) -> str:
        """Why nothing can be written now, and what is to be written waits; empty: it can."""

    @property
    def commitments(self) -> CommitmentLedger:
        """The requests of others."""

    @property
    def tasks(self) -> TaskLedger:
        """Registered results."""

    @property
    def holds(self) -> DestinationRows[DestinationHold]:
        """Destinations that are not sent to."""

    @property
    def outages(self) -> DestinationRows[DestinationOutage]:
        """Destinations that could not be reached."""

    @property
    def own_results(self) -> OwnResults:
        """What may come back in."""

    async def open_jobs(self, jobs: Sequence[Job]) -> list[Job]:
        """Add the jobs that are not there yet, in one transaction; return those added."""

    async def change_job(
        self, job_id: str, event: StepEvent, order: Order | None = None, /, **changes: object
    ) -> Job:
        """Apply an event of the job table, and set fields.

        With the order that wanted it, which is kept in the same transaction. Memory changes before
        the first checkpoint.

        Raises:
            IllegalTransitionError: The table has no such row.
            RowNotFoundError: There is no such job.
        """

    async def note_job(self, job_id: str, **changes: object) -> Job:
        """Set fields that are not of the job table."""

    async def condemn_job(self, job: Job) -> bool:
        """Mark that the job is being removed; False: it has changed since, or is gone."""

    async def order(self, key: str) -> Order | None:
        """Return what was done under this idempotency key; only the latest ones are known."""

    async def known_jobs(self, job_ids: Set[str]) -> Set[str]:
        """Return which of these jobs there are."""

    def job_counts(self) -> Mapping[JobState, int]:
        """Return how many jobs there are in each state."""

    async def job(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            RowNotFoundError: There is none.
        """

    async def jobs(self, states: frozenset[JobState] | None = None) -> list[Job]:
        """Return jobs in the order in which they opened; None: in any state."""

    async def open_exports(
        self,
        job_id: str,
        exports: Sequence[tuple[Export, Mapping[str, OutgoingInstance]]],
        /,
        **changes: object,
    ) -> list[Export]:
        """Mark the job collected, set fields of it, and add its exports; return those added.

        In one transaction.
        """

    async def change_export(
        self, export_id: str, event: StepEvent, order: Order | None = None, /, **changes: object
    ) -> Export:
        """Apply an event of the export table, and set fields; as `change_job`."""

    async def hand_over(
        self, given: tuple[Export, Sequence[Outcome]], taken: tuple[Export, Sequence[Outcome]]
    ) -> None:
        """Replace an export with its outcomes, and add another with its own, in one transaction."""

    async def readdress_export(self, export_id: str, destination: str, error: str) -> Export:
        """Have another destination get an export that waits, or say why nobody gets it."""

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Record outcomes while the export is being sent."""

    async def export(self, export_id: str) -> Export:
        """Return one export.

        Raises:
            RowNotFoundError: There is none.
        """

    async def exports(
        self, states: Set[ExportState] | None = None, destination: str | None = None
    ) -> list[Export]:
        """Return exports in the order in which they opened; None: in any state, to anybody."""

    async def exports_of(self, job_id: str) -> list[Export]:
        """Return the exports of one job."""

    def export_counts(self) -> Mapping[tuple[str, ExportState], int]:
        """Return how many exports there are, by destination and state."""

    def oldest_export_at(self, destination: str, state: ExportState) -> float | None:
        """Return when the oldest export in this state opened."""

    async def outcomes(self, export_id: str) -> list[Outcome]:
        """Return the export's outcomes by index; one for each instance.

        Raises:
            RowNotFoundError: There is no such export.
        """

    async def record_transactions(
        self, transactions: Sequence[Transaction], outcomes: Sequence[Outcome] = ()
    ) -> None:
        """Record transactions of one export and what changes with them, in one transaction."""

    async def transactions(self, export_id: str) -> list[Transaction]:
        """Return the export's storage commitment transactions, oldest first."""

    async def transaction(self, uid: str) -> Transaction | None:
        """Return the transaction with this Transaction UID."""

    async def committed(self, sop_instance_uids: Set[str]) -> Mapping[str, Set[str]]:
        """Return the SOP classes under which destinations have committed these instances."""

    async def remove_job(self, job_id: str) -> None:
        """Remove a job with its exports, outcomes and transactions."""


# --- platform


class Platform(Protocol):
    """An engine that runs a pipeline on a payload. Steps are idempotent by job id.

    Raises (all but cancel):
        PostponedError: It is away, or has no room: it is asked again for as long as it takes.
        UnavailableError: It cannot do this now.
        PipelineError: The pipeline ended without a result.
    """

    async def create(self, job: Job) -> str:
        """Announce the job and return the platform's own id for it."""

    async def upload_metadata(self, job: Job, metadata: Mapping[str, str]) -> None:
        """Hand over what was read from the payload; it may be patient data."""

    async def upload(self, job: Job) -> None:
        """Hand over the payload."""

    async def start(self, job: Job) -> None:
        """Start the pipeline; one that runs already is left alone, one that failed starts again."""

    async def wait(self, job: Job) -> None:
        """Wait until the pipeline has succeeded.

        Cancel: the pipeline is stopped where the engine owns it, else left running.
        """

    async def cancel(self, job: Job) -> None:
        """Stop the pipeline for good; harmless if it has ended or never began.

        Called when nobody waits for the job any more. `job.platform_job_id` may be empty although
        `create` went through. A resubmitted job is announced by `create` again, with one more in
        `job.submissions`. Raises UnavailableError only.
        """

    def concurrency(self, pipeline_id: str) -> int:
        """Return how many jobs of this pipeline may run at once."""

    @property
    def outage(self) -> str:
        """Why it could not be used when it was asked last; empty: it could."""
