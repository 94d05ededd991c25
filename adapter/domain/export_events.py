"""What is told of exports, of storage commitment (PS3.4 J) and of destinations."""

from typing import Literal

from msgspec import UNSET, UnsetType

from adapter.domain.events import Data, Event
from adapter.domain.records import Export
from adapter.domain.tables import ExportState


class ExportStanding(Data, frozen=True, kw_only=True):
    """Where an export stands."""

    state: ExportState
    instances: int
    sent: int
    failed: int
    committed: int
    error: str
    given: int | UnsetType = UNSET
    """Instances its destination's fallback has now."""
    given_to: str | UnsetType = UNSET
    instead_of: str | UnsetType = UNSET
    """The destination it was for."""
    report: str | UnsetType = UNSET
    """At the end: `success` or `failure`."""


class SentFacts(Data, frozen=True, kw_only=True):
    """How a batch was answered."""

    delivered: int
    failed: int
    errors: list[str]
    transcoded: list[str]
    """Each `FROM to TO`."""


class ExportEvent(Event, frozen=True, kw_only=True):
    """An export stands elsewhere."""

    data: ExportStanding


class ExportChanged(ExportEvent, frozen=True, tag="export.state"):
    """In another state."""


class ExportOpened(ExportEvent, frozen=True, tag="export.opened"):
    """Durable in the ledger."""


class ExportGiven(ExportEvent, frozen=True, tag="export.given"):
    """What waits was given to the destination's fallback; its export there has opened."""


class ExportCompleted(ExportEvent, frozen=True, tag="export.completed"):
    """Over."""


class ExportFailed(ExportEvent, frozen=True, tag="export.failed"):
    """Over, and kept."""


class ExportSent(Event, frozen=True, kw_only=True, tag="export.sent"):
    """A batch was answered."""

    data: SentFacts


def standing(export: Export, report: str = "") -> ExportStanding:
    """Return where an export stands."""
    return ExportStanding(
        state=export.state,
        instances=export.instances,
        sent=export.sent,
        failed=export.failed,
        committed=export.committed,
        error=export.error,
        given=export.given if export.given_to else UNSET,
        given_to=export.given_to or UNSET,
        instead_of=export.instead_of or UNSET,
        report=report or UNSET,
    )


# --- commitment


class CommitmentFacts(Data, frozen=True, kw_only=True):
    """Who asks for how much."""

    role: Literal["SCU", "SCP"]
    """SCU: we ask; SCP: we are asked."""
    transaction_uid: str
    instances: int
    calling_ae_title: str | UnsetType = UNSET
    """Of who asked us."""
    error: str | UnsetType = UNSET


class CommitmentOutcome(CommitmentFacts, frozen=True, kw_only=True):
    """What was reported to us, or how our report was answered."""

    committed: int | UnsetType = UNSET
    failed: int | UnsetType = UNSET
    status: int | UnsetType = UNSET


class CommitmentEvent(Event, frozen=True, kw_only=True):
    """Something happened to a transaction."""

    data: CommitmentFacts


class CommitmentRequested(CommitmentEvent, frozen=True, tag="commitment.requested"):
    """A transaction is open."""


class CommitmentRefused(CommitmentEvent, frozen=True, tag="commitment.refused"):
    """The destination did not take our question, or we did not take one."""


class CommitmentExpired(CommitmentEvent, frozen=True, tag="commitment.expired"):
    """No report came, or ours reached nobody, until the deadline."""


class CommitmentReported(Event, frozen=True, kw_only=True, tag="commitment.reported"):
    """The destination has reported, or has been reported to."""

    data: CommitmentOutcome


# --- destinations


class Outage(Data, frozen=True, kw_only=True):
    """Why and for how long; times are RFC 3339."""

    why: str
    tries: int
    """In a row."""
    since_at: str
    again_at: str
    """When it is probed."""


class HoldFacts(Data, frozen=True, kw_only=True):
    """Why and since when."""

    why: str
    held_at: str


class DestinationUp(Event, frozen=True, tag="destination.up"):
    """It answered for an instance."""


class OutageEvent(Event, frozen=True, kw_only=True):
    """There is no way to a destination."""

    data: Outage


class DestinationDown(OutageEvent, frozen=True, tag="destination.down"):
    """It cannot be reached."""


class DestinationTried(OutageEvent, frozen=True, tag="destination.tried"):
    """It was probed and is still down."""


class DestinationHeld(Event, frozen=True, kw_only=True, tag="destination.held"):
    """An operator has it held; told again at a start."""

    data: HoldFacts


class DestinationReleased(Event, frozen=True, tag="destination.released"):
    """An operator goes on with it."""
