"""Application entity: one per AE Title.

Consumes: StoreRequest, AssociationReleased, GroupOrdered, EntityChanged, GroupsCounted,
InstancesSettled, AssociationEnded.
Produces: answers; its parts (`group_keeper`, `staging`) produce groups on disk. Owns: its parts.
Rebuilds from: the group folders of its AE Title. Restart policy: replica.
"""

from dataclasses import dataclass, field

import trio

from adapter.actors.group_keeper import GroupKeeper
from adapter.actors.staging import Staging
from adapter.channels import answer
from adapter.domain.entities import ApplicationEntity
from adapter.domain.entity_events import instance_event, settled_event
from adapter.domain.events import Publish
from adapter.domain.group_keys import SERIES, STUDY, grouped_by, lease_tags
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
from adapter.domain.placing import objection, placement
from adapter.domain.ports import SpaceGauge, WallClock
from adapter.domain.processors import Processor
from adapter.domain.statuses import OUT_OF_RESOURCES

ATTRIBUTES = frozenset({STUDY, SERIES})


@dataclass(slots=True, kw_only=True)
class ApplicationEntityActor:
    """Places instances in groups and hears what became of them."""

    entity: ApplicationEntity
    processor: Processor
    store: InstanceStore
    space: SpaceGauge
    requests: trio.MemoryReceiveChannel[EntityQuestion]
    notes: trio.MemoryReceiveChannel[EntityNote]
    processor_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    new_id: NewId
    now: WallClock
    name: str = ""
    _staging: Staging = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"entity:{self.entity.name}"
        self._staging = Staging(entity=self.entity, store=self.store, publish=self.publish)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        async with trio.open_nursery() as timers:
            keeper = GroupKeeper(
                entity=self.entity,
                quiet_s=self.processor.timeout_s,
                store=self.store,
                processor_wake=self.processor_wake,
                publish=self.publish,
                new_id=self.new_id,
                now=self.now,
                timers=timers,
            )
            for stored in await self.store.open_groups(self.entity.ae_title):
                group = keeper.adopt(stored)
                self._staging.adopt(keeper, group, stored)
                keeper.tell("opened", group)
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
                    case EntityChanged(entity=entity, processor=processor):
                        self._change(entity, processor, keeper)
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
        self.processor_wake.close()

    def _change(self, entity: ApplicationEntity, processor: Processor, keeper: GroupKeeper) -> None:
        """Go on with other settings; open groups take them with the time they have left."""
        old, new = self.entity, entity
        self.entity, self.processor, self._staging.entity = entity, processor, entity
        keeper.change(entity, processor.timeout_s)
        if (grouped_by(old), old.processor, old.settings) != (
            grouped_by(new), new.processor, new.settings,
        ):  # fmt: skip
            for group in keeper.groups:  # the same key may mean something else now
                keeper.groups.seal(group)

    async def _place(self, request: StoreRequest, keeper: GroupKeeper) -> StoreAnswer:
        group = await self._group_of(request, keeper)
        instance, title = request.instance, self.entity.ae_title
        if isinstance(group, Refused):
            self.publish(instance_event("refused", title, instance, status=group.status))
            return group
        if isinstance(group, Ignored):
            self.publish(instance_event("ignored", title, instance, why=group.why))
            return group
        group.placed(instance.association)
        keeper.groups.join(group, instance.association)
        place = placement(self.entity, group, instance)
        if place.association:
            group.stage(place.association)
        keeper.restart(group)
        return place

    async def _group_of(
        self, request: StoreRequest, keeper: GroupKeeper
    ) -> OpenGroup | Ignored | Refused:
        instance, read = request.instance, request.grouping
        tags = lease_tags(self.entity, self.processor.attributes)
        if read is not None and not tags <= read:  # the association is older than a change
            return Refused(status=OUT_OF_RESOURCES, comment="settings changed, associate again")
        found = objection(self.entity, instance, space_is_low=self.space.low)
        if found is not None:
            return found
        key = self.processor.group_key(instance)
        if key is None:
            return Ignored(why="no processor wants it")
        return await keeper.group_of(instance, key)

    def _settled(self, settled: InstanceSettled, keeper: GroupKeeper) -> None:
        association, duplicate = settled.instance.association, settled.duplicate
        group = keeper.groups.by_id(settled.placement.group_id)
        if group is not None:
            group.settled(association, trio.current_time())
            if settled.stored and (duplicate is None or duplicate.kept == "both"):
                group.arrived(association, settled.instance.payload_bytes)
            keeper.restart(group)
        self.publish(settled_event(self.entity.ae_title, settled))
