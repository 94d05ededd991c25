"""Places and what became of instances there, in short words, for one processor or several."""

from adapter.domain.assignments import Assignment
from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import Arrival, InstanceSettled, Placement, ReceivedInstance
from adapter.domain.processors import Processor
from adapter.domain.records import Duplicate

ONLY = "aetitle"
"""The name of the only processor."""


def first_group(placement: Placement) -> str:
    """Return the group of the first processor that wants the instance."""
    return next(iter(placement.groups.values()))


def settled(
    instance: ReceivedInstance,
    placement: Placement,
    *,
    stored: bool = True,
    duplicate: Duplicate | None = None,
) -> InstanceSettled:
    """Return that the same became of an instance in all its groups."""
    return InstanceSettled(
        instance=instance,
        stored=stored,
        arrivals=tuple(
            Arrival(group_id=group_id, stored=stored, duplicate=duplicate)
            for group_id in placement.groups.values()
        ),
    )


def only(entity: ApplicationEntity, processor: Processor) -> Assignment:
    """Return the assignment of an only processor."""
    return Assignment(name=ONLY, entity=entity, processor=processor, label=processor.name)
