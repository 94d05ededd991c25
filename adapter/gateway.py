"""The program without its edges: settings become channels and actors under one nursery.

Simulations run it on fakes, `adapter.main` on the real thing. Consumers start before sources. A
stop closes channels in the order of the data: each actor meets the end of its input, finishes the
step in hand, and closes its output.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import trio

from adapter.actors.entity import ATTRIBUTES, ApplicationEntityActor
from adapter.actors.exporter import Exporter
from adapter.actors.hub import EVENTS_MAX, Hub, Publisher
from adapter.actors.listener import Listener
from adapter.actors.processor import ProcessorActor
from adapter.actors.reclaimer import Reclaimer
from adapter.actors.results import ResultsActor
from adapter.actors.sources import SourceAddresses
from adapter.actors.submitter import Submitter
from adapter.channels import EntityDoor
from adapter.domain.admission import AdmissionPolicy
from adapter.domain.dimse_ports import DimseListener, IdentityCheck, Requestor
from adapter.domain.entities import ApplicationEntity
from adapter.domain.events import Event
from adapter.domain.exporting import RetryRules
from adapter.domain.identifiers import NewId
from adapter.domain.messages import EntityNote, StoreRequest, Subscribe, Wake
from adapter.domain.occupancy import Occupancy
from adapter.domain.ports import (
    InstanceStore,
    Ledger,
    PayloadStore,
    Platform,
    Resolver,
    ResultSource,
    SpaceGauge,
    WallClock,
)
from adapter.domain.processors import load_processor
from adapter.domain.retention import Retention
from adapter.domain.snapshot import Snapshot
from adapter.domain.views import Views
from adapter.settings import ListeningPort, Settings, listening_ports
from adapter.supervision import ESSENTIAL, REPLICA, Actor, RestartPolicy, supervise

NOTES_PER_ASSOCIATION = 4
"""Notes of an association that may wait for its entity; it tells at most one every 50 ms."""
FAREWELL_S = 5.0
"""For hub and web to end after everything else has."""


class WebFactory(Protocol):
    """Makes the web actor once the parts it shows exist."""

    def __call__(self, views: Views, /) -> Actor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Everything outside: real in `serve`, fake in a simulation."""

    listeners: Mapping[str, DimseListener]
    """By the key of their `ListeningPort`."""
    identify: IdentityCheck
    requestor: Requestor
    resolver: Resolver
    store: InstanceStore
    payloads: PayloadStore
    space: SpaceGauge
    ledger: Ledger
    platform: Platform
    results: ResultSource
    web: WebFactory | None
    new_id: NewId
    now: WallClock


