"""Group keeper: the open groups of one AE Title, a part of its application entity.

Consumes: calls of its entity. Produces: group folders, open and closed, hints to the processors.
Owns: the open groups, their timers, the keys of groups that are just being closed. Rebuilds from:
the group folders of its AE Title. Restart policy: none, each run of its entity makes a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import trio

from adapter.actors.association_timer import AssociationTimer
from adapter.channels import notify
from adapter.domain.assignments import Assignment, owner_of
from adapter.domain.entity_events import group_event
from adapter.domain.events import Publish
from adapter.domain.group_events import (
    GroupClosed,
    GroupEvent,
    GroupExtended,
    GroupHeld,
    GroupOpened,
)
from adapter.domain.group_keys import GroupKey, group_key, grouped_by
from adapter.domain.group_ports import InstanceStore
from adapter.domain.grouping import OpenGroup, OpenGroups
from adapter.domain.identifiers import NewId
from adapter.domain.messages import (
    GroupOrdered,
    Ignored,
    OrderOutcome,
    ReceivedInstance,
    Refused,
    Wake,
)
from adapter.domain.ports import WallClock
from adapter.domain.records import NOT_HELD, GroupHold, GroupRecord, StoredGroup
from adapter.domain.routing import SENDERS_MAX
from adapter.domain.statuses import OUT_OF_RESOURCES
from adapter.errors import UnavailableError

RETRY_S = 5.0
"""Pause before what could not be done to a group (full or failing disk) is tried again."""
OPERATOR = "operator"


@dataclass(slots=True, kw_only=True)
class GroupKeeper:
    """Opens groups, and closes them when they are due, each by a timer of its own.

    A group is one processor's. What is left of one that is gone keeps its name, so no instance of
    another joins it or counts as late for it; it ends as a group of the first one.
    """

    assignments: Sequence[Assignment]
    wakes: Mapping[str, trio.MemorySendChannel[Wake]]
    store: InstanceStore
    publish: Publish
    new_id: NewId
    now: WallClock
    timers: trio.Nursery
    groups: OpenGroups = field(default_factory=OpenGroups)
    _timers: dict[str, AssociationTimer] = field(default_factory=dict)
    _closing: dict[tuple[str, str], str] = field(default_factory=dict)
    """By processor and key: groups that have ended and are not remembered by the store yet."""

    # --- opening

    async def group_of(
        self, instance: ReceivedInstance, of: Assignment, processor_key: str
    ) -> OpenGroup | Ignored | Refused:
        """Return the group of this processor the instance joins, or why it joins none."""
        key = group_key(of.entity, instance, processor_key)
        group = self.groups.by_key(of.name, key.text)
        try:
            if group and await self._takes_from(group, instance):
                return group
            first = await self._came_late_to(of, key)
            if first and of.entity.late_arrivals == "ignore":
                return Ignored(why="late")
            record = GroupRecord(
                id=f"group-{self.new_id()}",
                ae_title=of.entity.ae_title,
                processor=of.name,
                key=key.text,
                opened_at=self.now(),
                calling_ae_titles=(instance.calling_ae_title,),
                association=key.association,
                fallback=key.fallback,
                supplements=first,
            )
            await self.store.open_group(record)
        except UnavailableError as error:
            return Refused(status=OUT_OF_RESOURCES, comment=str(error))
        group = self._start(record, of, opened_ago=0.0, quiet_for=0.0)
        self.groups.join(group, instance.association)
        self.tell(GroupOpened, group)
        return group

    async def _takes_from(self, group: OpenGroup, instance: ReceivedInstance) -> bool:
        """Note who sends to the group; False: there are too many senders, it takes no more."""
        record, sender = group.record, instance.calling_ae_title
        if sender in record.calling_ae_titles:
            return True
        if len(record.calling_ae_titles) >= SENDERS_MAX:
            self.groups.seal(group)
            return False
        group.placed(instance.association)  # it must not close meanwhile
        try:
            await self.store.add_sender(record.id, sender)
        finally:
            group.settled(instance.association, trio.current_time())
            self.restart(group)
        senders = (*record.calling_ae_titles, sender)
        group.record = msgspec.structs.replace(group.record, calling_ae_titles=senders)
        return True

    async def _came_late_to(self, of: Assignment, key: GroupKey) -> str:
        """Return the group this key had, if it has closed and that matters; else nothing."""
        if of.entity.late_arrivals == "new-job" or key.association:
            return ""
        if first := self._closing.get((of.name, key.text)):
            return first
        return await self.store.closed_before(of.entity.ae_title, of.name, key.text, self.now())

    def _owner(self, record: GroupRecord) -> Assignment:
        owner = owner_of(record.processor, [one.name for one in self.assignments])
        return next(one for one in self.assignments if one.name == owner)

    def adopt(self, stored: StoredGroup) -> OpenGroup:
        """Take up a group found on disk with the time it has left."""
        # A wall clock that was set back must not make a group older or younger than it can be.
        hold, wall, record = stored.hold, self.now(), stored.record
        of = self._owner(record)
        if not record.processor:
            record = msgspec.structs.replace(record, processor=of.name)
        group = self._start(
            record,
            of,
            opened_ago=min(max(wall - record.opened_at, 0.0), of.entity.max_age_s),
            quiet_for=min(max(wall - stored.last_arrival_at, 0.0), of.processor.timeout_s),
            instances=stored.instances,
            payload_bytes=stored.payload_bytes,
            hold=hold,
        )
        extended_for = min(max(wall - hold.extended_at, 0.0), hold.extended_s)
        if extended_for < hold.extended_s:
            group.not_before = trio.current_time() + hold.extended_s - extended_for
            self.restart(group)
        if record.processor != of.name:
            self.groups.seal(group)
        return group

    def _start(
        self,
        record: GroupRecord,
        of: Assignment,
        *,
        opened_ago: float,
        quiet_for: float,
        instances: int = 0,
        payload_bytes: int = 0,
        hold: GroupHold = NOT_HELD,
    ) -> OpenGroup:
        clock = trio.current_time()
        group = OpenGroup(
            record=record,
            quiet_s=of.processor.timeout_s,
            age_s=of.entity.max_age_s,
            opened=clock - opened_ago,
            last_arrival=clock - quiet_for,
            instances_max=of.entity.max_instances,
            instances=instances,
            payload_bytes=payload_bytes,
            hold=hold,
        )
        self.groups.add(group)
        timer = self._timers[record.id] = AssociationTimer(group)
        self.timers.start_soon(self._close_when_due, group, timer, name=f"timer:{record.id}")
        return group

    def change(
        self,
        assignments: Sequence[Assignment],
        wakes: Mapping[str, trio.MemorySendChannel[Wake]],
    ) -> None:
        """Go on with other processors and settings, also for the groups that are open."""
        old = {one.name: _meaning_of_keys(one) for one in self.assignments}
        self.assignments, self.wakes = assignments, wakes
        for group in self.groups:
            of = self._owner(group.record)
            if old.get(group.record.processor) != _meaning_of_keys(of):
                self.groups.seal(group)  # the same key may mean something else now
            group.quiet_s, group.age_s = of.processor.timeout_s, of.entity.max_age_s
            group.instances_max = of.entity.max_instances
            self.restart(group)
            self.tell(GroupExtended, group)

    # --- closing

    def restart(self, group: OpenGroup) -> None:
        """The group has changed: its timer looks at it again. No effect on one that is closing."""
        if timer := self._timers.get(group.record.id):
            timer.restart()

    async def _close_when_due(self, group: OpenGroup, timer: AssociationTimer) -> None:
        await timer.wait_due()
        # From here to the first await nothing else runs: the group takes no more instances.
        record, entity = group.record, self._owner(group.record).entity
        late_matter = entity.late_arrivals != "new-job" and not record.association
        has_ended = late_matter and group.instances > 0 and group.is_complete(trio.current_time())
        if has_ended:
            self._closing[record.processor, record.key] = record.supplements or record.id
        self.groups.remove(group)
        del self._timers[record.id]
        while True:
            try:
                if has_ended:
                    await self._remember(record, entity.late_arrival_window_s)
                await self.store.close_group(record.id)
                break
            except UnavailableError:
                await trio.sleep(RETRY_S)
        self.tell(GroupClosed, group)
        notify(self.wakes[self._owner(record).name])

    async def _remember(self, record: GroupRecord, window_s: float) -> None:
        at = self.now()
        await self.store.remember_closed(record, at, at + window_s)
        self._closing.pop((record.processor, record.key), None)

    # --- orders

    async def obey(self, ordered: GroupOrdered) -> OrderOutcome:
        """Carry out an operator's order; it holds when it is durable."""
        group = self.groups.by_id(ordered.group_id)
        if group is None:
            return OrderOutcome.UNKNOWN
        try:
            match ordered.order:
                case "hold":
                    await self.hold(group, OPERATOR)
                case "extend":
                    await self._extend(group, ordered.seconds)
                case "close":
                    if group.hold != NOT_HELD:
                        await self._record(group, NOT_HELD)
                    group.closing = True
                    self.groups.seal(group)
        except UnavailableError:
            gone = self.groups.by_id(ordered.group_id) is None  # it fell due meanwhile
            return OrderOutcome.UNKNOWN if gone else OrderOutcome.UNAVAILABLE
        self.restart(group)
        return OrderOutcome.DONE

    async def hold(self, group: OpenGroup, why: str) -> None:
        """Keep the group open until somebody closes or extends it.

        Raises:
            UnavailableError: That cannot be recorded now.
        """
        await self._record(group, GroupHold(held=True, why=why))
        self.restart(group)
        self.tell(GroupHeld, group)

    async def _extend(self, group: OpenGroup, seconds: float) -> None:
        await self._record(group, GroupHold(extended_at=self.now(), extended_s=seconds))
        group.not_before = trio.current_time() + seconds
        self.tell(GroupExtended, group)

    async def _record(self, group: OpenGroup, hold: GroupHold) -> None:
        await self.store.hold_group(group.record.id, hold)
        group.hold = hold

    def tell(self, kind: type[GroupEvent], group: OpenGroup) -> None:
        """Publish where the group stands."""
        on_abort = self._owner(group.record).entity.on_abort
        self.publish(group_event(kind, group, trio.current_time(), on_abort))


def _meaning_of_keys(one: Assignment) -> tuple[object, ...]:
    """Return what a key of this processor is made by; others may mean something else by it."""
    entity = one.entity
    return one.name, grouped_by(entity), entity.processor, entity.settings
