"""What the web side is given: read-only views of the process, and channels to hub and submitter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import trio

from adapter.domain.dimse_ports import CertificateExpiries, ReceiverLoads, Requestor
from adapter.domain.effective_values import EffectiveValue
from adapter.domain.entity_orders import EntityOrder
from adapter.domain.entity_rows import Kind, ListedEntity
from adapter.domain.events import Publish
from adapter.domain.export_figures import ExportFigures
from adapter.domain.exporter_orders import ExporterOrder
from adapter.domain.measurements import Measurements
from adapter.domain.messages import EntityQuestion, JobOrder
from adapter.domain.occupancy import Occupancy
from adapter.domain.ports import Ledger, Platform, SpaceGauge, WallClock
from adapter.domain.previews import Previews
from adapter.domain.programs import Programs
from adapter.domain.queueing import QueueFigures
from adapter.domain.reconfiguration import EntitiesProposed, ReloadOrder
from adapter.domain.recovery import LedgerReport
from adapter.domain.results_service import ServiceEdges
from adapter.domain.snapshot import Snapshot
from adapter.domain.storage_view import StorageView
from adapter.domain.subscriptions import Subscribe
from adapter.domain.survey import Survey
from adapter.domain.tasks import TaskOrder
from adapter.domain.webhooks import HookEdges


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """Everything a handler may look at."""

    snapshot: Snapshot
    event_counts: dict[str, int]
    ledger: Ledger
    found: LedgerReport
    """How the ledger was found at the start."""
    space: SpaceGauge
    storage: StorageView
    occupancy: Occupancy
    subscriptions: trio.MemorySendChannel[Subscribe]
    orders: trio.MemorySendChannel[JobOrder]
    task_orders: trio.MemorySendChannel[TaskOrder]
    figures: QueueFigures
    export_orders: Mapping[str, trio.MemorySendChannel[ExporterOrder]]
    """By destination."""
    export_figures: ExportFigures
    entities: Mapping[str, trio.MemorySendChannel[EntityQuestion]]
    """By AE Title; closed when the adapter stops."""
    entity_orders: trio.MemorySendChannel[EntityOrder | EntitiesProposed]
    listed: Mapping[Kind, Mapping[str, ListedEntity]]
    """By name."""
    requestor: Requestor
    """For what an operator asks of a destination."""
    calling_ae_title: str
    """As what it is asked."""
    echoing: WeakValueDictionary[str, trio.Lock] = field(default_factory=WeakValueDictionary)
    """By destination."""
    publish: Publish
    stop: trio.Event
    web_stop: trio.Event
    now: WallClock
    events_lost: Callable[[], int]
    measurements: Measurements
    configuration: Callable[[], Sequence[EffectiveValue]]
    """What counts now."""
    reload_orders: trio.MemorySendChannel[ReloadOrder]
    certificate_expiries: CertificateExpiries
    receiver_loads: ReceiverLoads
    platform: Platform
    programs: Programs
    results_service: ServiceEdges | None
    hooks: HookEdges
    dicom_address: tuple[str, int]
    """Where AE Titles answer that have no port of their own: host and port, from here."""
    survey: Survey
    previews: Previews | None
    """None: nobody is to see pictures."""
