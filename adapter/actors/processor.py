"""Processor: one per AE Title and processor that is configured for it.

Consumes: a hint that a group has closed. Produces: job folders, job rows, a hint to the submitter.
Owns: nothing but the group in hand. Rebuilds from: its closed groups on disk.
Restart policy: replica. The plug-in decides which jobs a group becomes; a crash of it is a crash of
this actor, and the group stays where it is. A group in hand at a crash comes last from then on, so
one that cannot be processed does not hold up the others before the actor is parked.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
import structlog
import trio
from msgspec import UNSET

from adapter.channels import notify, wait_woken
from adapter.domain.assignments import Assignment, owner_of
from adapter.domain.events import Publish
from adapter.domain.group_ports import InstanceStore
from adapter.domain.identifiers import job_id, job_name
from adapter.domain.job_events import JobFacts, JobOpened
from adapter.domain.messages import Wake
from adapter.domain.ports import Ledger, PayloadStore, WallClock
from adapter.domain.processors import JobSpec
from adapter.domain.records import Job, JobChange, StoredGroup
from adapter.domain.tables import JobState
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.processor")

POLL_S = 5.0
"""A lost hint, or a disk that failed, costs so much and no group."""


@dataclass(slots=True, kw_only=True)
class ProcessorActor:
    """Turns closed groups into jobs, each exactly once for each pipeline."""

    assignment: Assignment
    names: Sequence[str]
    """Of all the processors of the AE Title."""
    store: InstanceStore
    payloads: PayloadStore
    ledger: Ledger
    wake: trio.MemoryReceiveChannel[Wake]
    submitter_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    name: str
    _in_hand: str = ""
    _suspects: set[str] = field(default_factory=set)
    """Groups that were in hand at a crash."""
    _strays: dict[str, str] | None = None
    """Jobs that had a folder and no row when it began, and their groups; None: not looked yet."""
    _opened: frozenset[str] = frozenset()
    """Groups whose jobs were open then: they only wait for their removal."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        if self._in_hand:
            self._suspects.add(self._in_hand)
            self._in_hand = ""
        self._strays = None
        task_status.started()  # a group that crashes us must not keep the process from starting
        await self._process_closed()
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
        entity = self.assignment.entity
        try:
            found = await self.store.closed_groups(entity.ae_title)
            groups = [group for group in found if self._is_mine(group)]
            if self._strays is None:
                self._strays = await self._find_strays() if groups else {}
        except UnavailableError as error:
            log.warning("group.waiting", entity=entity.name, why=str(error))
            return
        waiting = {group.record.id for group in groups}
        self._suspects &= waiting
        for group in sorted(groups, key=lambda group: group.record.id in self._suspects):
            self._in_hand = group.record.id
            try:
                await self._process(group, waiting)
            except UnavailableError as error:  # the others may have more luck
                log.warning("group.waiting", entity=entity.name, group=group.record.id,
                            why=str(error))  # fmt: skip
            self._in_hand = ""

    def _is_mine(self, group: StoredGroup) -> bool:
        return owner_of(group.record.processor, self.names) == self.assignment.name

    async def _process(self, group: StoredGroup, waiting: Set[str]) -> None:
        """Open the group's jobs; doing it again after a crash changes nothing.

        Args:
            waiting: Ids of this group and others whose jobs are to be opened.
        """
        opened_at = self.now()
        is_new = group.instances and group.record.id not in self._opened
        specs = self.assignment.processor.jobs(group) if is_new else []
        jobs = [self._job(group, spec, opened_at) for spec in specs]
        named = {job.id for job in jobs} | {job.supplements for job in jobs}
        known = await self.ledger.known_jobs(named)
        if group.record.supplements not in waiting:  # its AE Title may have had other pipelines
            jobs = [_supplementing(job, known) for job in jobs]
        for job in jobs:
            if job.id not in known:
                await self.payloads.create_payload(job)
        for job in await self.ledger.open_jobs(jobs):
            self._tell(job)
        await self._remove_strays(group.record.id, {job.id for job in jobs})
        await self.store.remove_group(group.record.id)
        notify(self.submitter_wake)

    async def _find_strays(self) -> dict[str, str]:
        """Look what somebody before it has made of groups that are closed already."""
        self._opened = frozenset(job.group_id for job in await self.ledger.jobs())
        names = await self.payloads.folders()
        unknown = names - await self.ledger.known_jobs(names) if names else names
        return {job: await self.payloads.group_of(job) for job in sorted(unknown)}

    async def _remove_strays(self, group_id: str, wanted: Set[str]) -> None:
        """Remove folders made for jobs that the AE Title, as it is now, does not make of the group.

        They were begun by a processor that was exchanged, or killed before the settings changed.
        """
        for job, its_group in list((self._strays or {}).items()):
            if its_group == group_id and job not in wanted:
                await self.payloads.remove_payload(job)
                log.info("payload.dropped", job=job, group=group_id)

    def _job(self, group: StoredGroup, spec: JobSpec, opened_at: float) -> Job:
        entity, first = self.assignment.entity, group.record.supplements
        stamp = datetime.fromtimestamp(opened_at, UTC).strftime("%Y%m%d%H%M%S")
        return Job(
            id=job_id(group.record.id, spec.pipeline),
            group_id=group.record.id,
            ae_title=entity.ae_title,
            processor=self.assignment.label,
            name=job_name(entity.ae_title, spec.pipeline, stamp),
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
            destinations=tuple(entity.destinations),
            calling_ae_titles=group.record.calling_ae_titles,
            supplements=first and job_id(first, spec.pipeline),
        )

    def _tell(self, job: Job) -> None:
        log.info("job.opened", job=job.id, group=job.group_id, pipeline=job.pipeline,
                 instances=job.instances)  # fmt: skip
        facts = JobFacts(
            name=job.name,
            pipeline=job.pipeline,
            state=job.state,
            instances=job.instances,
            payload_bytes=job.payload_bytes,
            supplements=job.supplements or UNSET,
        )
        self.publish(JobOpened(ae_title=job.ae_title, group=job.group_id, job=job.id, data=facts))


def _supplementing(job: Job, known: Set[str]) -> Job:
    """Return a job without the first one that it names, if there is none."""
    if not job.supplements or job.supplements in known:
        return job
    return msgspec.structs.replace(job, supplements="")
