"""What is kept about groups, jobs and exports: rows of the ledger and facts read from the store.

Wall times are POSIX seconds (UTC) as floats; they survive restarts. Rows stay far below 32 KiB,
so nothing in a row may grow with the number of instances: outcomes are rows of their own.
"""

from typing import Literal

from msgspec import Struct, field

from adapter.domain.entities import Priority
from adapter.domain.tables import ExportState, JobState

DONE_FLAG = "job.done"
"""The empty file in a job's output folder that says that its results are complete."""


class GroupRecord(Struct, frozen=True, kw_only=True):
    """The file group.json of a group folder, written when it opens, and for each sender more."""

    id: str
    ae_title: str
    processor: str = ""
    """Whose it is, by the name it has in the AE Title; empty: the first one's, as all were once."""
    key: str
    """What it is grouped by (`group_keys.GroupKey.text`): later instances find the group by it."""
    opened_at: float
    calling_ae_titles: tuple[str, ...] = ()
    association: str = ""
    """The only association it takes instances of; empty: it takes those of all."""
    fallback: bool = False
    """Its instances lack what the others are grouped by."""
    supplements: str = ""
    """The group with the same key that had closed before; this one came late."""


class GroupHold(Struct, frozen=True, kw_only=True):
    """The file hold.json of a group folder: what keeps a group open besides its instances."""

    held: bool = False
    """Open until somebody closes or extends it."""
    why: str = ""
    extended_at: float = 0.0
    extended_s: float = 0.0
    """Not closed before so long after `extended_at`, whatever else is due."""


NOT_HELD = GroupHold()


class StoredGroup(Struct, frozen=True, kw_only=True):
    """A group as found on disk: its record and what lies in its folder."""

    record: GroupRecord
    instances: int
    payload_bytes: int
    last_arrival_at: float
    hold: GroupHold = NOT_HELD
    staged: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Instances and bytes that wait for the release of their association, by association; they are
    not among `instances`."""
    unmerged: dict[str, tuple[int, int]] = field(default_factory=dict)
    """As `staged`, of associations that were released when the process died."""


class Duplicate(Struct, frozen=True, kw_only=True):
    """What became of an instance that the group had already."""

    differs: bool
    """The bytes of its data set are not those of the one that was there."""
    kept: Literal["first", "last", "both"]


class Merged(Struct, kw_only=True):
    """What has become, so far, of released instances that are taken into their group."""

    duplicates: list[tuple[str, Duplicate]] = field(default_factory=list)
    """With the name of the instance's file, which is its SOP Instance UID if that is one."""
    instances_fewer: int = 0
    """Fewer than were staged: duplicates of which one is kept."""
    payload_bytes_fewer: int = 0

    def add(self, name: str, duplicate: Duplicate, payload_bytes: int) -> None:
        """Count an instance that the group had already."""
        self.duplicates.append((name, duplicate))
        if duplicate.kept != "both":
            self.instances_fewer += 1
            self.payload_bytes_fewer += payload_bytes


class JobChange(Struct, frozen=True, array_like=True):
    """A state a job came into, and when."""

    state: JobState
    at: float


class Job(Struct, frozen=True, kw_only=True):
    """A group for one pipeline."""

    id: str
    group_id: str
    ae_title: str
    processor: str
    name: str
    pipeline: str
    pipeline_id: str
    priority: Priority
    state: JobState = JobState.QUEUED
    try_count: int = 0
    """Failures of the current step."""
    due_at: float = 0.0
    """Not to be taken up before."""
    opened_at: float
    queued_at: float = 0.0
    """Since when it waits for its turn: opened, or resubmitted."""
    changed_at: float
    instances: int
    payload_bytes: int
    retry_delay_s: float | None = None
    """Before a failed step is tried again; None: as the platform's settings say."""
    submissions: int = 1
    """One more each time an operator resubmits it."""
    left: JobState = JobState.QUEUED
    """Where it goes on if it has faulted."""
    stopping: bool = False
    """It was cancelled, and the platform has not been told yet."""
    held: bool = False
    """An operator keeps its files, however long ago it ended."""
    condemned: bool = False
    """Its files are being removed: nothing changes it any more."""
    history: tuple[JobChange, ...] = ()
    """The latest changes of state, oldest first."""
    destinations: tuple[str, ...] = ()
    platform_job_id: str = ""
    error: str = ""
    """Why the last step failed; free of patient data."""
    collected: bool = False
    """Its results have become exports."""
    results: int = 0
    """Instances in its output folder when they were collected."""
    skipped: int = 0
    """Files beside them that are none."""
    skipped_files: tuple[str, ...] = ()
    """The first of those."""
    tasks: int = 0
    """Times results of it were registered."""
    calling_ae_titles: tuple[str, ...] = ()
    """Who has sent its instances."""
    supplements: str = ""
    """The job of the same pipeline whose group had closed before these instances came."""

    @property
    def source(self) -> str:
        """Clara's source text, `<AE Title> (<processor>)`."""
        return f"{self.ae_title} ({self.processor})"


