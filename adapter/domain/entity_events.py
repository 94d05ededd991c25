"""What an application entity tells of its instances and groups, as live events."""

from collections.abc import Iterator
from typing import Required, TypedDict, Unpack

from msgspec import UNSET, UnsetType

from adapter.domain.association_events import (
    DuplicateFacts,
    IgnoredFacts,
    InstanceDuplicate,
    InstanceIgnored,
    InstanceRefused,
    InstanceStored,
    RefusedFacts,
    StoredFacts,
)
from adapter.domain.entities import OnAbort
from adapter.domain.events import Event
from adapter.domain.group_events import DroppedFacts, GroupDropped, GroupEvent, GroupStanding
from adapter.domain.grouping import OpenGroup, Staged
from adapter.domain.messages import InstanceSettled, ReceivedInstance
from adapter.domain.records import Duplicate, GroupRecord
from adapter.domain.statuses import OUT_OF_RESOURCES


class _AsSent(TypedDict, total=False):
    """What the facts of all events of an instance begin with."""

    sop_instance_uid: Required[str]
    sop_class_uid: str
    payload_bytes: int
    priority: int | UnsetType
    move_originator: str | UnsetType
    move_originator_message_id: int | UnsetType


def refused_event(ae_title: str, instance: ReceivedInstance, status: int) -> Event:
    """Return that the entity, or the disk, refused an instance with this status."""
    facts = RefusedFacts(status=status, **_as_sent(instance))
    return InstanceRefused(ae_title=ae_title, association=instance.association, data=facts)


def ignored_event(ae_title: str, instance: ReceivedInstance, why: str) -> Event:
    """Return that an instance is not wanted."""
    facts = IgnoredFacts(why=why, **_as_sent(instance))
    return InstanceIgnored(ae_title=ae_title, association=instance.association, data=facts)


def settled_events(ae_title: str, settled: InstanceSettled) -> Iterator[Event]:
    """Yield what became of an instance that had a place: stored once, a duplicate in each group."""
    instance = settled.instance
    if not settled.stored:
        yield refused_event(ae_title, instance, OUT_OF_RESOURCES)
        return
    stored = [one for one in settled.arrivals if one.stored]
    new = [one.group_id for one in stored if one.duplicate is None]
    if new:
        facts = StoredFacts(
            groups=new if len(new) > 1 else UNSET,
            receive_s=round(settled.receive_s, 4) if settled.receive_s else UNSET,
            **_as_sent(instance),
        )
        yield InstanceStored(
            ae_title=ae_title, association=instance.association, group=new[0], data=facts
        )
    for one in stored:
        if one.duplicate is not None:
            yield InstanceDuplicate(
                ae_title=ae_title,
                association=instance.association,
                group=one.group_id,
                data=_of_duplicate(one.duplicate, **_as_sent(instance)),
            )


def merged_event(record: GroupRecord, association: str, name: str, duplicate: Duplicate) -> Event:
    """Return that a staged instance, when it was released, was in the group already."""
    return InstanceDuplicate(
        ae_title=record.ae_title,
        association=association,
        group=record.id,
        data=_of_duplicate(duplicate, sop_instance_uid=name),
    )


def _of_duplicate(duplicate: Duplicate, **instance: Unpack[_AsSent]) -> DuplicateFacts:
    return DuplicateFacts(differs=duplicate.differs, kept=duplicate.kept, **instance)


def dropped_event(record: GroupRecord, association: str, staged: Staged) -> Event:
    """Return that an association was aborted, and its instances are dropped for it."""
    return GroupDropped(
        ae_title=record.ae_title,
        association=association,
        group=record.id,
        data=DroppedFacts(instances=staged.instances, payload_bytes=staged.payload_bytes),
    )


def group_event(
    kind: type[GroupEvent], group: OpenGroup, now: float, on_abort: OnAbort
) -> GroupEvent:
    """Return where a group stands; its `left_s` is None while its end is not known."""
    record = group.record
    facts = GroupStanding(
        processor=record.processor,
        instances=group.instances,
        payload_bytes=group.payload_bytes,
        timeout_s=group.quiet_s,
        left_s=_left(group, now),
        age_left_s=_seconds(group.oldest_at - now),
        held=group.hold.held,
        why=group.hold.why if group.hold.held else UNSET,
        not_before_s=_seconds(group.not_before - now) if group.not_before > now else UNSET,
        fallback=record.fallback or UNSET,
        supplements=record.supplements or UNSET,
        of_association=record.association or UNSET,
        on_abort=on_abort if on_abort != "keep" else UNSET,
    )
    return kind(ae_title=record.ae_title, group=record.id, data=facts)


def _left(group: OpenGroup, now: float) -> float | None:
    """Return how long the group stays open if nothing else comes, also of what is on its way."""
    if group.hold.held or group.staged or group.record.association in group.associations:
        return None
    due = min(group.last_arrival + group.quiet_s, group.oldest_at)
    return _seconds(max(due, group.not_before) - now)


def _seconds(left: float) -> float:
    return round(max(left, 0.0), 3)


def _as_sent(instance: ReceivedInstance) -> _AsSent:
    """Return which one it is, and what the sender said besides, where it is not the usual."""
    mover = instance.move_originator
    return {
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": instance.sop_class_uid,
        "payload_bytes": instance.payload_bytes,
        "priority": instance.priority or UNSET,
        "move_originator": mover.ae_title if mover else UNSET,
        "move_originator_message_id": mover.message_id if mover else UNSET,
    }
