"""Who is connected to whom: makes every channel and every actor of the program, and starts them."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import trio

from adapter.actors.ae_titles import AeTitles
from adapter.actors.commitments import Commitments
from adapter.actors.committer import Committer, ReportRecorder
from adapter.actors.configuration import Configuration
from adapter.actors.custom_resources import CustomResourcesActor
from adapter.actors.entities import Entities
from adapter.actors.entity_branch import Branch
from adapter.actors.entity_directory import EntityDirectory
from adapter.actors.export_destinations import ExportDestinations
from adapter.actors.export_places import ExportPlaces
from adapter.actors.held_exports import HeldExports
from adapter.actors.known_sources import KnownSources
from adapter.actors.reclaimer import Reclaimer
from adapter.actors.results import ResultsActor
from adapter.actors.service_tasks import ServiceRules, ServiceTasks
from adapter.actors.sources import SourceAddresses
from adapter.actors.submitter import Submitter
from adapter.actors.tasks import TasksActor
from adapter.channels import CommitmentDoor
from adapter.desk import OrderDesk
from adapter.domain.entities import ASSOCIATIONS_MAX
from adapter.domain.events import Publish
from adapter.domain.measurements import Measurements
from adapter.domain.messages import (
    CommitmentQuestion,
    ReportEnded,
    Wake,
)
from adapter.domain.occupancy import Occupancy
from adapter.domain.queueing import QueueFigures
from adapter.edges import Edges
from adapter.entity_rules import EntityRules
from adapter.entity_wiring import EntityStaff
from adapter.exporter_wiring import ExporterStaff, ExporterWakes
from adapter.listener_wiring import ListenerStaff
from adapter.live_settings import (
    LiveSettings,
    commitment_rules_of,
    export_rules_of,
    job_rules_of,
    report_rules_of,
    retention_of,
)
from adapter.relations import programs_of
from adapter.settings import Settings
from adapter.supervision import ESSENTIAL, REPLICA, Actor, RestartPolicy, supervise


@dataclass(slots=True, kw_only=True)
class Wiring:
    """Makes channels and actors, and starts them, consumers first."""

    live: LiveSettings
    edges: Edges
    publish: Publish
    occupancy: Occupancy
    stop: trio.Event
    nursery: trio.Nursery
    desk: OrderDesk
    figures: QueueFigures
    directory: EntityDirectory
    measurements: Measurements
    associations: Mapping[str, Mapping[str, Any]]
    """Of the snapshot."""

    @property
    def settings(self) -> Settings:
        """As at the start, if it is called there."""
        return self.live.settings

    async def start_all(self) -> None:
        """Start everything; the ends this method made are closed by the actors that got them."""
        with ExitStack() as root:
            reclaimer_wake = await self._reclaimer(root)
            results_wake, woken = trio.open_memory_channel[Wake](1)
            wakes = ExporterWakes()
            submitter_wake = await self._submitter(root, results_wake.clone())
            resolver_wake, sources_woken = trio.open_memory_channel[Wake](1)
            await self._entities(
                AeTitles(
                    staff=self._entity_staff(submitter_wake), directory=self.directory,
                    store=self.edges.store,
                ),
                KnownSources(resolver_wake=resolver_wake),
                ExportDestinations(
                    staff=self._exporter_staff(wakes, reclaimer_wake), ledger=self.edges.ledger,
                    results_wake=results_wake.clone(),
                ),
            )  # fmt: skip
            # Behind the entities: they have to know sources and destinations.
            await self._results(woken, wakes, reclaimer_wake)
            await self._tasks(results_wake)
            await self._service_tasks(results_wake)
            results_wake.close()
            commitments = await self._commitments(wakes)
            sources = await self._sources(sources_woken)
            await self._listener_staff(sources).start_all(commitments)
            await self._custom_resources()
            await self._configuration()

    async def _start(self, actor: Actor, policy: RestartPolicy) -> None:
        await self.nursery.start(supervise, actor, policy, self.publish)

    async def _reclaimer(self, root: ExitStack) -> trio.MemorySendChannel[Wake]:
        wake, woken = trio.open_memory_channel[Wake](1)
        root.enter_context(wake)
        edges = self.edges
        reclaimer = Reclaimer(
            ledger=edges.ledger, store=edges.store, payloads=edges.payloads, space=edges.space,
            wake=woken, publish=self.publish, now=edges.now, trend=self.measurements.trend,
            retention=self.live.kept(retention_of),
        )  # fmt: skip
        await self._start(reclaimer, ESSENTIAL)
        return wake

    def _exporter_staff(
        self, wakes: ExporterWakes, reclaimer_wake: trio.MemorySendChannel[Wake]
    ) -> ExporterStaff:
        edges, scu = self.edges, self.settings.dicom.scu
        committer = Committer(
            ledger=edges.ledger, recorder=self._recorder(), publish=self.publish,
            new_uid=edges.new_uid, now=edges.now,
            rules=self.live.kept(commitment_rules_of),
        )  # fmt: skip
        return ExporterStaff(
            edges=edges, rules=self.live.kept(export_rules_of), publish=self.publish,
            nursery=self.nursery, committer=committer,
            places=ExportPlaces(scu.max_associations), desk=self.desk.exports,
            wakes=wakes, reclaimer_wake=reclaimer_wake.clone(),
        )  # fmt: skip

    async def _results(
        self,
        woken: trio.MemoryReceiveChannel[Wake],
        wakes: ExporterWakes,
        reclaimer_wake: trio.MemorySendChannel[Wake],
    ) -> None:
        edges = self.edges
        results = ResultsActor(
            ledger=edges.ledger, source=edges.results, wake=woken, exporter_wakes=wakes.held(),
            reclaimer_wake=reclaimer_wake.clone(), publish=self.publish, now=edges.now,
            own_agent=self.settings.dicom.scu.ae_title,
            held=HeldExports(
                ledger=edges.ledger, destinations=self.directory.addressable,
                served=self.directory.destinations,
            ),
        )  # fmt: skip
        await self._start(results, ESSENTIAL)

    async def _service_tasks(self, results_wake: trio.MemorySendChannel[Wake]) -> None:
        edges = self.edges
        if edges.results_service is None:
            return

        def rules(settings: Settings) -> ServiceRules:
            results, export = settings.results, settings.dicom.scu.export
            return ServiceRules(
                agent=settings.dicom.scu.ae_title, poll_s=results.poll_ms / 1000,
                destinations=self.directory.addressable_names,
                fetch_s=results.fetch_s, fetches=bool(results.files_url),
                failure_threshold=export.failure_threshold, max_retries=export.max_retries,
            )  # fmt: skip

        tasks = ServiceTasks(
            service=edges.results_service.service, files=edges.results_service.files,
            ledger=edges.ledger, space=edges.space,
            results_wake=results_wake.clone(), publish=self.publish, now=edges.now,
            stop=self.stop,
            rules=self.live.kept(rules),
        )  # fmt: skip
        await self._start(tasks, REPLICA)

    async def _tasks(self, results_wake: trio.MemorySendChannel[Wake]) -> None:
        edges, settings = self.edges, self.settings
        tasks = TasksActor(
            ledger=edges.ledger, orders=self.desk.tasks_taken, results_wake=results_wake.clone(),
            publish=self.publish, now=edges.now, own_agent=settings.dicom.scu.ae_title,
            destinations=self.directory.addressable_names,
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
            orders=self.desk.jobs_taken, results_wake=results_wake, publish=self.publish,
            rules=self.live.kept(job_rules_of), draw=edges.draw, now=edges.now,
            uploads=trio.CapacityLimiter(platform.parallel_uploads), figures=self.figures,
        )  # fmt: skip
        await self._start(submitter, ESSENTIAL)
        return wake

    def _entity_staff(self, submitter_wake: trio.MemorySendChannel[Wake]) -> EntityStaff:
        return EntityStaff(
            edges=self.edges, publish=self.publish, nursery=self.nursery,
            associations_max=ASSOCIATIONS_MAX,
            submitter_wake=submitter_wake.clone(),
        )  # fmt: skip

    async def _entities(self, *branches: Branch) -> None:
        edges = self.edges
        await self._start(
            Entities(
                configured=self.live.entities(),
                rows=edges.entities, rules=EntityRules(self.live, edges.destination_files),
                branches={branch.kind: branch for branch in branches}, directory=self.directory,
                orders=self.desk.entities_taken, publish=self.publish, stop=self.stop,
                follows_cluster=edges.custom_resources is not None,
                programs=self.live.kept(programs_of),
            ),
            ESSENTIAL,
        )  # fmt: skip

    def _recorder(self) -> ReportRecorder:
        edges = self.edges
        return ReportRecorder(ledger=edges.ledger, publish=self.publish, now=edges.now)

    async def _commitments(self, wakes: ExporterWakes) -> CommitmentDoor:
        edges, scp = self.edges, self.settings.dicom.scp
        requests_in, requests = trio.open_memory_channel[CommitmentQuestion](0)
        notes_in, notes = trio.open_memory_channel[ReportEnded](ASSOCIATIONS_MAX)
        await self._start(
            Commitments(
                requests=requests, notes=notes, ledger=edges.ledger, held=edges.held,
                requestor=edges.requestor, destinations=self.directory.destinations,
                exporter_wakes=wakes.held(),
                recorder=self._recorder(), publish=self.publish, new_id=edges.new_id,
                now=edges.now, look_s=scp.answer_s / 2,
                rules=self.live.kept(report_rules_of),
            ),
            ESSENTIAL,
        )  # fmt: skip
        return CommitmentDoor(requests=requests_in, notes=notes_in)

    async def _custom_resources(self) -> None:
        if self.edges.custom_resources is None:
            return
        actor = CustomResourcesActor(
            cluster=self.edges.custom_resources, entities=self.desk.entities.clone(),
            listed=self.directory.listed, figures=self.measurements.cluster, publish=self.publish,
            retry_s=self.settings.kubernetes.retry_s, stop=self.stop,
        )  # fmt: skip
        await self._start(actor, REPLICA)

    async def _configuration(self) -> None:
        edges = self.edges
        if edges.configuration is None:
            self.desk.reloads_taken.close()
            return
        configuration = Configuration(
            source=edges.configuration, orders=self.desk.reloads_taken,
            entities=self.desk.entities.clone(),
            figures=self.measurements.reloads, publish=self.publish, now=edges.now, stop=self.stop,
        )  # fmt: skip
        await self._start(configuration, REPLICA)

    async def _sources(self, woken: trio.MemoryReceiveChannel[Wake]) -> SourceAddresses:
        sources = SourceAddresses(
            hosts=self.directory.hosts, resolver=self.edges.resolver, wake=woken, stop=self.stop
        )
        await self._start(sources, REPLICA)
        return sources

    def _listener_staff(self, sources: SourceAddresses) -> ListenerStaff:
        return ListenerStaff(
            live=self.live, edges=self.edges, publish=self.publish, occupancy=self.occupancy,
            directory=self.directory, addresses=sources.addresses, rows=self.associations,
            stop=self.stop, start=self._start,
        )  # fmt: skip
