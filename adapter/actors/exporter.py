"""Exporter: one per destination.

Consumes: a hint that there are exports, or reports about them. Produces: associations to its
destination, outcomes and export states, a hint to the reclaimer. Owns: its queue (rows of the
ledger), the pause before the next try. Rebuilds from: the ledger. Restart policy: replica.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
import trio
from msgspec import structs

from adapter.actors.committer import Committer
from adapter.channels import aborted_on_cancel, notify, wait_woken
from adapter.domain.commitment import COMMITMENT_CONTEXT
from adapter.domain.dimse_ports import Context, OutboundAssociation, Requestor
from adapter.domain.entities import DIMSE_PRIORITY, PRIORITY_ORDER, Destination
from adapter.domain.events import Event, Publish
from adapter.domain.exporting import (
    Attempt,
    RetryRules,
    association_loads,
    outage_pause_s,
    outcome_after,
    verdict,
)
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger, ResultSource, WallClock
from adapter.domain.records import Export, Outcome, OutgoingInstance
from adapter.domain.tables import EXPORT_WAITING, EXPORT_WORKING, ExportState, StepEvent
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.exporter")

POLL_S = 5.0
BATCH = 16
"""Instances handed to the association's thread at once; a stop waits for so many at the most."""


@dataclass(slots=True, kw_only=True)
class Exporter:
    """Sends exports to one destination, and retries only what was not delivered."""

    destination: Destination
    ledger: Ledger
    source: ResultSource
    requestor: Requestor
    committer: Committer
    wake: trio.MemoryReceiveChannel[Wake]
    reclaimer_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    rules: RetryRules
    name: str = ""
    _outages: int = 0
    """Tries in a row that did not reach the destination."""
    _again_at: float = 0.0
    """Wall time before which the destination is left alone."""
    _up: bool | None = field(default=None)

    def __post_init__(self) -> None:
        self.name = f"exporter:{self.destination.name}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        for export in await self._mine(EXPORT_WORKING):  # a crash of ours left these
            await self.ledger.change_export(export.id, StepEvent.INTERRUPT)
        task_status.started()
        while True:
            next_due = await self._work()
            try:
                await wait_woken(self.wake, min(next_due, trio.current_time() + POLL_S))
            except trio.EndOfChannel:
                return

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()
        self.reclaimer_wake.close()

    async def _mine(self, states: frozenset[ExportState]) -> list[Export]:
        exports = await self.ledger.exports(states)
        return [e for e in exports if e.destination == self.destination.name]

    async def _work(self) -> float:
        """Do what is due, most urgent first; return the clock time at which the next is due."""
        while not self._stopping():
            report_due_at = await self._take_reported()
            now = self.now()
            if now < self._again_at:
                return trio.current_time() + min(self._again_at, report_due_at) - now
            waiting = await self._mine(EXPORT_WAITING)
            due = [export for export in waiting if export.due_at <= now]
            if not due:
                next_due_at = min([report_due_at, *(export.due_at for export in waiting)])
                return trio.current_time() + next_due_at - now
            export = min(due, key=lambda e: (PRIORITY_ORDER[e.priority], e.opened_at))
            step = self._send if export.state is ExportState.QUEUED else self._commit
            await step(export)
        return trio.current_time()

    def _stopping(self) -> bool:
        return self.wake.statistics().open_send_channels == 0

    async def _send(self, export: Export) -> None:
        await self._change(export, StepEvent.BEGIN)
        outcomes = await self.ledger.outcomes(export.id)
        attempt = Attempt()
        try:
            results = await self.source.results(export.job_id)
            pending = [o for o in outcomes if not o.delivered and not o.permanent]
            await self._send_all(export, pending, results.files)
            attempt = Attempt(stopped=self._stopping(), commits=self.destination.storage_commitment)
        except UnavailableError as error:
            attempt = Attempt(unreachable=str(error))
        await self._conclude(export, await self.ledger.outcomes(export.id), attempt)

    async def _send_all(
        self,
        export: Export,
        pending: Sequence[Outcome],
        files: Mapping[str, OutgoingInstance],
    ) -> None:
        """Send in as many associations as the number of presentation contexts asks for."""
        missing = [o for o in pending if o.file not in files]
        await self._record(export, [outcome_after(o, None, self.now()) for o in missing])
        priority = DIMSE_PRIORITY[export.priority]
        left = [
            (o, structs.replace(files[o.file], priority=priority))
            for o in pending
            if o.file in files
        ]
        beside = [COMMITMENT_CONTEXT] if self.destination.storage_commitment else []
        for contexts, load in association_loads(left, lambda pair: pair[1].context, beside):
            if self._stopping():
                return
            async with self._associated(contexts) as association:
                await self._send_batches(export, association, load)
                if association.accepted(COMMITMENT_CONTEXT) and await self._all_delivered(export):
                    await self.committer.ask(export, association, self._stopping)

    @asynccontextmanager
    async def _associated(self, contexts: Sequence[Context]) -> AsyncIterator[OutboundAssociation]:
        async with self.requestor.associate(self.destination, contexts) as association:
            self._reached()
            async with aborted_on_cancel(association):
                yield association

    async def _all_delivered(self, export: Export) -> bool:
        return all(outcome.delivered for outcome in await self.ledger.outcomes(export.id))

    async def _send_batches(
        self,
        export: Export,
        association: OutboundAssociation,
        load: Sequence[tuple[Outcome, OutgoingInstance]],
    ) -> None:
        for first in range(0, len(load), BATCH):
            if self._stopping():
                return
            await self._send_batch(export, association, load[first : first + BATCH])

    async def _send_batch(
        self,
        export: Export,
        association: OutboundAssociation,
        batch: Sequence[tuple[Outcome, OutgoingInstance]],
    ) -> None:
        results = await association.store([instance for _, instance in batch])
        at = self.now()
        await self._record(
            export,
            [outcome_after(o, result, at) for (o, _), result in zip(batch, results, strict=True)],
        )

    async def _record(self, export: Export, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        await self.ledger.record_outcomes(outcomes)
        self._tell(
            "export.sent",
            export,
            delivered=sum(o.delivered for o in outcomes),
            failed=sum(not o.delivered for o in outcomes),
            errors=sorted({o.error for o in outcomes if o.error})[:3],
        )

    async def _conclude(
        self, export: Export, outcomes: Sequence[Outcome], attempt: Attempt
    ) -> None:
        """Decide what follows an attempt: done, again later, or held for an operator."""
        if attempt.unreachable:
            self._lost(attempt.unreachable)
        event, changes = verdict(export, outcomes, attempt, self.rules, self.now())
        await self._end(export, event, **changes)

    # --- storage commitment

    async def _commit(self, export: Export) -> None:
        """Ask for storage commitment on a new association, unless it has been asked for."""
        if not self.destination.storage_commitment:  # not wanted any more
            await self._change(export, StepEvent.BEGIN)
            await self._end(export, StepEvent.SUCCEED)
            return
        await self._change(export, StepEvent.BEGIN)
        outcomes = await self.ledger.outcomes(export.id)
        if all(o.committed for o in outcomes) or await self.committer.open_transactions(export):
            return
        try:
            async with self._associated([COMMITMENT_CONTEXT]) as association:
                await self.committer.ask(export, association, self._stopping)
        except UnavailableError as error:
            self._lost(str(error))
            await self._end(export, StepEvent.INTERRUPT, error=str(error))

    async def _take_reported(self) -> float:
        """Decide what follows where no report is due any more; return when the next one is."""
        next_due_at = float("inf")
        for export in await self._mine(frozenset({ExportState.COMMITTING})):
            follows = await self.committer.verdict(export, self.rules)
            if isinstance(follows, float):
                next_due_at = min(next_due_at, follows)
            else:
                await self._end(export, follows[0], **follows[1])
        return next_due_at

    # --- the row

    async def _end(self, export: Export, event: StepEvent, **changes: object) -> None:
        """End a step of an export, and let the reclaimer look what that sets free."""
        changed = await self._change(export, event, **changes)
        if changed.error:
            log.warning("export.undelivered", export=export.id, destination=self.destination.name,
                        state=changed.state, error=changed.error)  # fmt: skip
        notify(self.reclaimer_wake)

    async def _change(self, export: Export, event: StepEvent, **changes: object) -> Export:
        changed = await self.ledger.change_export(export.id, event, **changes)
        verb = {ExportState.COMPLETED: "completed", ExportState.FAILED: "failed"}.get(
            changed.state, "state"
        )
        self._tell(f"export.{verb}", changed)
        return changed

    # --- the destination

    def _reached(self) -> None:
        self._outages = 0
        if self._up is not True:
            self._up = True
            self.publish(Event(type="destination.up", destination=self.destination.name))

    def _lost(self, why: str) -> None:
        self._outages += 1
        self._again_at = self.now() + outage_pause_s(self._outages, self.rules.retry_delay_s)
        if self._up is not False:
            self._up = False
            self.publish(
                Event(type="destination.down", destination=self.destination.name, data={"why": why})
            )

    def _tell(self, kind: str, export: Export, **data: object) -> None:
        facts = {
            "state": export.state,
            "instances": export.instances,
            "sent": export.sent,
            "failed": export.failed,
            "committed": export.committed,
            "error": export.error,
        }
        self.publish(
            Event(
                type=kind,
                job=export.job_id,
                export=export.id,
                destination=export.destination,
                data={**facts, **data},
            )
        )
