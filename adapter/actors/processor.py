"""Processor: one per AE Title.

Consumes: a hint that a group has closed. Produces: job folders, job rows, a hint to the submitter.
Owns: nothing but the group in hand. Rebuilds from: the closed groups of its AE Title on disk.
Restart policy: replica. The plug-in decides which jobs a group becomes; a crash of it is a crash of
this actor, and the group stays where it is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
import trio

from adapter.channels import notify, wait_woken
from adapter.domain.entities import ApplicationEntity
from adapter.domain.events import Event, Publish
from adapter.domain.identifiers import job_id, job_name
from adapter.domain.messages import Wake
from adapter.domain.ports import InstanceStore, Ledger, PayloadStore, WallClock
from adapter.domain.processors import JobSpec, Processor
from adapter.domain.records import Job, JobChange, StoredGroup
from adapter.domain.tables import JobState
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.processor")

POLL_S = 5.0
"""A lost hint, or a disk that failed, costs so much and no group."""


@dataclass(slots=True, kw_only=True)
class ProcessorActor:
    """Turns closed groups into jobs, each exactly once for each pipeline."""

    entity: ApplicationEntity
    processor: Processor
    store: InstanceStore
    payloads: PayloadStore
    ledger: Ledger
    wake: trio.MemoryReceiveChannel[Wake]
    submitter_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    name: str = ""

    def __post_init__(self) -> None:
        self.name = f"processor:{self.entity.name}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        await self._process_closed()
        task_status.started()
        while True:
            try:
                await wait_woken(self.wake, trio.current_time() + POLL_S)
            except trio.EndOfChannel:
                await self._process_closed()
                return
            await self._process_closed()

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()
        self.submitter_wake.close()

    async def _process_closed(self) -> None:
        try:
            for group in await self.store.closed_groups(self.entity.ae_title):
                await self._process(group)
        except UnavailableError as error:
            log.warning("group.waiting", entity=self.entity.name, why=str(error))

    async def _process(self, group: StoredGroup) -> None:
        """Open the group's jobs; doing it again after a crash changes nothing."""
        opened_at = self.now()
        specs = self.processor.jobs(group) if group.instances else []
        jobs = [self._job(group, spec, opened_at) for spec in specs]
        known = await self.ledger.known_jobs({job.id for job in jobs})
        for job in jobs:
            if job.id not in known:
                await self.payloads.create_payload(job)
        for job in await self.ledger.open_jobs(jobs):
            self._tell(job)
        await self.store.remove_group(group.record.id)
        notify(self.submitter_wake)

    def _job(self, group: StoredGroup, spec: JobSpec, opened_at: float) -> Job:
        stamp = datetime.fromtimestamp(opened_at, UTC).strftime("%Y%m%d%H%M%S")
        return Job(
            id=job_id(group.record.id, spec.pipeline),
            group_id=group.record.id,
            ae_title=self.entity.ae_title,
            processor=self.processor.name,
            name=job_name(self.entity.ae_title, spec.pipeline, stamp),
            pipeline=spec.pipeline,
            pipeline_id=spec.pipeline_id,
            priority=spec.priority,
            opened_at=opened_at,
            queued_at=opened_at,
            changed_at=opened_at,
            history=(JobChange(JobState.QUEUED, opened_at),),
            retry_delay_s=spec.retry_delay_s,
            instances=group.instances,
            payload_bytes=group.payload_bytes,
            destinations=tuple(self.entity.destinations),
        )

    def _tell(self, job: Job) -> None:
        log.info("job.opened", job=job.id, group=job.group_id, pipeline=job.pipeline,
                 instances=job.instances)  # fmt: skip
        self.publish(
            Event(
                type="job.opened",
                ae_title=job.ae_title,
                group=job.group_id,
                job=job.id,
                data={
                    "name": job.name,
                    "pipeline": job.pipeline,
                    "state": job.state,
                    "instances": job.instances,
                    "bytes": job.payload_bytes,
                },
            )
        )
