"""What is told of associations and of the instances they bring."""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, UnsetType, field

from adapter.domain.events import Data, Event


class AssociationFacts(Data, frozen=True, kw_only=True):
    """Who asks for what."""

    calling_ae_title: str
    peer: str
    tls: str
    """Version; empty: not encrypted."""
    contexts: int
    """Abstract syntaxes that are proposed."""


class AssociationRejection(AssociationFacts, frozen=True, kw_only=True):
    """Why it is not admitted; result, source and reason as in PS3.8 9.3.4."""

    why: str
    rule: str
    """The same for programs."""
    result: int
    source: int
    reason: int
    count: int
    """Of the same caller, address and rule."""
    first: str
    """The association these are shown under."""


class AssociationEnd(Data, frozen=True, kw_only=True):
    """How it ended; after a bug of ours only `why` is known."""

    why: str
    calling_ae_title: str | UnsetType = UNSET
    peer: str | UnsetType = UNSET
    tls: str | UnsetType = UNSET
    contexts: int | UnsetType = UNSET
    instances: int | UnsetType = UNSET
    payload_bytes: int | UnsetType = field(name="bytes", default=UNSET)
    refused: int | UnsetType = UNSET


class AssociationRequested(Event, frozen=True, kw_only=True, tag="association.requested"):
    """A-ASSOCIATE-RQ has arrived."""

    data: AssociationFacts


class AssociationAccepted(Event, frozen=True, kw_only=True, tag="association.accepted"):
    """It is admitted."""

    data: AssociationFacts


class AssociationRejected(Event, frozen=True, kw_only=True, tag="association.rejected"):
    """It is not."""

    data: AssociationRejection


class AssociationReleased(Event, frozen=True, kw_only=True, tag="association.released"):
    """It is over, by A-RELEASE."""

    data: AssociationEnd


class AssociationAborted(Event, frozen=True, kw_only=True, tag="association.aborted"):
    """It is over, otherwise."""

    data: AssociationEnd


# --- instances


class InstanceFacts(Data, frozen=True, kw_only=True):
    """Which instance, and what its sender said besides, where that is not the usual."""

    sop_instance_uid: str
    sop_class_uid: str | UnsetType = UNSET
    payload_bytes: int | UnsetType = field(name="bytes", default=UNSET)
    priority: int | UnsetType = UNSET
    """1 high, 2 low (PS3.7 9.1.1.1)."""
    move_originator: str | UnsetType = UNSET
    move_originator_message_id: int | UnsetType = UNSET


class StoredFacts(InstanceFacts, frozen=True, kw_only=True):
    """Where it is now."""

    groups: list[str] | UnsetType = UNSET
    """If it is new in several."""
    receive_s: float | UnsetType = UNSET
    """From C-STORE-RQ until its status was known."""


class DuplicateFacts(InstanceFacts, frozen=True, kw_only=True):
    """What became of the two."""

    differs: bool
    """Its data set has other bytes."""
    kept: Literal["first", "last", "both"]


class IgnoredFacts(InstanceFacts, frozen=True, kw_only=True):
    """Why it is not wanted."""

    why: str


class RefusedFacts(InstanceFacts, frozen=True, kw_only=True):
    """How it was answered."""

    status: int
    """PS3.4 B.2.3."""


class InstanceStored(Event, frozen=True, kw_only=True, tag="instance.stored"):
    """Durable and acknowledged."""

    data: StoredFacts


class InstanceDuplicate(Event, frozen=True, kw_only=True, tag="instance.duplicate"):
    """Was in the group already."""

    data: DuplicateFacts


class InstanceIgnored(Event, frozen=True, kw_only=True, tag="instance.ignored"):
    """Success without storing, by configuration."""

    data: IgnoredFacts


class InstanceRefused(Event, frozen=True, kw_only=True, tag="instance.refused"):
    """The entity refused it, or the disk did."""

    data: RefusedFacts


def groups_of(event: Event) -> Sequence[str]:
    """Return the groups that an instance, of which this tells, has come into."""
    if isinstance(event, InstanceStored) and event.data.groups is not UNSET:
        return event.data.groups
    return (event.group,)
