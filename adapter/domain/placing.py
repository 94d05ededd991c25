"""Whether an AE Title takes an instance, and where it then goes: its policies, without a clock."""

import math
from collections.abc import Sequence

from adapter.domain.entities import ApplicationEntity
from adapter.domain.group_keys import SERIES, STUDY
from adapter.domain.grouping import OpenGroup
from adapter.domain.identifiers import path_part
from adapter.domain.messages import Ignored, Placement, ReceivedInstance, Refused
from adapter.domain.statuses import (
    DATA_SET_DOES_NOT_MATCH,
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
)

LEASE_S_MAX = 0.5
"""How long an association places instances without asking; so late it hears of low space.

A lease holds no group open; a commit into a group that has closed meanwhile fails, and is asked
about again.
"""


def objection(
    entity: ApplicationEntity, instance: ReceivedInstance, *, space_is_low: bool
) -> Ignored | Refused | None:
    """Return why the entity does not store the instance; None: it does."""
    if space_is_low:
        return Refused(status=OUT_OF_RESOURCES, comment="storage space is low")
    if instance.sop_class_uid in entity.ignored_sop_classes:
        return Ignored(why="ignored_sop_classes")
    allowed = entity.allowed_sop_classes
    if allowed and instance.sop_class_uid not in allowed:
        return Refused(status=SOP_CLASS_NOT_SUPPORTED, comment="SOP class is not allowed here")
    required = entity.required_attributes
    missing = [tag for tag in required if not instance.attributes.get(tag.upper())]
    if missing:
        # An attribute the SOP class has but this data set lacks (PS3.4 B.2.3).
        comment = f"absent or empty: {', '.join(missing)}"
        return Refused(status=DATA_SET_DOES_NOT_MATCH, comment=comment)
    return None


def placement(
    entity: ApplicationEntity, groups: Sequence[OpenGroup], instance: ReceivedInstance
) -> Placement:
    """Return where in these groups, each of another processor, the instance goes."""
    attributes = instance.attributes
    # Where it has joined some groups already, others of its kind have yet to.
    lease_s = 0.0 if instance.joined else min(_lease_s(group) for group in groups)
    return Placement(
        groups={group.record.processor: group.record.id for group in groups},
        study=path_part(attributes.get(STUDY, "")),
        series=path_part(attributes.get(SERIES, "")),
        instance=path_part(instance.sop_instance_uid),
        same_instance=entity.same_instance,
        association="" if entity.on_abort == "keep" else instance.association,
        lease_s=lease_s,
    )


def _lease_s(group: OpenGroup) -> float:
    # A group with room for so many and no more is asked about each of them.
    # One of a single association is not quiet as long as somebody could hold a lease.
    quiet_s = math.inf if group.record.association else group.quiet_s
    return 0.0 if group.instances_max else min(LEASE_S_MAX, quiet_s / 4)
