"""Exporter: one per destination.

Consumes: a hint that there are exports. Produces: associations to its destination, outcomes and
export states, a hint to the reclaimer. Owns: its queue (rows of the ledger), the pause before the
next try. Rebuilds from: the ledger. Restart policy: replica.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
import trio

from adapter.channels import aborted_on_cancel, notify, wait_woken
from adapter.domain.dimse_ports import OutboundAssociation, Requestor
from adapter.domain.entities import PRIORITY_ORDER, Destination
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
from adapter.domain.tables import ExportState, StepEvent
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
        for export in await self._mine(ExportState.SENDING):  # a crash of ours left these
            await self.ledger.change_export(export.id, StepEvent.INTERRUPT)
        task_status.started()
        while True:
            next_due = await self._send_due()
            try:
                await wait_woken(self.wake, min(next_due, trio.current_time() + POLL_S))
            except trio.EndOfChannel:
                return

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()
        self.reclaimer_wake.close()

    async def _mine(self, state: ExportState) -> list[Export]:
        exports = await self.ledger.exports(frozenset({state}))
        return [e for e in exports if e.destination == self.destination.name]

    async def _send_due(self) -> float:
        """Send what is due, most urgent first; return the clock time at which the next is due."""
        while not self._stopping():
            now = self.now()
            if now < self._again_at:
                return trio.current_time() + self._again_at - now
            waiting = await self._mine(ExportState.QUEUED)
            due = [export for export in waiting if export.due_at <= now]
            if not due:
                pauses = [export.due_at - now for export in waiting]
                return trio.current_time() + min(pauses, default=float("inf"))
            await self._send(min(due, key=lambda e: (PRIORITY_ORDER[e.priority], e.opened_at)))
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
            attempt = Attempt(stopped=self._stopping())
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
        left = [(o, files[o.file]) for o in pending if o.file in files]
        for contexts, load in association_loads(left, lambda pair: pair[1].context):
            if self._stopping():
                return
            async with self.requestor.associate(self.destination, contexts) as association:
                self._reached()
                async with aborted_on_cancel(association):
                    await self._send_batches(export, association, load)

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
        self._again_at = self.now() + outage_pause_s(self._outages, self.rules)
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
