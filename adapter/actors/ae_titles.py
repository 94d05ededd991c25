"""AE Titles: the branch of the entities actor for those that take instances.

Consumes: calls of the entities actor. Produces: application entities with their processors, doors
for associations. Owns: what runs of AE Titles. Rebuilds from: what is listed. Restart policy: that
of the entities actor, whose crashes it outlives.

One that is removed takes no association from then on; those it has end as they like, its groups
close when they fall quiet and become jobs; then it goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from adapter.actors.entity_directory import EntityDirectory, Running
from adapter.channels import UNANSWERED, ask
from adapter.domain.entities import ApplicationEntity
from adapter.domain.entity_rows import Configured, Kind, ListedEntity
from adapter.domain.group_ports import InstanceStore
from adapter.domain.messages import GroupsCounted
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.entities")

COUNT_S = 10.0
"""For an entity to say how many groups it has open."""


class RunningTitle(Running, Protocol):
    """The entity and the processors of an AE Title, supervised; see `adapter.entity_wiring`."""

    entity: ApplicationEntity

    @property
    def is_parked(self) -> bool: ...

    @property
    def has_lost_its_entity(self) -> bool: ...

    async def restart_processors(self) -> None: ...

    async def change(self, entity: ApplicationEntity) -> None: ...

    def close(self) -> None: ...

    async def end(self) -> None: ...


class Staff(Protocol):
    """Starts what runs behind an AE Title."""

    async def start(self, entity: ApplicationEntity) -> RunningTitle: ...

    def close(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class AeTitles:
    """Has application entities run as they are listed."""

    staff: Staff
    directory: EntityDirectory
    store: InstanceStore
    kind: Kind = "aetitle"
    drains_unasked: bool = True
    _running: dict[str, RunningTitle] = field(default_factory=dict)
    """By name."""

    def actor(self, name: str) -> str:
        """See `Branch.actor`."""
        return f"entity:{name}"

    def taken(self, wanted: ListedEntity, others: Sequence[ListedEntity]) -> list[str]:
        """See `Branch.taken`."""
        title = wanted.ae_title.strip()
        if any(one.ae_title.strip() == title for one in others):
            return [f"ae_title: {wanted.ae_title!r} is used"]
        return []

    def fixed(self, now: ListedEntity, wanted: Configured) -> str:
        """See `Branch.fixed`."""
        if now.ae_title == wanted.ae_title:
            return ""
        return f"ae_title: {now.ae_title!r} cannot be changed; remove it and make another one"

    async def run(self, listed: ListedEntity) -> None:
        """See `Branch.run`."""
        entity, running = listed.entity, self._running.get(listed.name)
        assert isinstance(entity, ApplicationEntity)
        if running is None or running.has_lost_its_entity:
            await self._start(entity)
        elif running.entity != entity:
            await running.change(entity)
        else:
            await running.restart_processors()

    async def _start(self, entity: ApplicationEntity) -> None:
        if running := self._running.pop(entity.name, None):
            await running.end()
        self._running[entity.name] = await self.staff.start(entity)

    def enter(self, listed: ListedEntity) -> None:
        """See `Branch.enter`."""
        self.directory.admit(listed, self._running.get(listed.name))

    def is_parked(self, name: str) -> bool:
        """See `Branch.is_parked`."""
        running = self._running.get(name)
        return running is None or running.is_parked

    async def left(self, listed: ListedEntity) -> str:
        """See `Branch.left`."""
        running = self._running.get(listed.name)
        if running is not None and not running.has_lost_its_entity:
            if running.door.holders > (0 if listed.retiring else 1):  # it lets in no more, or does
                return "associations"
            try:
                groups: int = await ask(running.questions, GroupsCounted, COUNT_S)
            except UNANSWERED:  # it has crashed, and comes back, or is parked
                return "groups that cannot be counted now"
            if groups:
                return f"{groups} open group{'s' * (groups > 1)}"
        title = listed.ae_title
        try:  # the processor makes jobs of what has closed
            left = await self.store.open_groups(title) or await self.store.closed_groups(title)
        except UnavailableError as error:
            log.warning("entity.waiting", entity=listed.name, why=str(error))
            return str(error)
        return "groups" if left else ""

    async def end(self, listed: ListedEntity) -> None:
        """See `Branch.end`."""
        self.directory.dismiss(listed)
        if running := self._running.pop(listed.name, None):
            await running.end()

    def close(self) -> None:
        """See `Branch.close`."""
        self.staff.close()

    def let_end(self) -> None:
        """See `Branch.let_end`: each ends with its last association."""
        for running in self._running.values():
            running.close()
