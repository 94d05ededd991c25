"""Application entity: one per AE Title.

Consumes: StoreRequest, AssociationReleased, GroupOrdered, EntityChanged, GroupsCounted,
InstancesSettled, AssociationEnded.
Produces: answers; its parts (`group_keeper`, `staging`) produce groups on disk. Owns: its parts.
Rebuilds from: the group folders of its AE Title. Restart policy: replica.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import trio

from adapter.actors.group_keeper import GroupKeeper
from adapter.actors.staging import Staging
from adapter.channels import answer
from adapter.domain.assignments import Assignment, attributes_of
from adapter.domain.entities import ApplicationEntity
from adapter.domain.entity_events import ignored_event, refused_event, settled_events
from adapter.domain.events import Publish
from adapter.domain.group_events import GroupOpened
from adapter.domain.group_keys import SERIES, STUDY, lease_tags
from adapter.domain.group_ports import InstanceStore
from adapter.domain.grouping import OpenGroup
from adapter.domain.identifiers import NewId
from adapter.domain.messages import (
    AssociationEnded,
    AssociationReleased,
    EntityChanged,
    EntityNote,
    EntityQuestion,
    GroupOrdered,
    GroupsCounted,
    Ignored,
    InstanceSettled,
    InstancesSettled,
    Refused,
    StoreAnswer,
    StoreRequest,
    Wake,
)
from adapter.domain.own_results import Guarded, OwnResults, came_back, guarded_by, may_come_back
from adapter.domain.placing import objection, placement
from adapter.domain.ports import SpaceGauge, WallClock
from adapter.domain.statuses import OUT_OF_RESOURCES

ATTRIBUTES = frozenset({STUDY, SERIES})


@dataclass(slots=True, kw_only=True)
class ApplicationEntityActor:
    """Places instances in groups and hears what became of them."""

    entity: ApplicationEntity
    assignments: Sequence[Assignment]
    store: InstanceStore
    space: SpaceGauge
    requests: trio.MemoryReceiveChannel[EntityQuestion]
    notes: trio.MemoryReceiveChannel[EntityNote]
    wakes: Mapping[str, trio.MemorySendChannel[Wake]]
    """Of the processors, by name."""
    publish: Publish
    new_id: NewId
    now: WallClock
    own_results: OwnResults
    name: str = ""
    _staging: Staging = field(init=False)
    _guarded: frozenset[Guarded] = field(init=False)
    """What results of ours do not start again."""

    def __post_init__(self) -> None:
        self.name = f"entity:{self.entity.name}"
        self._guarded = guarded_by(self.assignments)
        self._staging = Staging(entity=self.entity, store=self.store, publish=self.publish)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        async with trio.open_nursery() as timers:
            keeper = GroupKeeper(
                assignments=self.assignments,
                wakes=self.wakes,
                store=self.store,
                publish=self.publish,
                new_id=self.new_id,
                now=self.now,
                timers=timers,
            )
            for stored in await self.store.open_groups(self.entity.ae_title):
                group = keeper.adopt(stored)
                self._staging.adopt(keeper, group, stored)
                keeper.tell(GroupOpened, group)
            self._staging.adopted_all()
            task_status.started()
            async with trio.open_nursery() as inbox:  # notes are taken while a question waits
                inbox.start_soon(self._take_notes, keeper)
                await self._answer_requests(keeper)
            timers.cancel_scope.cancel()  # open groups stay on disk, with their time left

    async def _answer_requests(self, keeper: GroupKeeper) -> None:
        async for request in self.requests:
            with request.reply:
                match request:
                    case StoreRequest():
                        answer(request.reply, await self._place(request, keeper))
                    case AssociationReleased(association=association):
                        released = await self._staging.release(keeper, association)
                        answer(request.reply, released)
                    case GroupOrdered():
                        answer(request.reply, await keeper.obey(request))
                    case EntityChanged():
                        self._change(request, keeper)
                        answer(request.reply, True)
                    case GroupsCounted():
                        answer(request.reply, len(keeper.groups))

    async def _take_notes(self, keeper: GroupKeeper) -> None:
        async for note in self.notes:
            match note:
                case InstancesSettled(settled=settled):
                    for one in settled:
                        self._settled(one, keeper)
                case AssociationEnded(association=association):
                    for group in keeper.groups.end(association, trio.current_time()):
                        self._staging.ended(keeper, group, association)
                        keeper.restart(group)

    def close(self) -> None:
        """See `Actor.close`."""
        self.requests.close()
        self.notes.close()
        self._close_wakes()

    def _close_wakes(self) -> None:
        for wake in self.wakes.values():
            wake.close()

    def _change(self, changed: EntityChanged, keeper: GroupKeeper) -> None:
        """Go on with other settings; open groups take them with the time they have left."""
        self._close_wakes()
        self.entity, self.assignments = changed.entity, changed.assignments
        self.wakes, self._staging.entity = changed.wakes, changed.entity
        self._guarded = guarded_by(self.assignments)
        keeper.change(self.assignments, self.wakes)

    async def _place(self, request: StoreRequest, keeper: GroupKeeper) -> StoreAnswer:
        groups = await self._groups_of(request, keeper)
        instance, title = request.instance, self.entity.ae_title
        if isinstance(groups, Refused):
            self.publish(refused_event(title, instance, groups.status))
            return groups
        if isinstance(groups, Ignored):
            self.publish(ignored_event(title, instance, groups.why))
            return groups
        place = placement(self.entity, groups, instance)
        if may_come_back(self.own_results, self._guarded, instance.sop_class_uid):
            place = msgspec.structs.replace(place, lease_s=0.0)  # each is looked at
        for group in groups:
            if place.association:
                group.stage(place.association)
            keeper.restart(group)
        return place

    async def _groups_of(
        self, request: StoreRequest, keeper: GroupKeeper
    ) -> list[OpenGroup] | Ignored | Refused:
        """Return a group of each processor that wants the instance, which is on its way there."""
        instance, read = request.instance, request.grouping
        tags = lease_tags(self.entity, attributes_of(self.assignments))
        if read is not None and not tags <= read:  # the association is older than a change
            return Refused(status=OUT_OF_RESOURCES, comment="settings changed, associate again")
        found = objection(self.entity, instance, space_is_low=self.space.low)
        if found is not None:
            return found
        back = came_back(self.own_results, self._guarded, instance.sop_instance_uid)
        if back is not None:
            return Ignored(why=f"result of {back.job_id}")
        # All are asked before a group opens: one that crashes leaves nothing behind.
        asked = [one for one in self.assignments if one.name not in instance.joined]
        keys = [(one, one.processor.group_key(instance)) for one in asked]
        groups, ignored = list[OpenGroup](), Ignored(why="no processor wants it")
        for one, key in keys:
            if key is None:
                continue
            group = await keeper.group_of(instance, one, key)
            if isinstance(group, Ignored):
                ignored = group
            elif isinstance(group, Refused):
                for each in groups:
                    each.settled(instance.association, trio.current_time())
                    keeper.restart(each)
                return group
            else:
                group.placed(instance.association)  # at once: it must not close meanwhile
                keeper.groups.join(group, instance.association)
                groups.append(group)
        return groups or ignored

    def _settled(self, settled: InstanceSettled, keeper: GroupKeeper) -> None:
        association = settled.instance.association
        for arrival in settled.arrivals:
            group = keeper.groups.by_id(arrival.group_id)
            if group is None:
                continue
            group.settled(association, trio.current_time())
            if arrival.stored and (arrival.duplicate is None or arrival.duplicate.kept == "both"):
                group.arrived(association, settled.instance.payload_bytes)
            keeper.restart(group)
        for event in settled_events(self.entity.ae_title, settled):
            self.publish(event)
