"""How the actors of one AE Title are made and connected; the entities actor decides when.

Entity and processors each have a supervisor under the wiring's nursery, so they outlive a crash of
the entities actor. Their mailboxes outlive a processor, but not the entity: what is asked of one
that is parked is answered with the end of the channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from adapter.actors.entity import ATTRIBUTES, ApplicationEntityActor
from adapter.actors.processor import ProcessorActor
from adapter.channels import UNANSWERED, EntityDoor, ask
from adapter.domain.assignments import Assignment, attributes_of, load_processors
from adapter.domain.entities import ApplicationEntity
from adapter.domain.events import Publish
from adapter.domain.group_keys import lease_tags
from adapter.domain.messages import EntityChanged, EntityNote, EntityQuestion, Wake
from adapter.domain.system_events import ActorFacts, ActorStopped
from adapter.edges import Edges
from adapter.errors import UnavailableError
from adapter.supervision import Post

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
        """Start an entity and its processors.

        Raises:
            ValueError: A processor cannot be made.
            UnavailableError: Its groups cannot be read now.
        """
        running = RunningEntity(self, entity, load_processors(entity))
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


class _Desk:
    """A processor of an entity, and how it is woken."""

    def __init__(self, staff: EntityStaff, assignment: Assignment, names: Sequence[str]) -> None:
        """Nothing runs yet; `names` are those of all the processors of the entity."""
        self.name = assignment.name
        self.post = Post()
        self._has_begun = False
        self.wake, self._woken = trio.open_memory_channel[Wake](1)
        self._staff = staff
        self._assignment = assignment
        self._names = names

    async def start(self) -> None:
        """Start the processor, or start it again."""
        staff, edges = self._staff, self._staff.edges
        actor = ProcessorActor(
            assignment=self._assignment, names=self._names, store=edges.store,
            payloads=edges.payloads, ledger=edges.ledger, wake=self._woken.clone(),
            submitter_wake=staff.submitter_wake.clone(), publish=staff.publish, now=edges.now,
            name=self.actor_name,
        )  # fmt: skip
        self.post, self._has_begun = Post(), True
        await staff.nursery.start(self.post.run, actor, staff.publish)

    @property
    def actor_name(self) -> str:
        """`processor:<entity>`, and its own name if there may be others."""
        entity = self._assignment.entity.name
        return f"processor:{entity}:{self.name}" if len(self._names) > 1 else f"processor:{entity}"

    def close(self) -> None:
        """Let it end when the entity wakes it no more; again is harmless."""
        self.wake.close()
        self._woken.close()

    async def end(self) -> None:
        """Return when nothing of it runs; one that was parked is not parked any more."""
        self.close()
        if self._has_begun:
            await self.post.over.wait()
        self._staff.publish(ActorStopped(data=ActorFacts(actor=self.actor_name)))


class RunningEntity:
    """The entity and the processors of one AE Title."""

    def __init__(
        self, staff: EntityStaff, entity: ApplicationEntity, assignments: Sequence[Assignment]
    ) -> None:
        """Nothing runs yet."""
        self.entity = entity
        self._staff = staff
        requests, self._requests = trio.open_memory_channel[EntityQuestion](0)
        capacity = NOTES_PER_ASSOCIATION * staff.associations_max
        notes, self._notes = trio.open_memory_channel[EntityNote](capacity)
        self.questions = requests.clone()
        """For whoever is not an association."""
        self._assign(assignments)
        self.door = self._door(requests, notes)
        self._entity_post = Post()

    def _assign(self, assignments: Sequence[Assignment]) -> None:
        names = [one.name for one in assignments]
        self._assignments = assignments
        self._desks = [_Desk(self._staff, one, names) for one in assignments]

    def _door(
        self,
        requests: trio.MemorySendChannel[EntityQuestion],
        notes: trio.MemorySendChannel[EntityNote],
    ) -> EntityDoor:
        tags = lease_tags(self.entity, attributes_of(self._assignments))
        return EntityDoor(
            requests=requests, notes=notes, attributes=ATTRIBUTES | tags, grouping=tags,
            commits=self.entity.storage_commitment == "held",
            is_staffed=lambda: not any(desk.post.over.is_set() for desk in self._desks),
        )  # fmt: skip

    async def start(self) -> None:
        """Start the consumers first; see `EntityStaff.start` for what is raised."""
        try:
            for desk in self._desks:
                await desk.start()
            await self._start_entity()
        except BaseException:  # also a cancel: what has not started holds no channel open
            self.close()
            raise

    async def _start_entity(self) -> None:
        staff, edges = self._staff, self._staff.edges
        actor = ApplicationEntityActor(
            entity=self.entity, assignments=self._assignments, store=edges.store,
            space=edges.space, requests=self._requests, notes=self._notes,
            wakes=self._cloned_wakes(),
            publish=staff.publish, new_id=edges.new_id, now=edges.now,
            own_results=edges.ledger.own_results,
        )  # fmt: skip
        await staff.nursery.start(self._entity_post.run, actor, staff.publish)
        self._hand_over_wakes()

    def _cloned_wakes(self) -> dict[str, trio.MemorySendChannel[Wake]]:
        return {desk.name: desk.wake.clone() for desk in self._desks}

    def _hand_over_wakes(self) -> None:
        """The entity has its own: a processor ends with that."""
        for desk in self._desks:
            desk.wake.close()

    @property
    def is_parked(self) -> bool:
        """Whether the entity, or one of its processors, has crashed too often."""
        posts = [self._entity_post, *(desk.post for desk in self._desks)]
        return any(post.over.is_set() for post in posts)

    @property
    def has_lost_its_entity(self) -> bool:
        """Whether nobody answers: there is nothing to go on with."""
        return self._entity_post.over.is_set()

    async def restart_processors(self) -> None:
        """Start the processors that were parked; the entity has gone on without them."""
        for desk in self._desks:
            if desk.post.over.is_set():
                await desk.start()

    async def change(self, entity: ApplicationEntity) -> None:
        """Go on with other settings; associations and open groups go on with it.

        A processor keeps nothing in memory, so new ones take the place of all. `door` is a new one,
        for associations from now on.

        Cancel: the entity may not have heard of it; do it again.
        """
        assignments = load_processors(entity)
        for desk in self._desks:
            desk.post.scope.cancel()
            await desk.end()
        self._assign(assignments)
        for desk in self._desks:
            await desk.start()
        while not self._entity_post.over.is_set() and not await self._tell(entity):
            pass  # it has crashed, and comes back, or is parked
        self._hand_over_wakes()
        self.entity = entity
        self.door = self._door(self.door.requests.clone(), self.door.notes.clone())

    async def _tell(self, entity: ApplicationEntity) -> bool:
        """Have the entity change; False: it did not say that it has."""
        wakes = self._cloned_wakes()

        def changed(reply: trio.MemorySendChannel[bool]) -> EntityChanged:
            return EntityChanged(
                entity=entity, assignments=self._assignments, wakes=wakes, reply=reply
            )

        try:
            return await ask(self.questions, changed, CHANGE_S)
        except UNANSWERED:
            for wake in wakes.values():
                wake.close()
            return False

    def close(self) -> None:
        """Let it end with the last association, its open groups on disk; again is harmless."""
        self.door.close()
        self.questions.close()
        for desk in self._desks:
            desk.close()

    async def end(self) -> None:
        """Close it and return when nothing of it runs."""
        self.close()
        await self._entity_post.over.wait()
        for desk in self._desks:
            await desk.end()