async def gateway(
    settings: Settings,
    edges: Edges,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> bool:
    """Run until stop is set, then drain; return False if the drain was cut short.

    Raises:
        Exception: An actor could not start, or an essential one crashed over its budget.
    """
    await edges.store.recover()
    events, hub_events = trio.open_memory_channel[Event](EVENTS_MAX)
    publish = Publisher(events)
    # The web side holds its end as long as the process lives; the hub ends with its events.
    subscriptions_in, subscriptions = trio.open_memory_channel[Subscribe](0)
    snapshot, counts, web_stop = Snapshot(), dict[str, int](), trio.Event()
    scp = settings.dicom.scp
    occupancy = Occupancy(scp.max_associations, scp.max_half_open)
    hub = Hub(
        events=hub_events, subscriptions=subscriptions, new_id=edges.new_id, now=edges.now,
        snapshot=snapshot, counts=counts,
    )  # fmt: skip
    with events, subscriptions_in:
        async with trio.open_nursery() as last:
            await last.start(supervise, hub, ESSENTIAL, publish)
            async with trio.open_nursery() as nursery:
                await _Wiring(settings, edges, publish, occupancy, stop, nursery).start_all()
                if edges.web is not None:
                    views = Views(
                        snapshot=snapshot, event_counts=counts, ledger=edges.ledger,
                        space=edges.space, occupancy=occupancy, subscriptions=subscriptions_in,
                        stop=stop, web_stop=web_stop, now=edges.now,
                        events_lost=lambda: publish.lost,
                    )  # fmt: skip
                    await last.start(supervise, edges.web(views), ESSENTIAL, publish)
                task_status.started()
                await stop.wait()
                nursery.cancel_scope.deadline = trio.current_time() + settings.shutdown.deadline_s
            events.close()
            web_stop.set()
            last.cancel_scope.deadline = trio.current_time() + FAREWELL_S
    return not (nursery.cancel_scope.cancelled_caught or last.cancel_scope.cancelled_caught)


@dataclass(slots=True)
class _Wiring:
    """Makes channels and actors, and starts them, consumers first."""

    settings: Settings
    edges: Edges
    publish: Publisher
    occupancy: Occupancy
    stop: trio.Event
    nursery: trio.Nursery

    async def start_all(self) -> None:
        """Start everything; the ends this method made are closed by the actors that got them."""
        with ExitStack() as root:
            reclaimer_wake = await self._reclaimer(root)
            exporter_wakes = await self._exporters(reclaimer_wake)
            results_wake = await self._results(exporter_wakes, reclaimer_wake)
            submitter_wake = await self._submitter(root, results_wake)
            doors = {}
            for entity in self.settings.application_entities:
                doors[entity.ae_title.strip()] = await self._entity(entity, submitter_wake)
            await self._listeners(doors)

    async def _start(self, actor: Actor, policy: RestartPolicy) -> None:
        await self.nursery.start(supervise, actor, policy, self.publish)

    async def _reclaimer(self, root: ExitStack) -> trio.MemorySendChannel[Wake]:
        wake, woken = trio.open_memory_channel[Wake](1)
        root.enter_context(wake)
        edges, retention = self.edges, self.settings.storage.retention
        reclaimer = Reclaimer(
            ledger=edges.ledger, store=edges.store, payloads=edges.payloads, space=edges.space,
            wake=woken, publish=self.publish, now=edges.now,
            retention=Retention(
                completed_s=retention.completed_s, faulted_s=retention.faulted_s
            ),
        )  # fmt: skip
        await self._start(reclaimer, ESSENTIAL)
        return wake

    async def _exporters(
        self, reclaimer_wake: trio.MemorySendChannel[Wake]
    ) -> dict[str, trio.MemorySendChannel[Wake]]:
        edges, rules = self.edges, self.settings.dicom.scu.export
        wakes = {}
        for destination in self.settings.destinations:
            wakes[destination.name], woken = trio.open_memory_channel[Wake](1)
            exporter = Exporter(
                destination=destination, ledger=edges.ledger, source=edges.results,
                requestor=edges.requestor, wake=woken, reclaimer_wake=reclaimer_wake.clone(),
                publish=self.publish, now=edges.now,
                rules=RetryRules(
                    max_retries=rules.max_retries, retry_delay_s=rules.retry_delay_s
                ),
            )  # fmt: skip
            await self._start(exporter, REPLICA)
        return wakes

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
        )  # fmt: skip
        await self._start(results, ESSENTIAL)
        return wake

    async def _submitter(
        self, root: ExitStack, results_wake: trio.MemorySendChannel[Wake]
    ) -> trio.MemorySendChannel[Wake]:
        wake, woken = trio.open_memory_channel[Wake](1)
        root.enter_context(wake)
        edges, platform = self.edges, self.settings.platform
        submitter = Submitter(
            ledger=edges.ledger, platform=edges.platform, wake=woken, results_wake=results_wake,
            publish=self.publish, now=edges.now, max_retries=platform.max_retries,
            retry_delay_s=platform.retry_delay_s,
            uploads=trio.CapacityLimiter(platform.parallel_uploads),
        )  # fmt: skip
        await self._start(submitter, ESSENTIAL)
        return wake

    async def _entity(
        self, entity: ApplicationEntity, submitter_wake: trio.MemorySendChannel[Wake]
    ) -> EntityDoor:
        edges, publish = self.edges, self.publish
        processor = load_processor(entity)
        wake, woken = trio.open_memory_channel[Wake](1)
        await self._start(
            ProcessorActor(
                entity=entity, processor=processor, store=edges.store, payloads=edges.payloads,
                ledger=edges.ledger, wake=woken, submitter_wake=submitter_wake.clone(),
                publish=publish, now=edges.now,
            ),
            REPLICA,
        )  # fmt: skip
        requests_in, requests = trio.open_memory_channel[StoreRequest](0)
        capacity = NOTES_PER_ASSOCIATION * self.occupancy.associations_max
        notes_in, notes = trio.open_memory_channel[EntityNote](capacity)
        await self._start(
            ApplicationEntityActor(
                entity=entity, processor=processor, store=edges.store, space=edges.space,
                requests=requests, notes=notes, processor_wake=wake, publish=publish,
                new_id=edges.new_id, now=edges.now,
            ),
            REPLICA,
        )  # fmt: skip
        return EntityDoor(
            requests=requests_in,
            notes=notes_in,
            attributes=ATTRIBUTES | processor.attributes,
            grouping=processor.attributes,
        )

    async def _listeners(self, doors: dict[str, EntityDoor]) -> None:
        settings = self.settings
        sources = SourceAddresses(
            sources=settings.sources, resolver=self.edges.resolver, stop=self.stop
        )
        await self._start(sources, REPLICA)
        for port in listening_ports(settings):
            await self._listener(port, doors, sources)

    async def _listener(
        self, port: ListeningPort, doors: dict[str, EntityDoor], sources: SourceAddresses
    ) -> None:
        settings, edges, scp = self.settings, self.edges, self.settings.dicom.scp
        policy = AdmissionPolicy(
            called_ae_titles={e.ae_title.strip(): e.max_associations for e in port.entities},
            reject_unknown_sources=scp.reject_unknown_sources,
            sources=settings.sources,
            resolved=sources.addresses,
            verification_enabled=scp.verification.enabled,
            associations_max=scp.max_associations,
            per_source_max=scp.max_associations_per_source,
        )
        listener = Listener(
            dimse=edges.listeners[port.key], policy=policy, occupancy=self.occupancy,
            doors={title: doors[title] for title in policy.called_ae_titles},
            space=edges.space, identify=edges.identify, publish=self.publish, new_id=edges.new_id,
            stop=self.stop, artim_s=scp.artim_s, answer_s=scp.answer_s,
            association_grace_s=settings.shutdown.association_grace_s,
            name="listener" if port.key == "dicom.scp.port" else f"listener:{port.port}",
        )  # fmt: skip
        await self._start(listener, ESSENTIAL)
