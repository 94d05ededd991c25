"""Configuration: reads it again while the adapter runs, and has it count.

Consumes: ReloadOrder, changes of the file. Produces: answers, EntitiesProposed, `config` events.
Owns: when settings are exchanged. Rebuilds from: the file; what counts outlives it. Restart policy:
replica: without it everything stays as it is.

A configuration is taken as a whole or refused as a whole: first everybody is asked who may object,
then it counts, then the entities actor has run what it lists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
import trio

from adapter.channels import UNANSWERED, answer, ask
from adapter.domain.events import Publish
from adapter.domain.ports import WallClock
from adapter.domain.reconfiguration import (
    ConfigurationSource,
    EntitiesJudged,
    EntitiesProposed,
    Plan,
    Proposal,
    ReloadFigures,
    ReloadOrder,
    ReloadRefused,
)
from adapter.domain.system_events import (
    ConfigChanged,
    ConfigFacts,
    ConfigProblems,
    ConfigRefused,
)
from adapter.errors import ConfigurationError

log = structlog.get_logger("adapter.configuration")

ENTITIES_S = 60.0
"""For the entities actor to have all run; each exporter may take 2 s to hand over."""


@dataclass(slots=True, kw_only=True)
class Configuration:
    """Exchanges the settings."""

    source: ConfigurationSource
    orders: trio.MemoryReceiveChannel[ReloadOrder]
    entities: trio.MemorySendChannel[EntitiesProposed]
    figures: ReloadFigures
    publish: Publish
    now: WallClock
    stop: trio.Event
    name: str = "configuration"
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._obey)
            task_status.started()
            await self.stop.wait()
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """See `Actor.close`."""
        self.orders.close()
        self.entities.close()

    async def _follow(self) -> None:
        while True:
            by = await self.source.wait_changed()
            done = await self._reload(by)
            if isinstance(done, ReloadRefused):
                await self.source.note_refused(by, done.problems)

    async def _obey(self) -> None:
        async for order in self.orders:
            with order.reply:
                done = self._plan(order.document) if order.dry_run else self._reload(order.by)
                answer(order.reply, await done)

    async def _plan(self, document: Mapping[str, Any] | None) -> Plan | ReloadRefused:
        """Return what would change."""
        async with self._turn:
            try:
                proposal = await self.source.plan(document)
                judged = await self._propose(proposal, dry_run=True)
            except ConfigurationError as error:
                return ReloadRefused(tuple(error.problems))
            if judged.problems:
                return ReloadRefused(tuple(judged.problems))
            return _plan(proposal, judged, applied=False)

    async def _reload(self, by: str) -> Plan | ReloadRefused:
        async with self._turn:
            try:
                proposal = await self.source.read()
                judged = await self._propose(proposal, dry_run=False)
            except ConfigurationError as error:
                judged = EntitiesJudged(error.problems)
            problems = judged.problems
            self.figures.at, self.figures.succeeded = self.now(), not problems
            if problems:
                return self._refuse(problems)
            plan = _plan(proposal, judged, applied=True)
            await self.source.note(by)
            self._tell(plan)
            return plan

    async def _propose(self, proposal: Proposal, *, dry_run: bool) -> EntitiesJudged:
        """Return what is wrong with it; nothing: it counts, unless it is only a question."""

        def proposed(reply: trio.MemorySendChannel[EntitiesJudged]) -> EntitiesProposed:
            return EntitiesProposed(proposal=proposal, dry_run=dry_run, reply=reply)

        try:
            return await ask(self.entities, proposed, ENTITIES_S)
        except UNANSWERED:
            return EntitiesJudged(["nobody answers now; look, and reload again"])

    def _refuse(self, problems: Sequence[str]) -> ReloadRefused:
        log.error("config.refused", problems=problems)
        self.publish(ConfigRefused(data=ConfigProblems(problems=list(problems))))
        return ReloadRefused(tuple(problems))

    def _tell(self, plan: Plan) -> None:
        keys, restart = plan.keys(restart=False), plan.keys(restart=True)
        log.info("config.reloaded", keys=keys, restart=restart)
        for why in plan.warnings:
            log.warning("pipeline.unusable", why=why)
        if plan.changes:
            facts = ConfigFacts(kind="file", keys=keys, restart=restart)
            self.publish(ConfigChanged(data=facts))


def _plan(proposal: Proposal, judged: EntitiesJudged, *, applied: bool) -> Plan:
    return Plan(
        changes=proposal.changes, entities=judged.effects, warnings=proposal.warnings,
        applied=applied,
    )  # fmt: skip
