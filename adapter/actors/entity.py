"""Application entity: one per AE Title.

Consumes: StoreRequest, InstancesSettled, AssociationEnded. Produces: answers,
open groups on disk, closed groups on disk, a hint to its processor. Owns: its open groups and
their timers. Rebuilds from: the group folders of its AE Title. Restart policy:
replica.
"""

from dataclasses import dataclass, field

import trio

from adapter.actors.association_timer import AssociationTimer
from adapter.channels import answer, notify
from adapter.domain.entities import ApplicationEntity
from adapter.domain.events import Event, Publish
from adapter.domain.grouping import OpenGroup, OpenGroups
from adapter.domain.identifiers import NewId, path_part
from adapter.domain.messages import (
    AssociationEnded,
    EntityNote,
    Ignored,
    InstanceSettled,
    InstancesSettled,
    Placement,
    ReceivedInstance,
    Refused,
    StoreRequest,
    Wake,
)
from adapter.domain.ports import InstanceStore, SpaceGauge, WallClock
from adapter.domain.processors import Processor
from adapter.domain.records import GroupRecord, StoredGroup
from adapter.domain.statuses import OUT_OF_RESOURCES, SOP_CLASS_NOT_SUPPORTED
from adapter.errors import UnavailableError

STUDY, SERIES = "0020,000D", "0020,000E"
ATTRIBUTES = frozenset({STUDY, SERIES})
LEASE_S_MAX = 0.5
"""How long an association places instances without asking; so late it hears of low space.

A lease holds no group open; a commit into a group that has closed meanwhile fails, and is asked
about again.
"""
RETRY_CLOSE_S = 5.0
"""Pause before a group that could not be closed (full or failing disk) is tried again."""


