"""Entities: which AE Titles, sources and destinations there are, while the adapter runs.

Consumes: EntityOrder, EntitiesProposed. Produces: answers, rows of the ledger, what its branches
have run, `config` events. Owns: the directory, and when something starts, changes, goes. Rebuilds
from: the configuration and the ledger, and what runs: that outlives a crash of this actor. Restart
policy: essential.

An order is durable before anything follows from it, and whatever follows is done by `_bring_about`
from what is listed, also after a crash or a kill. What is removed gets nothing new from then on;
when nothing is left of its work its row goes. What cannot be used any more (another thing that it
names has gone, or its values are refused by now) stays a row, is told with its problems, and is
used again once they are gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
import trio

from adapter.actors.entity_branch import Branch, Rules
from adapter.actors.entity_directory import EntityDirectory
from adapter.actors.entity_review import EntityReview, refused
from adapter.channels import answer
from adapter.domain.entities import ApplicationEntity
from adapter.domain.entity_orders import EntityOrder, EntityRefusal, EntityRefused
from adapter.domain.entity_rows import (
    KINDS,
    WORDS,
    Configured,
    EntityLedger,
    Kind,
    ListedEntity,
    kept_row,
    kind_of,
    of_file,
    of_row,
    row_of,
)
from adapter.domain.events import Publish
from adapter.domain.programs import Programs
from adapter.domain.reconfiguration import EntitiesJudged, EntitiesProposed
from adapter.domain.system_events import (
    ActorFacts,
    ActorParked,
    ActorStopped,
    ConfigChanged,
    ConfigCreated,
    ConfigDeleted,
    ConfigEvent,
    ConfigFacts,
    CrashFacts,
)
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.entities")

DRAIN_LOOK_S = 1.0
"""How often it is looked whether something removed has anything left."""


@dataclass(slots=True, kw_only=True)
class Entities:
    """Keeps what runs as it is listed, and what is listed as it was ordered."""

    configured: Sequence[Configured]
    rows: EntityLedger
    rules: Rules
    branches: Mapping[Kind, Branch]
    directory: EntityDirectory
    orders: trio.MemoryReceiveChannel[EntityOrder | EntitiesProposed]
    publish: Publish
    stop: trio.Event
    follows_cluster: bool = False
    """What custom resources of Kubernetes have made is left to them."""
    programs: Programs = field(default_factory=Programs)
    name: str = "entities"
    _review: EntityReview = field(init=False)
    _turn: trio.Lock = field(default_factory=trio.Lock)
    """Held by whoever changes what runs."""
    _has_started: bool = False

    def __post_init__(self) -> None:
        self._review = EntityReview(
            rules=self.rules, branches=self.branches, directory=self.directory,
            follows_cluster=self.follows_cluster,
        )  # fmt: skip

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._has_started = False
        rows = await self.rows.entities()
        async with trio.open_nursery() as drains:
            for kind in KINDS:
                for entity in self.configured:
                    if kind_of(entity) == kind:
                        await self._bring_about(of_file(entity))
            for listed in self._review.rows(rows):
                await self._bring_back(listed, drains)
                self._warn([listed])
            self._has_started = True
            task_status.started()
            drains.start_soon(self._obey, drains)
            await self.stop.wait()
            drains.cancel_scope.cancel()
        for branch in self.branches.values():
            branch.let_end()

    def close(self) -> None:
        """See `Actor.close`."""
        self.orders.close()
        for branch in self.branches.values():
            branch.close()

    # --- what is listed comes about

    async def _bring_back(self, listed: ListedEntity, drains: trio.Nursery) -> None:
        """Have a row of the ledger run again, if it still can."""
        others = self.directory.listed[listed.kind].values()
        taken = self._review.taken(listed, [one for one in others if one.name != listed.name])
        if listed.retiring and taken:  # who has the title now has its groups as well
            await self._forget(listed)
            return
        if taken:
            listed = msgspec.structs.replace(listed, entity=None, problems=tuple(taken))
        await self._bring_about(listed)
        if listed.retiring:
            drains.start_soon(self._drain, listed)

    async def _bring_about(self, listed: ListedEntity) -> ListedEntity:
        """Have run what is listed, as it is listed; return it with what is wrong."""
        branch = self.branches[listed.kind]
        try:
            if listed.entity is None:
                self._tell_parked(listed)
            else:
                await branch.run(listed)
        except UnavailableError as error:
            if listed.origin == "file" and not self._has_started:
                raise
            listed = msgspec.structs.replace(listed, problems=(str(error),))
            self._tell_parked(listed)
        self.directory.enter(listed)
        branch.enter(listed)
        return listed

    async def _reconsider(self) -> None:
        """Have run what could not be used, and can be now that something else has changed."""
        for kind in KINDS:
            for listed in list(self.directory.listed[kind].values()):
                if listed.entity is None:
                    again = self._review.now(listed)
                    if again.entity is not None:
                        await self._bring_about(again)

    def _tell_parked(self, listed: ListedEntity) -> None:
        actor = self.branches[listed.kind].actor(listed.name)
        log.warning("entity.parked", actor=actor, problems=listed.problems)
        facts = CrashFacts(actor=actor, error="; ".join(listed.problems))
        self.publish(ActorParked(ae_title=listed.ae_title, data=facts))

    # --- orders

    async def _obey(self, drains: trio.Nursery) -> None:
        async for order in self.orders:
            with order.reply:
                async with self._turn:
                    match order:
                        case EntitiesProposed():
                            answer(order.reply, await self._reconfigure(order, drains))
                        case EntityOrder():
                            answer(order.reply, await self._done(order, drains))

    async def _done(self, order: EntityOrder, drains: trio.Nursery) -> ListedEntity | EntityRefused:
        listed = self.directory.listed[order.kind].get(order.name)
        if order.action == "create":
            return self._review.objection(order, None) or await self._put(order)
        if listed is None:
            why = f"no {WORDS[order.kind]} is named {order.name!r}"
            return refused(EntityRefusal.UNKNOWN, why)
        if order.action == "restart":
            return await self._restart(listed)
        if order.action == "remove" and listed.retiring:
            return listed
        if objection := self._review.objection_to_owner(order, listed):
            return objection
        if order.action == "remove":
            objection = await self._review.objection_to_removal(order, listed)
            return objection or await self._remove(listed, drains)
        return self._review.objection(order, listed) or await self._put(order)

    async def _put(self, order: EntityOrder) -> ListedEntity:
        assert order.entity is not None
        before = self.directory.listed[order.kind].get(order.name)
        row = row_of(order.entity, before.revision + 1 if before else 0, order.origin)
        await self.rows.put_entity(row)
        listed = await self._bring_about(of_row(row))
        self._tell(ConfigCreated if order.action == "create" else ConfigChanged, listed)
        self._warn([listed])
        await self._reconsider()
        return listed

    async def _restart(self, listed: ListedEntity) -> ListedEntity | EntityRefused:
        """Have run again what was parked."""
        if not listed.problems and not self.branches[listed.kind].is_parked(listed.name):
            return refused(EntityRefusal.CONFLICT, f"{listed.name!r} is not parked")
        if listed.entity is None:
            listed = self._review.now(listed)
        if listed.entity is None:
            return EntityRefused(EntityRefusal.CONFLICT, listed.problems)
        return await self._bring_about(msgspec.structs.replace(listed, problems=()))

    # --- the configuration file

    async def _reconfigure(self, order: EntitiesProposed, drains: trio.Nursery) -> EntitiesJudged:
        """Have run what the file lists now; return why not, or what becomes of what."""
        proposal = order.proposal
        if problems := self._review.objections_to_file(proposal):
            return EntitiesJudged(problems)
        judged = EntitiesJudged([], tuple(await self._review.effects(proposal)))
        if order.dry_run:
            return judged
        proposal.adopt()
        self.configured = proposal.entities  # first: a crash from here on ends in what is wanted
        for kind in KINDS:
            for entity in self.configured:
                if kind_of(entity) == kind:
                    await self._configure(of_file(entity))
        names = {(kind_of(entity), entity.name) for entity in self.configured}
        for kind in reversed(KINDS):
            for listed in list(self.directory.listed[kind].values()):
                is_gone = (kind, listed.name) not in names and listed.origin == "file"
                if is_gone and not listed.retiring:
                    await self._remove(listed, drains)
        await self._reconsider()
        listed_elsewhere = self.directory.listed["aetitle"].values()
        self._warn(one for one in listed_elsewhere if one.origin != "file")
        return judged

    async def _configure(self, listed: ListedEntity) -> None:
        now = self.directory.listed[listed.kind].get(listed.name)
        if now == listed:
            return
        if now is not None and now.retiring:
            await self.rows.remove_entity(listed.kind, listed.name)
        await self._bring_about(listed)
        self._tell(ConfigCreated if now is None else ConfigChanged, listed)

    # --- removal

    async def _remove(self, listed: ListedEntity, drains: trio.Nursery) -> ListedEntity:
        listed = msgspec.structs.replace(listed, retiring=True)
        await self.rows.put_entity(kept_row(listed))
        self.directory.enter(listed)
        self.branches[listed.kind].enter(listed)
        if not await self._has_gone(listed):
            self._tell(ConfigChanged, listed)
            drains.start_soon(self._drain, listed)
        return listed

    async def _drain(self, listed: ListedEntity) -> None:
        """Return when nothing is left of something removed, or it is not removed any more."""
        while True:
            await trio.sleep(DRAIN_LOOK_S)
            async with self._turn:
                now = self.directory.listed[listed.kind].get(listed.name)
                if now is None or not now.retiring or await self._has_gone(now):
                    return

    async def _has_gone(self, listed: ListedEntity) -> bool:
        """Let something removed go if nothing is left of it."""
        if await self.branches[listed.kind].left(listed):
            return False
        await self._forget(listed)
        self._tell(ConfigDeleted, listed)
        return True

    async def _forget(self, listed: ListedEntity) -> None:
        self.directory.leave(listed)  # first: after a crash only what has a row is brought back
        branch = self.branches[listed.kind]
        await branch.end(listed)
        await self.rows.remove_entity(listed.kind, listed.name)
        actor = branch.actor(listed.name)  # also if it was parked
        self.publish(ActorStopped(data=ActorFacts(actor=actor)))

    def _warn(self, entities: Iterable[ListedEntity]) -> None:
        """Say of which AE Titles jobs cannot run; it is no reason to refuse what senders bring."""
        for listed in entities:
            if isinstance(listed.entity, ApplicationEntity):
                for why in self.programs.problems(listed.entity):
                    log.warning("pipeline.unusable", entity=listed.name, why=why)

    def _tell(self, kind: type[ConfigEvent], listed: ListedEntity) -> None:
        facts = ConfigFacts(kind=listed.kind, name=listed.name, retiring=listed.retiring)
        event = kind(ae_title=listed.ae_title, data=facts)
        log.info(f"config.{event.verb}", ae_title=listed.ae_title, **event.facts)
        self.publish(event)
