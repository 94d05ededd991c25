"""Entity directory: who there is, for those who ask.

Consumes: calls of the entities actor. Produces: nothing. Owns: by port, who lets associations in;
by AE Title, who answers questions; which sources and destinations there are; by kind and name, what
people see. Rebuilds from: nothing, it outlives the actor that fills it. Restart policy: none. Read
by everybody, changed by the entities actor.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import trio

from adapter.channels import EntityDoor, EntryHall, blind_door
from adapter.domain.entities import ApplicationEntity, Destination, Source
from adapter.domain.entity_rows import KINDS, Kind, ListedEntity
from adapter.domain.messages import EntityQuestion


class Running(Protocol):
    """What the directory has to know of an AE Title that runs."""

    door: EntityDoor
    questions: trio.MemorySendChannel[EntityQuestion]


class EntityDirectory:
    """Which AE Titles, sources and destinations there are."""

    def __init__(self, shared_port: int, ports: Iterable[int]) -> None:
        """Nobody is there; `ports` as they are configured, the shared one among them."""
        self._shared_port = shared_port
        self.halls = {port: EntryHall() for port in ports}
        self.questions: dict[str, trio.MemorySendChannel[EntityQuestion]] = {}
        self.listed: dict[Kind, dict[str, ListedEntity]] = {kind: {} for kind in KINDS}
        self.sources: list[Source] = []
        self.reporters: list[Source] = []
        """Destinations that may report storage commitment."""
        self.destinations: list[Destination] = []
        """Also those that are to go."""
        self.addressable: list[Destination] = []
        """To which new results go."""
        self.addressable_names: list[str] = []

    def enter(self, listed: ListedEntity) -> None:
        """List one as it is now."""
        self.listed[listed.kind][listed.name] = listed
        self._refresh()

    def leave(self, listed: ListedEntity) -> None:
        """Take one off the list."""
        self.listed[listed.kind].pop(listed.name, None)
        self._refresh()

    def _refresh(self) -> None:
        """Tell those who hold the lists; they stay the same objects."""
        sources = self.listed["source"].values()
        self.sources[:] = [
            one.entity for one in sources if isinstance(one.entity, Source) and not one.retiring
        ]
        usable = [
            (one.entity, one.retiring)
            for one in self.listed["destination"].values()
            if isinstance(one.entity, Destination)
        ]
        self.destinations[:] = [destination for destination, _ in usable]
        self.addressable[:] = [destination for destination, retiring in usable if not retiring]
        self.addressable_names[:] = [destination.name for destination in self.addressable]
        self.reporters[:] = [
            Source(ae_title=destination.ae_title, host=destination.host)
            for destination in self.destinations
            if destination.storage_commitment
        ]

    def hosts(self) -> Iterator[str]:
        """Yield where those call from who may send, or report."""
        for source in (*self.sources, *self.reporters):
            yield from source.hosts

    def admit(self, listed: ListedEntity, running: Running | None) -> None:
        """Let associations in to an AE Title; to one that is to go, nobody any more."""
        if running is not None:
            self.questions[listed.ae_title] = running.questions
        if self._has_another(listed):
            return
        entity = listed.entity if isinstance(listed.entity, ApplicationEntity) else None
        port = entity.port if entity is not None else None
        here = self.halls.get(self._shared_port if port is None else port)
        for hall in self.halls.values():
            if hall is not here or listed.retiring:
                hall.shut(listed.ae_title.strip())
        if listed.retiring and running is not None:
            running.door.close()
        elif here is not None and not listed.retiring:
            door = running.door if running is not None else blind_door()
            limit = entity.max_associations if entity is not None else 0
            here.open(listed.ae_title.strip(), door, limit)

    def dismiss(self, listed: ListedEntity) -> None:
        """Let nobody in to an AE Title that is gone, and have nobody asked there."""
        if not self._has_another(listed):
            self.questions.pop(listed.ae_title, None)
            for hall in self.halls.values():
                hall.shut(listed.ae_title.strip())

    def _has_another(self, listed: ListedEntity) -> bool:
        """Return whether the AE Title is somebody else's, and this one cannot have it."""
        title = listed.ae_title.strip()
        others = (one for one in self.listed["aetitle"].values() if one.name != listed.name)
        return any(one.ae_title.strip() == title for one in others)