@dataclass(slots=True, kw_only=True)
class ApplicationEntityActor:
    """Places instances in groups and closes the groups when they fall quiet."""

    entity: ApplicationEntity
    processor: Processor
    store: InstanceStore
    space: SpaceGauge
    requests: trio.MemoryReceiveChannel[StoreRequest]
    notes: trio.MemoryReceiveChannel[EntityNote]
    processor_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    new_id: NewId
    now: WallClock
    name: str = ""
    _groups: OpenGroups = field(default_factory=OpenGroups)
    _timers: dict[str, AssociationTimer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = f"entity:{self.entity.name}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._groups, self._timers = OpenGroups(), {}
        async with trio.open_nursery() as timers:
            for stored in await self.store.open_groups(self.entity.ae_title):
                self._adopt(stored, timers)
            task_status.started()
            async with trio.open_nursery() as inbox:  # notes are taken while a question waits
                inbox.start_soon(self._take_notes)
                await self._answer_requests(timers)
            timers.cancel_scope.cancel()  # open groups stay on disk, with their time left

    async def _answer_requests(self, timers: trio.Nursery) -> None:
        async for request in self.requests:
            with request.reply:
                answer(request.reply, await self._place(request.instance, timers))

    async def _take_notes(self) -> None:
        async for note in self.notes:
            match note:
                case InstancesSettled(settled=settled):
                    for one in settled:
                        self._settled(one)
                case AssociationEnded(association=association):
                    self._ended(association)

    def close(self) -> None:
        """See `Actor.close`."""
        self.requests.close()
        self.notes.close()
        self.processor_wake.close()

    def _ended(self, association: str) -> None:
        for group in self._groups:
            if association in group.in_flight:
                group.forget(association)
                self._timers[group.record.id].restart()

    # --- instances

    async def _place(
        self, instance: ReceivedInstance, timers: trio.Nursery
    ) -> Placement | Ignored | Refused:
        objection = self._judge(instance)
        if objection is not None:
            return objection
        key = self.processor.group_key(instance)
        if key is None:
            self._tell("instance.ignored", instance, why="no processor wants it")
            return Ignored(why="no processor wants it")
        group = self._groups.by_key(key)
        if group is None:
            try:
                group = await self._open(key, instance, timers)
            except UnavailableError as error:
                self._tell("instance.refused", instance, status=OUT_OF_RESOURCES)
                return Refused(status=OUT_OF_RESOURCES, comment=str(error))
        group.placed(instance.association)
        self._timers[group.record.id].restart()
        attributes = instance.attributes
        return Placement(
            group_id=group.record.id,
            study=path_part(attributes.get(STUDY, "")),
            series=path_part(attributes.get(SERIES, "")),
            instance=path_part(instance.sop_instance_uid),
            replace=self.entity.overwrite_same_instance,
            lease_s=min(LEASE_S_MAX, group.quiet_s / 4),
        )

    def _judge(self, instance: ReceivedInstance) -> Ignored | Refused | None:
        entity = self.entity
        if self.space.low:
            self._tell("instance.refused", instance, status=OUT_OF_RESOURCES)
            return Refused(status=OUT_OF_RESOURCES, comment="storage space is low")
        if instance.sop_class_uid in entity.ignored_sop_classes:
            self._tell("instance.ignored", instance, why="ignored_sop_classes")
            return Ignored(why="ignored_sop_classes")
        allowed = entity.allowed_sop_classes
        if allowed and instance.sop_class_uid not in allowed:
            self._tell("instance.refused", instance, status=SOP_CLASS_NOT_SUPPORTED)
            return Refused(status=SOP_CLASS_NOT_SUPPORTED, comment="SOP class is not allowed here")
        return None

    async def _open(self, key: str, instance: ReceivedInstance, timers: trio.Nursery) -> OpenGroup:
        record = GroupRecord(
            id=f"group-{self.new_id()}",
            ae_title=self.entity.ae_title,
            key=key,
            opened_at=self.now(),
            calling_ae_titles=(instance.calling_ae_title,),
        )
        await self.store.open_group(record)
        clock = trio.current_time()
        group = OpenGroup(
            record=record,
            quiet_s=self.processor.timeout_s,
            age_s=self.entity.max_age_s,
            opened=clock,
            last_arrival=clock,
        )
        self._start(group, timers)
        self._tell_group("group.opened", group)
        return group

    def _settled(self, settled: InstanceSettled) -> None:
        instance = settled.instance
        group = self._groups.by_id(settled.placement.group_id)
        if group is not None:
            group.settled(instance.association, trio.current_time())
            if settled.stored and not settled.duplicate:
                group.instances += 1
                group.payload_bytes += instance.payload_bytes
            self._timers[group.record.id].restart()
        if not settled.stored:
            self._tell("instance.refused", instance, status=OUT_OF_RESOURCES)
        else:
            self._tell(
                "instance.duplicate" if settled.duplicate else "instance.stored",
                instance,
                group=settled.placement.group_id,
            )

    # --- groups

    def _adopt(self, stored: StoredGroup, timers: trio.Nursery) -> None:
        """Take up a group found on disk with the time it has left."""
        clock, wall = trio.current_time(), self.now()
        # A wall clock that was set back must not make a group older or younger than it can be.
        quiet_for = min(max(wall - stored.last_arrival_at, 0.0), self.processor.timeout_s)
        age = min(max(wall - stored.record.opened_at, 0.0), self.entity.max_age_s)
        group = OpenGroup(
            record=stored.record,
            quiet_s=self.processor.timeout_s,
            age_s=self.entity.max_age_s,
            opened=clock - age,
            last_arrival=clock - quiet_for,
            instances=stored.instances,
            payload_bytes=stored.payload_bytes,
        )
        self._start(group, timers)
        self._tell_group("group.opened", group)

    def _start(self, group: OpenGroup, timers: trio.Nursery) -> None:
        self._groups.add(group)
        timer = self._timers[group.record.id] = AssociationTimer(group)
        timers.start_soon(self._close_when_due, group, timer, name=f"timer:{group.record.id}")

    async def _close_when_due(self, group: OpenGroup, timer: AssociationTimer) -> None:
        await timer.wait_due()
        # From here to the first await nothing else runs: the group takes no more instances.
        self._groups.remove(group)
        del self._timers[group.record.id]
        while True:
            try:
                await self.store.close_group(group.record.id)
                break
            except UnavailableError:
                await trio.sleep(RETRY_CLOSE_S)
        self._tell_group("group.closed", group)
        notify(self.processor_wake)

    # --- events

    def _tell(self, kind: str, instance: ReceivedInstance, group: str = "", **data: object) -> None:
        self.publish(
            Event(
                type=kind,
                ae_title=self.entity.ae_title,
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
        )

    def _tell_group(self, kind: str, group: OpenGroup) -> None:
        due = min(group.due() - trio.current_time(), group.age_s)
        self.publish(
            Event(
                type=kind,
                ae_title=self.entity.ae_title,
                group=group.record.id,
                data={
                    "instances": group.instances,
                    "bytes": group.payload_bytes,
                    "timeoutS": group.quiet_s,
                    "leftS": round(max(due, 0.0), 3),
                },
            )
        )


def _as_sent(instance: ReceivedInstance) -> dict[str, object]:
    """Return what the sender said besides, where it is not the usual."""
    said: dict[str, object] = {}
    if instance.priority:
        said["priority"] = instance.priority
    if instance.move_originator is not None:
        said["moveOriginator"] = instance.move_originator.ae_title
        said["moveOriginatorMessageId"] = instance.move_originator.message_id
    return said
