"""What an application entity tells of its instances and groups, as live events."""

from collections.abc import Iterator

from adapter.domain.entities import OnAbort
from adapter.domain.events import Event
from adapter.domain.grouping import OpenGroup, Staged
from adapter.domain.messages import InstanceSettled, ReceivedInstance
from adapter.domain.records import Duplicate, GroupRecord
from adapter.domain.statuses import OUT_OF_RESOURCES


def instance_event(
    kind: str, ae_title: str, instance: ReceivedInstance, group: str = "", **data: object
) -> Event:
    """Return what became of an instance."""
    return Event(
        type=f"instance.{kind}",
        ae_title=ae_title,
        association=instance.association,
        group=group,
        data={
            "sopInstanceUid": instance.sop_instance_uid,
            "sopClassUid": instance.sop_class_uid,
            "bytes": instance.payload_bytes,
            **_as_sent(instance),
            **data,
        },
    )


def settled_events(ae_title: str, settled: InstanceSettled) -> Iterator[Event]:
    """Yield what became of an instance that had a place: stored once, a duplicate in each group."""
    instance = settled.instance
    if not settled.stored:
        yield instance_event("refused", ae_title, instance, status=OUT_OF_RESOURCES)
        return
    stored = [one for one in settled.arrivals if one.stored]
    new = [one.group_id for one in stored if one.duplicate is None]
    if new:
        facts: dict[str, object] = {"groups": new} if len(new) > 1 else {}
        if settled.receive_s:
            facts["receiveS"] = round(settled.receive_s, 4)
        yield instance_event("stored", ae_title, instance, new[0], **facts)
    for one in stored:
        if one.duplicate is not None:
            facts = _of_duplicate(one.duplicate)
            yield instance_event("duplicate", ae_title, instance, one.group_id, **facts)


def merged_event(record: GroupRecord, association: str, name: str, duplicate: Duplicate) -> Event:
    """Return that a staged instance, when it was released, was in the group already."""
    return Event(
        type="instance.duplicate",
        ae_title=record.ae_title,
        association=association,
        group=record.id,
        data={"sopInstanceUid": name, **_of_duplicate(duplicate)},
    )


def _of_duplicate(duplicate: Duplicate) -> dict[str, object]:
    return {"differs": duplicate.differs, "kept": duplicate.kept}


def dropped_event(record: GroupRecord, association: str, staged: Staged) -> Event:
    """Return that an association was aborted, and its instances are dropped for it."""
    return Event(
        type="group.dropped",
        ae_title=record.ae_title,
        association=association,
        group=record.id,
        data={"instances": staged.instances, "bytes": staged.payload_bytes},
    )


def group_event(kind: str, group: OpenGroup, now: float, on_abort: OnAbort) -> Event:
    """Return where a group stands; its `leftS` is null while its end is not known."""
    record = group.record
    facts: dict[str, object] = {
        "processor": record.processor,
        "instances": group.instances,
        "bytes": group.payload_bytes,
        "timeoutS": group.quiet_s,
        "ageLeftS": _seconds(group.oldest_at - now),
        "held": group.hold.held,
        "leftS": _left(group, now),
    }
    if group.hold.held:
        facts["why"] = group.hold.why
    if group.not_before > now:
        facts["notBeforeS"] = _seconds(group.not_before - now)
    if record.fallback:
        facts["fallback"] = True
    if record.supplements:
        facts["supplements"] = record.supplements
    if record.association:
        facts["ofAssociation"] = record.association
    if on_abort != "keep":
        facts["onAbort"] = on_abort
    return Event(type=f"group.{kind}", ae_title=record.ae_title, group=record.id, data=facts)


def _left(group: OpenGroup, now: float) -> float | None:
    """Return how long the group stays open if nothing else comes, also of what is on its way."""
    if group.hold.held or group.staged or group.record.association in group.associations:
        return None
    due = min(group.last_arrival + group.quiet_s, group.oldest_at)
    return _seconds(max(due, group.not_before) - now)


def _seconds(left: float) -> float:
    return round(max(left, 0.0), 3)


def _as_sent(instance: ReceivedInstance) -> dict[str, object]:
    """Return what the sender said besides, where it is not the usual."""
    said: dict[str, object] = {}
    if instance.priority:
        said["priority"] = instance.priority
    if instance.move_originator is not None:
        said["moveOriginator"] = instance.move_originator.ae_title
        said["moveOriginatorMessageId"] = instance.move_originator.message_id
    return said
