"""Who is connected to whom: makes every channel and every actor of the program, and starts them."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import trio

from adapter.actors.certificates import Certificates
from adapter.actors.commitments import Commitments
from adapter.actors.committer import Committer, ReportRecorder
from adapter.actors.entities import Entities
from adapter.actors.entity_directory import EntityDirectory
from adapter.actors.export_places import ExportPlaces
from adapter.actors.exporter import Exporter
from adapter.actors.fallback_giver import FallbackGiver
from adapter.actors.hub import Publisher
from adapter.actors.listener import Listener
from adapter.actors.reclaimer import Reclaimer
from adapter.actors.results import ResultsActor
from adapter.actors.service_tasks import ServiceRules, ServiceTasks
from adapter.actors.sources import SourceAddresses
from adapter.actors.submitter import Submitter
from adapter.actors.tasks import TasksActor
from adapter.channels import CommitmentDoor, ExportDesk
from adapter.domain.admission import AdmissionPolicy
from adapter.domain.commitment import ReportRules
from adapter.domain.committing import CommitmentRules
from adapter.domain.entities import Destination, Source
from adapter.domain.entity_orders import EntityOrder
from adapter.domain.exporting import RetryRules
from adapter.domain.messages import (
    CommitmentQuestion,
    JobOrder,
    ReportEnded,
    Wake,
)
from adapter.domain.occupancy import Occupancy
from adapter.domain.queueing import QueueFigures
from adapter.domain.retention import Retention
from adapter.domain.tasks import TaskOrder
from adapter.edges import Edges
from adapter.entity_wiring import EntityRules, EntityStaff
from adapter.relations import ListeningPort, listening_ports
from adapter.settings import Settings
from adapter.supervision import ESSENTIAL, REPLICA, Actor, RestartPolicy, supervise


@dataclass(slots=True)
class Wiring:
    """Makes channels and actors, and starts them, consumers first."""

    settings: Settings
    edges: Edges
    publish: Publisher
    occupancy: Occupancy
    stop: trio.Event
    nursery: trio.Nursery
    orders: trio.MemoryReceiveChannel[JobOrder]
    figures: QueueFigures
    entity_orders: trio.MemoryReceiveChannel[EntityOrder]
    task_orders: trio.MemoryReceiveChannel[TaskOrder]
    directory: EntityDirectory
    desk: ExportDesk

    async def start_all(self) -> None:
        """Start everything; the ends this method made are closed by the actors that got them."""
        with ExitStack() as root:
            reclaimer_wake = await self._reclaimer(root)
            exporter_wakes = await self._exporters(reclaimer_wake)
            results_wake = await self._results(exporter_wakes, reclaimer_wake)
            await self._tasks(results_wake)
            await self._service_tasks(results_wake)
            submitter_wake = await self._submitter(root, results_wake)
            await self._entities(submitter_wake)
            commitments = await self._commitments(exporter_wakes)
            await self._listeners(commitments)

    async def _start(self, actor: Actor, policy: RestartPolicy) -> None:
        await self.nursery.start(supervise, actor, policy, self.publish)

    async def _reclaimer(self, root: ExitStack) -> trio.MemorySendChannel[Wake]:
        wake, woken = trio.open_memory_channel[Wake](1)
        root.enter_context(wake)
        edges, retention = self.edges, self.settings.storage.retention
        reclaimer = Reclaimer(
            ledger=edges.ledger, store=edges.store, payloads=edges.payloads, space=edges.space,
            wake=woken, publish=self.publish, now=edges.now,
            retention=Retention(retention.completed_s, retention.faulted_s),
        )  # fmt: skip
        await self._start(reclaimer, ESSENTIAL)
        return wake

    async def _exporters(
        self, reclaimer_wake: trio.MemorySendChannel[Wake]
    ) -> dict[str, trio.MemorySendChannel[Wake]]:
        edges, rules = self.edges, self.settings.dicom.scu.export
        asking = self.settings.dicom.scu.commitment
        committer = Committer(
            ledger=edges.ledger, recorder=self._recorder(), publish=self.publish,
            new_uid=edges.new_uid, now=edges.now,
            rules=CommitmentRules(
                wait_s=asking.wait_s, deadline_s=asking.deadline_s,
                max_retries=asking.max_retries, max_instances=asking.max_instances,
            ),
        )  # fmt: skip
        destinations = self.settings.destinations
        places = ExportPlaces(
            self.settings.dicom.scu.max_associations, [one.name for one in destinations]
        )
        ends = {one.name: trio.open_memory_channel[Wake](1) for one in destinations}
        wakes = {name: wake for name, (wake, _) in ends.items()}
        for one in destinations:
            exporter = Exporter(
                destination=one, ledger=edges.ledger, source=edges.results,
                requestor=edges.requestor, committer=committer, places=places,
                figures=self.desk.figures, wake=ends[one.name][1],
                orders=self.desk.taken[one.name], giver=self._giver(one, wakes),
                reclaimer_wake=reclaimer_wake.clone(), publish=self.publish, now=edges.now,
                draw=edges.draw, rules=RetryRules(rules.max_retries, rules.retry_delay_s),
                failure_threshold=rules.failure_threshold,
            )  # fmt: skip
            await self._start(exporter, REPLICA)
        return wakes

    def _giver(
        self, destination: Destination, wakes: Mapping[str, trio.MemorySendChannel[Wake]]
    ) -> FallbackGiver | None:
        if not destination.fallback:
            return None
        return FallbackGiver(
            fallback=destination.fallback, after_s=destination.fallback_after_s,
            wake=wakes[destination.fallback].clone(), ledger=self.edges.ledger,
            publish=self.publish, now=self.edges.now,
        )  # fmt: skip

    async def _results(
        self,
        exporter_wakes: dict[str, trio.MemorySendChannel[Wake]],
        reclaimer_wake: trio.MemorySendChannel[Wake],
    ) -> trio.MemorySendChannel[Wake]:
        wake, woken = trio.open_memory_channel[Wake](1)
        edges = self.edges
        results = ResultsActor(
            ledger=edges.ledger, source=edges.results, wake=woken, exporter_wakes=exporter_wakes,
            reclaimer_wake=reclaimer_wake.clone(), publish=self.publish, now=edges.now,
            own_agent=self.settings.dicom.scu.ae_title, destinations=self.settings.destinations,
        )  # fmt: skip
        await self._start(results, ESSENTIAL)
        return wake

    async def _service_tasks(self, results_wake: trio.MemorySendChannel[Wake]) -> None:
        edges, settings = self.edges, self.settings
        if edges.results_service is None:
            return
        results = settings.results
        export = settings.dicom.scu.export
        tasks = ServiceTasks(
            service=edges.results_service.service, files=edges.results_service.files,
            ledger=edges.ledger, space=edges.space,
            results_wake=results_wake.clone(), publish=self.publish, now=edges.now,
            stop=self.stop,
            rules=ServiceRules(
                agent=settings.dicom.scu.ae_title, poll_s=results.poll_ms / 1000,
                destinations=[destination.name for destination in settings.destinations],
                fetch_s=results.fetch_s, fetches=bool(results.files_url),
                failure_threshold=export.failure_threshold, max_retries=export.max_retries,
            ),
        )  # fmt: skip
        await self._start(tasks, REPLICA)

    async def _tasks(self, results_wake: trio.MemorySendChannel[Wake]) -> None:
        edges, settings = self.edges, self.settings
        tasks = TasksActor(
            ledger=edges.ledger, orders=self.task_orders, results_wake=results_wake.clone(),
            publish=self.publish, now=edges.now, own_agent=settings.dicom.scu.ae_title,
            destinations=[destination.name for destination in settings.destinations],
            report_s=settings.results.report_s, retry_delay_s=settings.results.retry_delay_s,
            stop=self.stop,
        )  # fmt: skip
        await self._start(tasks, ESSENTIAL)

    async def _submitter(
        self, root: ExitStack, results_wake: trio.MemorySendChannel[Wake]
    ) -> trio.MemorySendChannel[Wake]:
        wake, woken = trio.open_memory_channel[Wake](1)
        root.enter_context(wake)
        edges, platform = self.edges, self.settings.platform
        submitter = Submitter(
            ledger=edges.ledger, platform=edges.platform, payloads=edges.payloads, wake=woken,
            orders=self.orders, results_wake=results_wake, publish=self.publish, now=edges.now,
            rules=RetryRules(platform.max_retries, platform.retry_delay_s), draw=edges.draw,
            uploads=trio.CapacityLimiter(platform.parallel_uploads), figures=self.figures,
        )  # fmt: skip
        await self._start(submitter, ESSENTIAL)
        return wake

    async def _entities(self, submitter_wake: trio.MemorySendChannel[Wake]) -> None:
        edges, settings = self.edges, self.settings
        await self._start(
            Entities(
                configured=settings.application_entities, rows=edges.entities,
                rules=EntityRules(settings), directory=self.directory, store=edges.store,
                staff=EntityStaff(
                    edges=edges, publish=self.publish, nursery=self.nursery,
                    associations_max=self.occupancy.associations_max,
                    submitter_wake=submitter_wake.clone(),
                ),
                orders=self.entity_orders, publish=self.publish, stop=self.stop,
            ),
            ESSENTIAL,
        )  # fmt: skip

    def _recorder(self) -> ReportRecorder:
        edges = self.edges
        return ReportRecorder(ledger=edges.ledger, publish=self.publish, now=edges.now)

    async def _commitments(
        self, exporter_wakes: dict[str, trio.MemorySendChannel[Wake]]
    ) -> CommitmentDoor:
        edges, settings, scp = self.edges, self.settings, self.settings.dicom.scp
        requests_in, requests = trio.open_memory_channel[CommitmentQuestion](0)
        notes_in, notes = trio.open_memory_channel[ReportEnded](self.occupancy.associations_max)
        await self._start(
            Commitments(
                requests=requests, notes=notes, ledger=edges.ledger, held=edges.held,
                requestor=edges.requestor, destinations=settings.destinations,
                exporter_wakes={name: wake.clone() for name, wake in exporter_wakes.items()},
                recorder=self._recorder(), publish=self.publish, new_id=edges.new_id,
                now=edges.now, look_s=scp.answer_s / 2,
                rules=ReportRules(
                    deadline_s=scp.commitment.deadline_s,
                    retry_delay_s=scp.commitment.retry_delay_s,
                ),
            ),
            ESSENTIAL,
        )  # fmt: skip
        return CommitmentDoor(requests=requests_in, notes=notes_in)

    async def _listeners(self, commitments: CommitmentDoor) -> None:
        settings = self.settings
        reporters = [
            Source(ae_title=destination.ae_title, host=destination.host)
            for destination in settings.destinations
            if destination.storage_commitment
        ]
        edges, stop, expiries = self.edges, self.stop, self.edges.certificate_expiries
        sources = SourceAddresses(
            sources=[*settings.sources, *reporters], resolver=edges.resolver, stop=stop
        )
        await self._start(sources, REPLICA)
        if expiries():
            await self._start(Certificates(expiries=expiries, now=edges.now, stop=stop), REPLICA)
        for port in listening_ports(settings):
            await self._listener(port, commitments.clone(), sources, reporters)
        commitments.close()

    async def _listener(
        self,
        port: ListeningPort,
        commitments: CommitmentDoor,
        sources: SourceAddresses,
        reporters: Sequence[Source],
    ) -> None:
        settings, edges, scp = self.settings, self.edges, self.settings.dicom.scp
        hall = self.directory.halls[port.serves]
        policy = AdmissionPolicy(
            called_ae_titles=hall.limits,
            reject_unknown_sources=scp.reject_unknown_sources,
            sources=settings.sources, resolved=sources.addresses,
            verification_enabled=scp.verification.enabled,
            associations_max=scp.max_associations, per_source_max=scp.max_associations_per_source,
            reports_ae_title=settings.dicom.scu.ae_title.strip(), reporters=reporters,
        )  # fmt: skip
        listener = Listener(
            dimse=edges.listeners[port.key], policy=policy, occupancy=self.occupancy,
            doors=hall.doors, commitments=commitments,
            space=edges.space, identify=edges.identify, publish=self.publish, new_id=edges.new_id,
            stop=self.stop, artim_s=scp.artim_s, answer_s=scp.answer_s,
            association_grace_s=settings.shutdown.association_grace_s,
            name="listener" if port.key == "dicom.scp.port" else f"listener:{port.port}",
        )  # fmt: skip
        await self._start(listener, ESSENTIAL)
