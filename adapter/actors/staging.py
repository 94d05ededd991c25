"""Staging: instances that wait for the release of their association, a part of an entity.

Consumes: calls of its entity. Produces: instances taken into their groups, or dropped. Owns: which
aborted associations still have instances staged. Rebuilds from: the group folders, through its
entity; after a crash of that it still knows who was aborted. Restart policy: none, it shares the
fate of its entity.
"""

from dataclasses import dataclass, field

import trio

from adapter.actors.group_keeper import RETRY_S, GroupKeeper
from adapter.domain.entities import ApplicationEntity
from adapter.domain.entity_events import dropped_event, merged_event
from adapter.domain.events import Publish
from adapter.domain.group_ports import InstanceStore
from adapter.domain.grouping import OpenGroup
from adapter.domain.records import Merged, StoredGroup
from adapter.errors import UnavailableError

ABORTED = "an association was aborted"


@dataclass(slots=True, kw_only=True)
class Staging:
    """Takes in what was staged by associations that are released, and judges the others."""

    entity: ApplicationEntity
    store: InstanceStore
    publish: Publish
    _aborted: set[tuple[str, str]] = field(default_factory=set)
    """Group and association."""
    _releasing: trio.Lock = field(default_factory=trio.Lock)
    _first_run: bool = True

    def adopt(self, keeper: GroupKeeper, group: OpenGroup, stored: StoredGroup) -> None:
        """Go on with what is staged in a group found on disk."""
        for association, (instances, payload_bytes) in stored.unmerged.items():
            group.stage(association, instances, payload_bytes)
            group.staged[association].released = True
            keeper.timers.start_soon(self._keep, keeper, group, association)
        for association, (instances, payload_bytes) in stored.staged.items():
            group.stage(association, instances, payload_bytes)
            # Associations of an earlier process are over, and were not released.
            if self._first_run or (group.record.id, association) in self._aborted:
                keeper.timers.start_soon(self._judge, keeper, group, association)
            else:
                keeper.groups.join(group, association)
        keeper.restart(group)

    def adopted_all(self) -> None:
        """What is staged from now on is staged by associations of this process."""
        self._first_run = False

    async def release(self, keeper: GroupKeeper, association: str) -> bool:
        """Take in what the association has staged; False: it cannot be, abort the association."""
        async with self._releasing:
            for group in keeper.groups.of_association(association):
                if association in group.staged:
                    try:
                        await self._take_in(keeper, group, association)
                    except UnavailableError:
                        return False
        return True

    def ended(self, keeper: GroupKeeper, group: OpenGroup, association: str) -> None:
        """The association is over, and this group has not taken in all that it staged."""
        if association in group.staged:
            self._aborted.add((group.record.id, association))
            keeper.timers.start_soon(self._judge, keeper, group, association)

    async def _judge(self, keeper: GroupKeeper, group: OpenGroup, association: str) -> None:
        async with self._releasing:  # whoever waited for it may have given up
            staged = group.staged.get(association)
        if staged is None:
            return
        if staged.released:
            await self._keep(keeper, group, association)
            return
        match self.entity.on_abort:
            case "drop":
                await self._drop(keeper, group, association)
            case "hold":
                await self._hold(keeper, group, association)
            case "keep":  # it was another policy when this was staged
                await self._keep(keeper, group, association)

    async def _drop(self, keeper: GroupKeeper, group: OpenGroup, association: str) -> None:
        while True:
            try:
                await self.store.drop_staged(group.record.id, association)
                break
            except UnavailableError:
                await trio.sleep(RETRY_S)
        staged = group.staged[association]
        group.count(-staged.instances, -staged.payload_bytes)
        self._settled(keeper, group, association)
        self.publish(dropped_event(group.record, association, staged))

    async def _hold(self, keeper: GroupKeeper, group: OpenGroup, association: str) -> None:
        while not group.hold.held:
            try:
                await keeper.hold(group, ABORTED)
            except UnavailableError:
                await trio.sleep(RETRY_S)
        await self._keep(keeper, group, association)

    async def _keep(self, keeper: GroupKeeper, group: OpenGroup, association: str) -> None:
        while True:
            try:
                return await self._take_in(keeper, group, association)
            except UnavailableError:
                await trio.sleep(RETRY_S)

    async def _take_in(self, keeper: GroupKeeper, group: OpenGroup, association: str) -> None:
        """Take in what is staged.

        Raises:
            UnavailableError: It cannot be, or not wholly; do it again.
        """
        staged = group.staged[association]
        if not staged.released:
            await self.store.release_staged(group.record.id, association)
            staged.released = True
        await self._merge(group, association)
        self._settled(keeper, group, association)

    async def _merge(self, group: OpenGroup, association: str) -> None:
        merged = Merged()
        try:
            await self.store.merge_released(
                group.record.id, association, self.entity.same_instance, merged
            )
        finally:
            group.count(-merged.instances_fewer, -merged.payload_bytes_fewer)
            for name, duplicate in merged.duplicates:
                self.publish(merged_event(group.record, association, name, duplicate))

    def _settled(self, keeper: GroupKeeper, group: OpenGroup, association: str) -> None:
        del group.staged[association]
        self._aborted.discard((group.record.id, association))
        keeper.restart(group)
