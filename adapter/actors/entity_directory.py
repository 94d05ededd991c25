"""Entity directory: who there is, for those who ask.

Consumes: calls of the entities actor. Produces: nothing. Owns: by port, who lets associations in;
by AE Title, who answers questions; by name, what people see. Rebuilds from: nothing, it outlives
the actor that fills it. Restart policy: none. Read by everybody, changed by the entities actor.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import trio

from adapter.channels import EntityDoor, EntryHall, blind_door
from adapter.domain.entities import ApplicationEntity
from adapter.domain.entity_rows import ListedEntity
from adapter.domain.messages import EntityQuestion


class Running(Protocol):
    """The entity and the processors of an AE Title, supervised; see `adapter.entity_wiring`."""

    entity: ApplicationEntity
    door: EntityDoor
    questions: trio.MemorySendChannel[EntityQuestion]

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

    async def start(self, entity: ApplicationEntity) -> Running: ...

    def close(self) -> None: ...


class Rules(Protocol):
    """What the configuration file would say."""

    def problems(
        self, others: Sequence[ApplicationEntity], entity: ApplicationEntity
    ) -> list[str]: ...


class EntityDirectory:
    """Which AE Titles there are."""

    def __init__(self, shared_port: int, ports: Iterable[int]) -> None:
        """Nobody is there; `ports` as they are configured, the shared one among them."""
        self._shared_port = shared_port
        self.halls = {port: EntryHall() for port in ports}
        self.questions: dict[str, trio.MemorySendChannel[EntityQuestion]] = {}
        self.listed: dict[str, ListedEntity] = {}

    def enter(self, listed: ListedEntity, running: Running | None) -> None:
        """List an AE Title as it is now; one that is to go lets nobody in any more."""
        self.listed[listed.name] = listed
        if running is not None:
            self.questions[listed.ae_title] = running.questions
        if self._has_another(listed):
            return
        port = listed.entity.port if listed.entity is not None else None
        here = self.halls.get(self._shared_port if port is None else port)
        for hall in self.halls.values():
            if hall is not here or listed.retiring:
                hall.shut(listed.ae_title.strip())
        if listed.retiring and running is not None:
            running.door.close()
        elif here is not None and not listed.retiring:
            door = running.door if running is not None else blind_door()
            limit = listed.entity.max_associations if listed.entity is not None else 0
            here.open(listed.ae_title.strip(), door, limit)

    def leave(self, listed: ListedEntity) -> None:
        """Take an AE Title off the list."""
        self.listed.pop(listed.name, None)
        if not self._has_another(listed):
            self.questions.pop(listed.ae_title, None)
            for hall in self.halls.values():
                hall.shut(listed.ae_title.strip())

    def _has_another(self, listed: ListedEntity) -> bool:
        """Return whether the AE Title is somebody else's, and this one cannot have it."""
        title = listed.ae_title.strip()
        others = (one for one in self.listed.values() if one.name != listed.name)
        return any(one.ae_title.strip() == title for one in others)
