"""What is told of groups."""

from msgspec import UNSET, UnsetType, field

from adapter.domain.events import Data, Event


class GroupStanding(Data, frozen=True, kw_only=True):
    """Where a group stands; times in seconds from now."""

    processor: str
    instances: int
    payload_bytes: int = field(name="bytes")
    timeout_s: float
    left_s: float | None
    """None: not known yet."""
    age_left_s: float
    held: bool
    why: str | UnsetType = UNSET
    """It is held."""
    not_before_s: float | UnsetType = UNSET
    """It was extended."""
    fallback: bool | UnsetType = UNSET
    supplements: str | UnsetType = UNSET
    """The group it comes too late for."""
    of_association: str | UnsetType = UNSET
    on_abort: str | UnsetType = UNSET


class DroppedFacts(Data, frozen=True, kw_only=True):
    """What is gone."""

    instances: int
    payload_bytes: int = field(name="bytes")


class GroupEvent(Event, frozen=True, kw_only=True):
    """Something happened to the group as a whole."""

    data: GroupStanding


class GroupOpened(GroupEvent, frozen=True, tag="group.opened"):
    """Also when it is taken up after a restart."""


class GroupExtended(GroupEvent, frozen=True, tag="group.extended"):
    """By an operator."""


class GroupHeld(GroupEvent, frozen=True, tag="group.held"):
    """By an operator or `on_abort`."""


class GroupClosed(GroupEvent, frozen=True, tag="group.closed"):
    """It becomes jobs."""


class GroupDropped(Event, frozen=True, kw_only=True, tag="group.dropped"):
    """An association was aborted and `on_abort` is `drop`."""

    data: DroppedFacts
