"""The program without its edges: settings become channels and actors under one nursery.

Simulations run it on fakes, `adapter.composition` makes the real thing. Consumers start before
sources. A stop closes channels in the order of the data: each actor meets the end of its input,
finishes the step in hand, and closes its output.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from adapter.actors.entity_directory import EntityDirectory
from adapter.actors.hub import EVENTS_MAX, Hub, Publisher
from adapter.actors.webhook import WebhookActor
from adapter.desk import OrderDesk
from adapter.domain.events import Event, Publish
from adapter.domain.measurements import Measurements
from adapter.domain.occupancy import Occupancy
from adapter.domain.queueing import QueueFigures
from adapter.domain.recovery import AS_IT_SHOULD_BE
from adapter.domain.service_times import measured
from adapter.domain.snapshot import Snapshot
from adapter.domain.subscriptions import Subscribe
from adapter.domain.system_events import StorageRebuilt
from adapter.domain.views import Views
from adapter.edges import Edges
from adapter.live_settings import LiveSettings
from adapter.relations import listening_ports, programs_of
from adapter.settings import Settings
from adapter.supervision import ESSENTIAL, REPLICA, list_in, supervise, watch_mailboxes
from adapter.wiring import Wiring

FAREWELL_S = 5.0
"""For hub and web to end after everything else has."""


async def gateway(
    live: LiveSettings,
    edges: Edges,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> bool:
    """Run until stop is set, then drain; return False if the drain was cut short.

    Raises:
        Exception: An actor could not start, or an essential one crashed over its budget.
    """
    settings, scp = live.settings, live.settings.dicom.scp
    await edges.store.recover()
    events, hub_events = trio.open_memory_channel[Event](EVENTS_MAX)
    publisher, measurements = Publisher(events), Measurements()
    publish = _beginning(edges, measured(publisher, measurements.times, trio.current_time))
    # The web side holds its ends to the last; the hub ends with its events, others with their work.
    desk = OrderDesk()
    snapshot, counts = Snapshot(), dict[str, int]()
    list_in(snapshot.roster)
    web_stop = trio.Event()
    occupancy, figures = _occupancy(live, edges), QueueFigures()
    hub = Hub(
        events=hub_events, subscriptions=desk.subscriptions_taken, new_id=edges.new_id,
        now=edges.now, snapshot=snapshot, counts=counts,
    )  # fmt: skip
    directory = EntityDirectory(scp.port, {port.serves for port in listening_ports(settings)})
    with events, desk:
        async with trio.open_nursery() as last:
            await _start_hub(last, hub, edges, desk.subscriptions, web_stop, publish)
            async with _receiving(edges, publish) as up, trio.open_nursery() as nursery:
                wiring = Wiring(
                    live=live, edges=edges, publish=publish, occupancy=occupancy, stop=stop,
                    nursery=nursery, desk=desk, figures=figures, directory=directory,
                    measurements=measurements, associations=snapshot.sections["associations"],
                )  # fmt: skip
                await wiring.start_all()
                if edges.web is not None:
                    views = _views_of(edges, live)(
                        snapshot=snapshot, event_counts=counts, occupancy=occupancy,
                        subscriptions=desk.subscriptions, orders=desk.jobs, figures=figures,
                        export_figures=desk.exports.figures, export_orders=desk.exports.given,
                        entities=directory.questions, task_orders=desk.tasks,
                        entity_orders=desk.entities, listed=directory.listed, stop=stop,
                        events_lost=lambda: publisher.lost, measurements=measurements,
                        reload_orders=desk.reloads, publish=publish, web_stop=web_stop,
                    )  # fmt: skip
                    await last.start(supervise, edges.web(views), ESSENTIAL, publish)
                await up.wait()
                task_status.started()
                await stop.wait()
                nursery.cancel_scope.deadline = trio.current_time() + settings.shutdown.deadline_s
            events.close()
            web_stop.set()
            last.cancel_scope.deadline = trio.current_time() + FAREWELL_S
    return not (nursery.cancel_scope.cancelled_caught or last.cancel_scope.cancelled_caught)


def _occupancy(live: LiveSettings, edges: Edges) -> Occupancy:
    """Return who is in, with limits that follow the configuration, and who was refused before."""
    scp = live.settings.dicom.scp
    occupancy = Occupancy(scp.max_associations, scp.max_half_open)
    occupancy.rejected.adopt(edges.rejections.all())

    def limit(settings: Settings) -> None:
        scp = settings.dicom.scp
        occupancy.limit(scp.max_associations, scp.max_half_open)

    live.follow(limit)
    return occupancy


def _beginning(edges: Edges, publish: Publish) -> Publish:
    """Tell what the start has found, before anything else is told."""
    if edges.found != AS_IT_SHOULD_BE:
        publish(StorageRebuilt(data=edges.found))
    return publish


async def _start_hub(
    nursery: trio.Nursery,
    hub: Hub,
    edges: Edges,
    subscriptions: trio.MemorySendChannel[Subscribe],
    stop: trio.Event,
    publish: Publish,
) -> None:
    """Start the hub, the webhooks that it tells, and the looks at mailboxes."""
    nursery.start_soon(watch_mailboxes, hub.snapshot.roster, stop)
    await nursery.start(supervise, hub, ESSENTIAL, publish)
    for one in edges.hooks.values():
        actor = WebhookActor(
            hook=one, subscriptions=subscriptions.clone(), now=edges.now, stop=stop
        )
        await nursery.start(supervise, actor, REPLICA, publish)


def _views_of(edges: Edges, live: LiveSettings) -> "partial[Views]":
    """Return views with what is known of the edges, and of the configuration."""
    settings = live.settings
    host = settings.dicom.scp.host
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to compare with
    port = getattr(edges.listeners.get("dicom.scp.port"), "port", settings.dicom.scp.port)
    return partial(
        Views, ledger=edges.ledger, found=edges.found, space=edges.space,
        requestor=edges.requestor, now=edges.now,
        certificate_expiries=edges.certificate_expiries, platform=edges.platform,
        receiver_loads=edges.receiver_loads, results_service=edges.results_service,
        storage=edges.storage_view, hooks=edges.hooks, calling_ae_title=settings.dicom.scu.ae_title,
        dicom_address=(loopback.get(host, host), port),
        survey=edges.survey, previews=edges.previews, configuration=live.in_force,
        programs=live.kept(programs_of),
    )  # fmt: skip


@asynccontextmanager
async def _receiving(edges: Edges, publish: Publish) -> AsyncIterator[trio.Event]:
    """Run the receiver processes as long as anything can ask for them; yield when they are up."""
    up = trio.Event()

    async def start(nursery: trio.Nursery) -> None:
        async with trio.open_nursery() as boot:
            for receiver in edges.receivers:
                boot.start_soon(nursery.start, supervise, receiver, REPLICA, publish)
        up.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start, nursery)
        yield up
        nursery.cancel_scope.cancel()
