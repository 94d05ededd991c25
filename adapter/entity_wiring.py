"""How the actors of one AE Title are made and connected; the entities actor decides when.

Entity and processor each have a supervisor under the wiring's nursery, so they outlive a crash of
the entities actor. Their mailboxes outlive a processor, but not the entity: what is asked of one
that is parked is answered with the end of the channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import trio

from adapter.actors.entity import ATTRIBUTES, ApplicationEntityActor
from adapter.actors.processor import ProcessorActor
from adapter.channels import UNANSWERED, EntityDoor, ask
from adapter.domain.entities import ApplicationEntity
from adapter.domain.events import Publish
from adapter.domain.group_keys import lease_tags
from adapter.domain.messages import EntityChanged, EntityNote, EntityQuestion, Wake
from adapter.domain.plugins import load_processor
from adapter.domain.processors import Processor
from adapter.edges import Edges
from adapter.errors import UnavailableError
from adapter.settings import Settings, listening_ports, relations
from adapter.supervision import REPLICA, Actor, supervise

NOTES_PER_ASSOCIATION = 4
"""Notes of an association that may wait for its entity; it tells at most one every 50 ms."""
CHANGE_S = 10.0
"""For an entity to answer that it has changed; it is asked until it does."""


@dataclass(slots=True, kw_only=True)
class EntityStaff:
    """Makes what runs behind an AE Title."""

    edges: Edges
    publish: Publish
    nursery: trio.Nursery
    associations_max: int
    submitter_wake: trio.MemorySendChannel[Wake]

    async def start(self, entity: ApplicationEntity) -> "RunningEntity":
        """Start an entity and its processor.

        Raises:
            ValueError: Its processor cannot be made.
            UnavailableError: Its groups cannot be read now.
        """
        running = RunningEntity(self, entity, load_processor(entity))
        try:
            await running.start()
        except ExceptionGroup as group:  # of the entity's own nursery
            if found := group.subgroup(UnavailableError):
                raise UnavailableError(str(found.exceptions[0])) from group
            raise
        return running

    def close(self) -> None:
        """Start no more."""
        self.submitter_wake.close()


@dataclass(slots=True)
class _Post:
    """A supervised actor, and how to be rid of it."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)

    async def run(
        self,
        actor: Actor,
        publish: Publish,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Supervise the actor to its end; it may be parked, or cancelled by the scope."""
        try:
            with self.scope:
                await supervise(actor, REPLICA, publish, task_status=task_status)
        finally:
            self.over.set()


class RunningEntity:
    """The entity and the processor of one AE Title."""

    def __init__(self, staff: EntityStaff, entity: ApplicationEntity, processor: Processor) -> None:
        """Nothing runs yet."""
        self.entity = entity
        self._processor = processor
        self._staff = staff
        requests, self._requests = trio.open_memory_channel[EntityQuestion](0)
        capacity = NOTES_PER_ASSOCIATION * staff.associations_max
        notes, self._notes = trio.open_memory_channel[EntityNote](capacity)
        self._wake, self._woken = trio.open_memory_channel[Wake](1)
        self.questions = requests.clone()
        """For whoever is not an association."""
        self.door = self._door(requests, notes)
        self._entity_post, self._processor_post = _Post(), _Post()

    def _door(
        self,
        requests: trio.MemorySendChannel[EntityQuestion],
        notes: trio.MemorySendChannel[EntityNote],
    ) -> EntityDoor:
        tags = lease_tags(self.entity, self._processor.attributes)
        return EntityDoor(
            requests=requests, notes=notes, attributes=ATTRIBUTES | tags, grouping=tags,
            commits=self.entity.storage_commitment == "held",
            is_staffed=lambda: not self._processor_post.over.is_set(),
        )  # fmt: skip

    async def start(self) -> None:
        """Start the consumer first; see `EntityStaff.start` for what is raised."""
        try:
            await self._start_processor()
            await self._start_entity()
        except BaseException:
            self.close()
            raise

    async def _start_processor(self) -> None:
        staff, edges = self._staff, self._staff.edges
        actor = ProcessorActor(
            entity=self.entity, processor=self._processor, store=edges.store,
            payloads=edges.payloads, ledger=edges.ledger, wake=self._woken.clone(),
            submitter_wake=staff.submitter_wake.clone(), publish=staff.publish, now=edges.now,
        )  # fmt: skip
        self._processor_post = _Post()
        await staff.nursery.start(self._processor_post.run, actor, staff.publish)

    async def _start_entity(self) -> None:
        staff, edges = self._staff, self._staff.edges
        actor = ApplicationEntityActor(
            entity=self.entity, processor=self._processor, store=edges.store, space=edges.space,
            requests=self._requests, notes=self._notes, processor_wake=self._wake,
            publish=staff.publish, new_id=edges.new_id, now=edges.now,
        )  # fmt: skip
        await staff.nursery.start(self._entity_post.run, actor, staff.publish)

    @property
    def is_parked(self) -> bool:
        """Whether the entity, or its processor, has crashed too often."""
        return self._entity_post.over.is_set() or self._processor_post.over.is_set()

    @property
    def has_lost_its_entity(self) -> bool:
        """Whether nobody answers: there is nothing to go on with."""
        return self._entity_post.over.is_set()

    async def restart_processor(self) -> None:
        """Start the processor that was parked; the entity has gone on without it."""
        if self._processor_post.over.is_set():
            await self._start_processor()

    async def change(self, entity: ApplicationEntity) -> None:
        """Go on with other settings; associations and open groups go on with it.

        A processor keeps nothing in memory, so a new one takes its place. `door` is a new one, for
        associations from now on.
        """
        self.entity, self._processor = entity, load_processor(entity)
        self._processor_post.scope.cancel()
        await self._processor_post.over.wait()
        await self._start_processor()
        while not self._entity_post.over.is_set():
            try:
                await ask(self.questions, self._changed, CHANGE_S)
                break
            except UNANSWERED:
                continue  # it has crashed, and comes back, or is parked
        self.door = self._door(self.door.requests.clone(), self.door.notes.clone())

    def _changed(self, reply: trio.MemorySendChannel[bool]) -> EntityChanged:
        return EntityChanged(entity=self.entity, processor=self._processor, reply=reply)

    def close(self) -> None:
        """Let it end with the last association, its open groups on disk; again is harmless."""
        self.door.close()
        self.questions.close()
        self._woken.close()

    async def end(self) -> None:
        """Close it and return when nothing of it runs."""
        self.close()
        await self._entity_post.over.wait()
        await self._processor_post.over.wait()


@dataclass(frozen=True, slots=True)
class EntityRules:
    """What the configuration file would say of an AE Title."""

    settings: Settings

    def problems(self, others: Sequence[ApplicationEntity], entity: ApplicationEntity) -> list[str]:
        """Return what is wrong with it beside these others; keys as in the file."""
        ports = {port.serves for port in listening_ports(self.settings)}
        problems = []
        if entity.port is not None and entity.port not in ports:
            problems.append(
                f"port: {entity.port} is not listened on; a port of its own needs an AE Title in "
                "the configuration file"
            )
        together = msgspec.structs.replace(self.settings, application_entities=[*others, entity])
        own = f"application_entities[{len(others)}]."
        return problems + [problem.removeprefix(own) for problem in relations(together)]
