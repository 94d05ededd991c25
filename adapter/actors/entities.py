"""Entities: which AE Titles there are, while the adapter runs.

Consumes: EntityOrder. Produces: answers, rows of the ledger, application entities with their
processors, `config` events. Owns: the directory, and when an AE Title starts, changes and goes.
Rebuilds from: the configuration and the ledger, and what runs: that outlives a crash of this actor.
Restart policy: essential.

An order is durable before anything follows from it, and whatever follows is done by `_bring_about`
from what is listed, also after a crash or a kill. An AE Title that is removed takes no association
from then on; those it has end as they like, its groups close when they fall quiet and become jobs;
then its row goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
import trio

from adapter.actors.entity_directory import EntityDirectory, Rules, Running, Staff
from adapter.channels import UNANSWERED, answer, ask
from adapter.domain.entities import ApplicationEntity
from adapter.domain.entity_orders import EntityOrder, EntityRefusal, EntityRefused
from adapter.domain.entity_rows import (
    ENTITIES_MAX,
    EntityLedger,
    EntityRow,
    ListedEntity,
    of_file,
    of_row,
    row_of,
)
from adapter.domain.events import Event, Publish
from adapter.domain.group_ports import InstanceStore
from adapter.domain.messages import GroupsCounted
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.entities")

DRAIN_LOOK_S = 1.0
"""How often it is looked whether a removed AE Title has anything left."""
COUNT_S = 10.0
"""For an entity to say how many groups it has open."""


@dataclass(slots=True, kw_only=True)
class Entities:
    """Keeps what runs as it is listed, and what is listed as it was ordered."""

    configured: Sequence[ApplicationEntity]
    rows: EntityLedger
    rules: Rules
    staff: Staff
    directory: EntityDirectory
    store: InstanceStore
    orders: trio.MemoryReceiveChannel[EntityOrder]
    publish: Publish
    stop: trio.Event
    name: str = "entities"
    _running: dict[str, Running] = field(default_factory=dict)
    """By name."""
    _turn: trio.Lock = field(default_factory=trio.Lock)
    """Held by whoever changes what runs."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        async with trio.open_nursery() as drains:
            for entity in self.configured:
                await self._bring_about(of_file(entity))
            for row in await self.rows.entities():
                await self._bring_back(row, drains)
            task_status.started()
            drains.start_soon(self._obey, drains)
            await self.stop.wait()
            drains.cancel_scope.cancel()
        for running in self._running.values():
            running.close()  # each ends with its last association

    def close(self) -> None:
        """See `Actor.close`."""
        self.orders.close()
        self.staff.close()

    # --- what is listed comes about

    async def _bring_back(self, row: EntityRow, drains: trio.Nursery) -> None:
        """Have a row of the ledger run again, if it still can."""
        listed = of_row(row)
        if any(entity.name == row.name for entity in self.configured):
            log.warning("entity.superseded", entity=row.name, ae_title=listed.ae_title)
            return  # by the configuration file; it is back when it is not in there any more
        others = [one for one in self.directory.listed.values() if one.name != listed.name]
        taken = self._taken(listed, others)
        if listed.retiring and taken:  # who has the title now has its groups as well
            await self._forget(listed)
            return
        if listed.entity is not None:
            problems = taken or self.rules.problems(self._usable(others), listed.entity)
            if problems:
                listed = msgspec.structs.replace(listed, entity=None, problems=tuple(problems))
        await self._bring_about(listed)
        if listed.retiring:
            drains.start_soon(self._drain, listed.name)

    async def _bring_about(self, listed: ListedEntity) -> ListedEntity:
        """Have run what is listed, as it is listed; return it with what is wrong."""
        entity, running = listed.entity, self._running.get(listed.name)
        try:
            if entity is None:
                self._tell_parked(listed)
            elif running is None or running.has_lost_its_entity:
                await self._start(entity)
            elif running.entity != entity:
                await running.change(entity)
            else:
                await running.restart_processors()
        except UnavailableError as error:
            if listed.origin == "file":
                raise
            listed = msgspec.structs.replace(listed, problems=(str(error),))
            self._tell_parked(listed)
        self.directory.enter(listed, self._running.get(listed.name))
        return listed

    async def _start(self, entity: ApplicationEntity) -> None:
        if running := self._running.pop(entity.name, None):
            await running.end()
        self._running[entity.name] = await self.staff.start(entity)

    def _tell_parked(self, listed: ListedEntity) -> None:
        log.warning("entity.parked", entity=listed.name, problems=listed.problems)
        data = {"actor": f"entity:{listed.name}", "error": "; ".join(listed.problems)}
        self.publish(Event(type="actor.parked", ae_title=listed.ae_title, data=data))

    # --- orders

    async def _obey(self, drains: trio.Nursery) -> None:
        async for order in self.orders:
            with order.reply:
                async with self._turn:
                    done = await self._done(order, drains)
                answer(order.reply, done)

    async def _done(self, order: EntityOrder, drains: trio.Nursery) -> ListedEntity | EntityRefused:
        listed = self.directory.listed.get(order.name)
        if order.action == "create":
            assert order.entity is not None
            return self._objection(order.entity, None) or await self._put(order.entity, "created")
        if listed is None:
            return _refused(EntityRefusal.UNKNOWN, f"no AE Title is named {order.name!r}")
        if listed.retiring and order.action != "restart":
            if order.action == "remove":
                return listed
            return _refused(EntityRefusal.CONFLICT, f"{order.name!r} is being removed")
        if order.action == "restart":
            return await self._restart(listed)
        if listed.origin == "file":
            why = f"{order.name!r} is of the configuration file; change it there"
            return _refused(EntityRefusal.CONFLICT, why)
        if order.action == "remove":
            return await self._remove(listed, drains)
        assert order.entity is not None
        return self._objection(order.entity, listed) or await self._put(order.entity, "changed")

    def _objection(
        self, entity: ApplicationEntity, now: ListedEntity | None
    ) -> EntityRefused | None:
        """Return why the AE Title cannot become this."""
        others = [one for one in self.directory.listed.values() if one is not now]
        if now is None and (taken := self._taken(entity, others)):
            return EntityRefused(EntityRefusal.CONFLICT, tuple(taken))
        if now is not None and now.ae_title != entity.ae_title:
            why = f"ae_title: {now.ae_title!r} cannot be changed; remove it and make another one"
            return _refused(EntityRefusal.INVALID, why)
        problems = self.rules.problems(self._usable(others), entity)
        if now is None and sum(one.origin == "api" for one in others) >= ENTITIES_MAX:
            problems.append(f"there are {ENTITIES_MAX} already")
        try:
            row_of(entity)
        except ValueError as error:
            problems.append(str(error))
        return EntityRefused(EntityRefusal.INVALID, tuple(problems)) if problems else None

    def _usable(self, others: Sequence[ListedEntity]) -> list[ApplicationEntity]:
        return [one.entity for one in others if one.entity is not None]

    def _taken(
        self, wanted: ApplicationEntity | ListedEntity, others: Sequence[ListedEntity]
    ) -> list[str]:
        problems = []
        if any(one.name == wanted.name for one in others):
            problems.append(f"name: {wanted.name!r} is used")
        if any(one.ae_title.strip() == wanted.ae_title.strip() for one in others):
            problems.append(f"ae_title: {wanted.ae_title!r} is used")
        return problems

    async def _put(self, entity: ApplicationEntity, verb: str) -> ListedEntity:
        row = row_of(entity)
        await self.rows.put_entity(row)
        listed = await self._bring_about(of_row(row))
        self._tell(verb, listed)
        return listed

    async def _restart(self, listed: ListedEntity) -> ListedEntity | EntityRefused:
        """Have run again what was parked."""
        running = self._running.get(listed.name)
        if running is not None and not running.is_parked:
            return _refused(EntityRefusal.CONFLICT, f"{listed.name!r} is not parked")
        if listed.entity is None:
            return EntityRefused(EntityRefusal.CONFLICT, listed.problems)
        return await self._bring_about(msgspec.structs.replace(listed, problems=()))

    # --- removal

    async def _remove(self, listed: ListedEntity, drains: trio.Nursery) -> ListedEntity:
        row = EntityRow(name=listed.name, settings=listed.settings, retiring=True)
        await self.rows.put_entity(row)
        listed = msgspec.structs.replace(listed, retiring=True)
        self.directory.enter(listed, self._running.get(listed.name))
        self._tell("changed", listed)
        drains.start_soon(self._drain, listed.name)
        return listed

    async def _drain(self, name: str) -> None:
        """Return when nothing is left of a removed AE Title."""
        while True:
            async with self._turn:
                if not await self._has_something_left(name):
                    listed = self.directory.listed[name]
                    await self._forget(listed)
                    self._tell("deleted", listed)
                    return
            await trio.sleep(DRAIN_LOOK_S)

    async def _has_something_left(self, name: str) -> bool:
        listed, running = self.directory.listed[name], self._running.get(name)
        if running is not None and not running.has_lost_its_entity:
            if running.door.is_used:
                return True
            try:
                groups: int = await ask(running.questions, GroupsCounted, COUNT_S)
            except UNANSWERED:  # it has crashed, and comes back, or is parked
                return True
            if groups:
                return True
        title = listed.ae_title
        try:  # the processor makes jobs of what has closed
            left = await self.store.open_groups(title) or await self.store.closed_groups(title)
        except UnavailableError as error:
            log.warning("entity.waiting", entity=name, why=str(error))
            return True
        return bool(left)

    async def _forget(self, listed: ListedEntity) -> None:
        if running := self._running.pop(listed.name, None):
            await running.end()
        self.directory.leave(listed)  # first: after a crash only what has a row is brought back
        await self.rows.remove_entity(listed.name)
        actor = f"entity:{listed.name}"  # also if it was parked
        self.publish(Event(type="actor.stopped", data={"actor": actor}))

    def _tell(self, verb: str, listed: ListedEntity) -> None:
        data = {"kind": "claraaetitle", "name": listed.name, "retiring": listed.retiring}
        log.info(f"config.{verb}", ae_title=listed.ae_title, **data)
        self.publish(Event(type=f"config.{verb}", ae_title=listed.ae_title, data=data))


def _refused(refusal: EntityRefusal, problem: str) -> EntityRefused:
    return EntityRefused(refusal, (problem,))