class Order(Struct, frozen=True, kw_only=True):
    """What an operator wanted of a job or an export under an idempotency key, and got."""

    key: str
    """Digest of the Idempotency-Key."""
    job_id: str
    """Or the id of an export."""
    action: str
    at: float


class Export(Struct, frozen=True, kw_only=True):
    """The results of one job for one destination."""

    id: str
    job_id: str
    destination: str
    priority: Priority = "normal"
    state: ExportState = ExportState.QUEUED
    try_count: int = 0
    """Attempts that reached the destination and still left something undelivered."""
    due_at: float = 0.0
    opened_at: float
    changed_at: float
    instances: int
    sent: int = 0
    failed: int = 0
    """Instances the destination refused for good, or that could not be delivered in the end."""
    committed: int = 0
    """Instances whose storage the destination has committed; 0 where that is not wanted."""
    commitment_tries: int = 0
    """Questions about all of it that did not get a full answer."""
    given: int = 0
    """Instances that were given to the destination's fallback."""
    given_to: str = ""
    instead_of: str = ""
    """The destination that it was for, if it was given to this one."""
    error: str = ""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one instance at one destination."""

    export_id: str
    index: int
    """Position of the instance in the export, from 0."""
    file: str
    """Path relative to the job's output folder."""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    status: int | None = None
    """DIMSE status of the response, or the reason why its storage was not committed; None: no
    response yet, or none came."""
    delivered: bool = False
    committed: bool = False
    """The destination has taken responsibility for it (PS3.4 J)."""
    transaction_uid: str = ""
    """Of the latest storage commitment request about it."""
    permanent: bool = False
    """Trying again without a change is pointless."""
    transcoded: str = ""
    """`FROM to TO`, two transfer syntaxes: it was sent as a copy."""
    given_to: str = ""
    """The fallback that it was given to: an outcome of another export from then on."""
    attempts: int = 0
    error: str = ""
    at: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether it is still to be sent."""
        return not (self.delivered or self.permanent or self.given_to)


class Transaction(Struct, frozen=True, kw_only=True):
    """A storage commitment request to a destination; kept as long as its export."""

    uid: str
    export_id: str
    destination: str
    instances: int
    requested_at: float
    deadline_at: float
    """When a report is not expected any more."""
    over: bool = False
    """It was reported, or has failed, or something has been sent again since."""
    error: str = ""


class Commitment(Struct, frozen=True, kw_only=True):
    """A storage commitment request that somebody made to us, until it is reported."""

    id: str
    transaction_uid: str
    ae_title: str
    """Ours, as it was called."""
    calling_ae_title: str
    instances: int
    requested_at: float
    due_at: float
    """Not to be reported before, by an association of ours."""
    tries: int = 0
    """Associations that did not get the report through."""


class OutgoingInstance(Struct, frozen=True, kw_only=True):
    """A Part 10 file to send as it is stored (PS3.10 7)."""

    path: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set_offset: int
    """Bytes from the start of the file to its data set."""
    data_set_bytes: int
    priority: int = 0
    """Of its C-STORE-RQ: 0 medium, 1 high, 2 low (PS3.7 9.1.1.1)."""

    @property
    def context(self) -> tuple[str, str]:
        """The presentation context it needs: SOP class, transfer syntax."""
        return self.sop_class_uid, self.transfer_syntax_uid


class Results(Struct, frozen=True, kw_only=True):
    """What a pipeline left in its output folder."""

    files: dict[str, OutgoingInstance] = field(default_factory=dict)
    """By path relative to the output folder, in order."""
    skipped: list[str] = field(default_factory=list)
    """Files that are not DICOM Part 10 instances."""
