"""What the program needs from outside: real in `serve`, fake in a simulation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapter.domain.addresses import Resolver
from adapter.domain.carriers import DestinationFiles
from adapter.domain.custom_resources import ClusterEdges
from adapter.domain.dimse_ports import (
    CertificateExpiries,
    CertificateTroubles,
    DimseListener,
    IdentityCheck,
    ReceiverLoads,
    Requestor,
)
from adapter.domain.entity_rows import EntityLedger
from adapter.domain.group_ports import InstanceStore
from adapter.domain.identifiers import NewId, NewUid
from adapter.domain.ports import (
    HeldInstances,
    Ledger,
    PayloadStore,
    Platform,
    ResultSource,
    SpaceGauge,
    WallClock,
)
from adapter.domain.previews import Previews
from adapter.domain.queueing import Draw
from adapter.domain.reconfiguration import ConfigurationSource
from adapter.domain.recovery import AS_IT_SHOULD_BE, LedgerReport
from adapter.domain.rejections import RejectionLedger
from adapter.domain.results_service import ServiceEdges
from adapter.domain.storage_view import NO_STORAGE, StorageView
from adapter.domain.survey import Survey
from adapter.domain.views import Views
from adapter.domain.webhooks import HookEdges
from adapter.supervision import Actor


class WebFactory(Protocol):
    """Makes the web actor once the parts it shows exist."""

    def __call__(self, views: Views, /) -> Actor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Everything outside: real in `serve`, fake in a simulation."""

    listeners: Mapping[str, DimseListener]
    """By the key of their `ListeningPort`."""
    receivers: Sequence[Actor]
    """Processes that serve associations."""
    identify: IdentityCheck
    requestor: Requestor
    destination_files: DestinationFiles
    receiver_loads: ReceiverLoads
    certificate_expiries: CertificateExpiries
    certificate_troubles: CertificateTroubles
    resolver: Resolver
    store: InstanceStore
    payloads: PayloadStore
    space: SpaceGauge
    ledger: Ledger
    found: LedgerReport = AS_IT_SHOULD_BE
    storage_view: StorageView = NO_STORAGE
    entities: EntityLedger
    rejections: RejectionLedger
    platform: Platform
    results: ResultSource
    results_service: ServiceEdges | None
    """None: there is none elsewhere."""
    hooks: HookEdges
    held: HeldInstances
    survey: Survey
    previews: Previews | None = None
    """None: nobody is to see pictures."""
    web: WebFactory | None
    configuration: ConfigurationSource | None
    """None: it does not change."""
    custom_resources: ClusterEdges | None = None
    """None: no cluster has any for us."""
    new_id: NewId
    new_uid: NewUid
    now: WallClock
    draw: Draw
