"""Reclaimer: deletes what nothing holds any more, and watches the free space.

Consumes: a hint that a job or an export has ended. Produces: free space, `SpaceGauge.low`. Owns:
the rhythm of both. Rebuilds from: ledger and disk. Restart policy: essential.

A payload is held while its job is not terminal, its results are not collected, or an export or a
task of it is not completed. Then retention decides; when space is low, what is completed goes
before its time, what ended longest ago first, until there is space again.
"""

from dataclasses import dataclass

import structlog
import trio
from msgspec import UNSET

from adapter.channels import wait_woken
from adapter.domain.events import Publish
from adapter.domain.group_ports import InstanceStore
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger, PayloadStore, SpaceGauge, WallClock
from adapter.domain.records import Export, Job
from adapter.domain.retention import Retention, goes_when_space_is_low, hold_of
from adapter.domain.space_trend import SpaceTrend
from adapter.domain.system_events import (
    ReclaimedFacts,
    SpaceFacts,
    StorageLow,
    StorageReclaimed,
    StorageRecovered,
)
from adapter.domain.tasks import Task
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.reclaimer")

POLL_S = 5.0


@dataclass(slots=True, kw_only=True)
class Reclaimer:
    """Keeps the disk from filling up."""

    ledger: Ledger
    store: InstanceStore
    payloads: PayloadStore
    space: SpaceGauge
    wake: trio.MemoryReceiveChannel[Wake]
    publish: Publish
    now: WallClock
    retention: Retention
    trend: SpaceTrend
    name: str = "reclaimer"
    _hurry: bool = False
    """Space is what is missing: what may go at all goes at once."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        await self._measure()
        task_status.started()
        while True:
            await self._reclaim()
            await self._measure()
            try:
                await wait_woken(self.wake, trio.current_time() + POLL_S)
            except trio.EndOfChannel:
                await self._reclaim()
                return

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()

    async def _measure(self) -> None:
        was_low = self.space.low
        try:
            reading = await self.space.measure()
        except UnavailableError as error:
            log.error("storage.unreadable", why=str(error))
            return
        self._hurry = self.space.low and not self.space.fault
        self.trend.note(
            trio.current_time(), total_bytes=reading.total_bytes, free_bytes=reading.free_bytes,
            reserved_bytes=reading.reserved_bytes,
        )  # fmt: skip
        if self.space.low != was_low:
            facts = SpaceFacts(
                total_bytes=reading.total_bytes,
                free_bytes=reading.free_bytes,
                reserved_bytes=reading.reserved_bytes,
                why=self.space.fault or UNSET,
            )
            event = StorageLow(data=facts) if self.space.low else StorageRecovered(data=facts)
            log.warning(f"storage.{event.verb}", **event.facts)
            self.publish(event)

    async def _reclaim(self) -> None:
        exports: dict[str, list[Export]] = {}
        for export in await self.ledger.exports():
            exports.setdefault(export.job_id, []).append(export)
        now, early = self.now(), list[Job]()
        for job in await self.ledger.jobs():
            mine: list[Export | Task] = [
                *exports.get(job.id, []),
                *self.ledger.tasks.of_job(job.id),
            ]
            hold = hold_of(job, mine, self.retention, now)
            if hold is None:
                await self._try_to_remove(job)
            elif goes_when_space_is_low(hold):
                early.append(job)
        for job in sorted(early, key=lambda job: job.changed_at):
            if self._hurry:
                await self._measure()
            if not self._hurry:
                return
            await self._try_to_remove(job)

    async def _try_to_remove(self, job: Job) -> None:
        try:
            await self._remove(job)
        except UnavailableError as error:
            if (await self.ledger.job(job.id)).error != str(error):  # it is tried again and again
                log.error("payload.not_removed", job=job.id, why=str(error))
                await self.ledger.note_job(job.id, error=str(error))

    async def _remove(self, job: Job) -> None:
        if not await self.ledger.condemn_job(job):
            return  # somebody has resubmitted it meanwhile
        # Files first: a row without a folder is harmless, a folder without a row is a riddle. And
        # its group before all: jobs of a group open in one transaction, so a closed group that is
        # still there only waits for its removal, and must not become jobs a second time.
        await self.store.remove_group(job.group_id)
        freed = await self.payloads.remove_payload(job.id)
        await self.ledger.remove_job(job.id)
        self.publish(
            StorageReclaimed(
                ae_title=job.ae_title,
                group=job.group_id,
                job=job.id,
                data=ReclaimedFacts(freed_bytes=freed),
            )
        )
