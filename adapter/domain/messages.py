"""Everything one actor says to another: values and reply ends, never an actor.

An answer channel has capacity 1 and is closed by the answering side, so an asker meets either the
answer or the end of the channel (the actor crashed), never silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Literal

import trio
from msgspec import Struct

from adapter.domain.commitment import CommitmentReport, CommitmentRequest
from adapter.domain.entities import ApplicationEntity, SameInstance
from adapter.domain.records import Duplicate, Export, Job

if TYPE_CHECKING:  # a processor is handed instances, which are messages
    from adapter.domain.assignments import Assignment


class Wake(Enum):
    """A hint: look again. Sent on channels of capacity 1, may be lost harmlessly."""

    LOOK_AGAIN = auto()


class Placement(Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Where an instance goes: parts of a path below each group's folder, all safe."""

    groups: dict[str, str]
    """The group it joins, by the name of the processor that wants it; at least one."""
    study: str
    series: str
    instance: str
    same_instance: SameInstance
    """What to do if there is one of the same name."""
    association: str = ""
    """Stage it until this association is released; empty: it joins the groups at once."""
    lease_s: float = 0.0
    """For so long the association may place further instances in these groups without asking, if
    they have the same SOP class and the same attributes the processors read."""


class Ignored(Struct, frozen=True, kw_only=True, tag=True):
    """Answered with success and not stored, by configuration."""

    why: str


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """Not stored; the sender gets this DIMSE status and comment."""

    status: int
    comment: str


StoreAnswer = Placement | Ignored | Refused


class MoveOriginator(Struct, frozen=True, kw_only=True):
    """Whose C-MOVE made the sender send this instance (PS3.7 9.1.1.1)."""

    ae_title: str
    message_id: int


class ReceivedInstance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instance whose last fragment has arrived and which is not yet stored."""

    association: str
    calling_ae_title: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    attributes: dict[str, str]
    """Values of the attributes the entity asked for, by `GGGG,EEEE`; others are missing."""
    payload_bytes: int
    priority: int = 0
    """As the sender says: 0 medium, 1 high, 2 low (PS3.7 9.1.1.1)."""
    move_originator: MoveOriginator | None = None
    joined: tuple[str, ...] = ()
    """Processors in whose groups it is, when it is asked about again because another has closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """Association -> application entity: where does this instance go? The sender waits."""

    instance: ReceivedInstance
    grouping: frozenset[str] | None = None
    """The door's, when the association began; None: the one of now."""
    reply: trio.MemorySendChannel[StoreAnswer]


class Arrival(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an instance in one of its groups."""

    group_id: str
    stored: bool = True
    """In the group and durable (also when it was there before)."""
    duplicate: Duplicate | None = None
    """It was there before."""


class InstanceSettled(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a placed instance."""

    instance: ReceivedInstance
    stored: bool
    """It is where it was to go, and the sender hears success."""
    arrivals: tuple[Arrival, ...]
    """One for each group it was on its way to, but those that had closed."""
    receive_s: float = 0.0
    """From its C-STORE-RQ until its status was known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancesSettled:
    """Association -> application entity: what became of placed instances. Not answered.

    Every instance that was placed is settled once, within moments of its C-STORE response, unless
    its association ends first.
    """

    settled: Sequence[InstanceSettled]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationEnded:
    """Listener -> application entity: an admitted association is over. Not answered."""

    association: str


EntityNote = InstancesSettled | AssociationEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationReleased:
    """Association -> application entity: take in what was staged. Whoever wants to release waits.

    The answer True is given when that is durable; with any other the association is aborted.
    """

    association: str
    reply: trio.MemorySendChannel[bool]


class OrderOutcome(Enum):
    """What became of an operator's order."""

    DONE = auto()
    UNKNOWN = auto()
    """There is no such open group."""
    UNAVAILABLE = auto()
    """It could not be recorded, and has no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOrdered:
    """Web -> application entity: close an open group, hold it, extend it."""

    group_id: str
    order: Literal["close", "hold", "extend"]
    seconds: float = 0.0
    """Of `extend`: for so long from now it is not closed."""
    reply: trio.MemorySendChannel[OrderOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityChanged:
    """Entities -> application entity: be this from now on. Answered when it is so."""

    entity: ApplicationEntity
    assignments: "Sequence[Assignment]"
    wakes: Mapping[str, trio.MemorySendChannel[Wake]]
    """Of the processors, by name; they are the entity's from then on."""
    reply: trio.MemorySendChannel[bool]


@dataclass(frozen=True, slots=True)
class GroupsCounted:
    """Entities -> application entity: how many groups are open?"""

    reply: trio.MemorySendChannel[int]


EntityQuestion = StoreRequest | AssociationReleased | GroupOrdered | EntityChanged | GroupsCounted


class CommitmentAnswer(Struct, frozen=True, kw_only=True):
    """What N-ACTION is answered; with success the request is durable."""

    status: int
    comment: str = ""
    commitment_id: str = ""
    report: CommitmentReport | None = None
    """What can be reported at once, on the same association; None: it will be, on another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentAsked:
    """Association -> commitments: will you keep these? The requestor waits."""

    ae_title: str
    calling_ae_title: str
    request: CommitmentRequest
    reply: trio.MemorySendChannel[CommitmentAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportReceived:
    """Association -> commitments: what a destination reports. It waits for the status."""

    calling_ae_title: str
    report: CommitmentReport
    reply: trio.MemorySendChannel[int]


class ReportEnded(Struct, frozen=True, kw_only=True):
    """Association -> commitments: what became of a report on the same association. Not answered.

    If it gets lost the report is made again, on another association.
    """

    commitment_id: str
    status: int | None
    """Of the response; None: the association ended before."""


CommitmentQuestion = CommitmentAsked | ReportReceived


class OrderRefusal(Enum):
    """Why a job is not retried or cancelled."""

    UNKNOWN = auto()
    """There is no such job."""
    STATE = auto()
    """Its state does not allow it."""
    KEY = auto()
    """The idempotency key belongs to another order."""


@dataclass(frozen=True, slots=True)
class OrderRefused:
    """Submitter or exporter -> web: nothing was changed."""

    refusal: OrderRefusal
    why: str


JobAction = Literal["retry", "cancel", "hold", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOrder:
    """Web -> submitter: something about a job; the answer is the job as it is then."""

    job_id: str
    action: JobAction
    key: str
    """Digest of the Idempotency-Key; empty: none."""
    reply: trio.MemorySendChannel["Job | OrderRefused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """Web -> exporter: send what was given up again; the answer is the export as it is then."""

    export_id: str
    instances: frozenset[str] = frozenset()
    """SOP Instance UIDs of those that are sent again; empty: all."""
    key: str
    """As in `JobOrder`."""
    reply: trio.MemorySendChannel["Export | OrderRefused"]
