"""The real edges of the program, made from its settings; `adapter.wiring` connects them."""

import random
import secrets
import shutil
import time
import uuid

import trio

from adapter.api_edge import ApiEdge
from adapter.configuration_edge import Follow, SettingsTrail, followed
from adapter.domain.carriers import careless_destinations
from adapter.domain.ports import Platform
from adapter.domain.recovery import LedgerReport
from adapter.domain.storage_view import StorageView
from adapter.edges import Edges
from adapter.errors import ConfigurationError
from adapter.listeners import make_identity_check, make_listeners, make_receivers, named
from adapter.live_settings import LiveSettings, retention_of
from adapter.platforms import (
    make_custom_resources,
    make_hooks,
    make_http_platform,
    make_results_service,
)
from adapter.previews import make_previews
from adapter.protocols.dimse.file_meta import describe_stored
from adapter.protocols.dimse.stored_attributes import StoredAttributes
from adapter.protocols.dimse.tls_contexts import TlsContext, TlsContexts
from adapter.protocols.platform.command import CommandPlatform, missing_programs
from adapter.protocols.platform.done_flags import DoneFlags
from adapter.protocols.platform.folder import FolderPlatform
from adapter.protocols.resolver import resolve
from adapter.protocols.results.folder import FolderResults
from adapter.protocols.web.trail import Trail
from adapter.relations import careless_api, pipelines_without_program, programs_of
from adapter.requestors import FilesOfDestinations, make_requestor
from adapter.settings import Settings
from adapter.store.fetched_results import FetchedResults
from adapter.store.files import DiskThreads
from adapter.store.group_commit import WriterThread
from adapter.store.held import FolderHeldInstances
from adapter.store.instances import FolderInstanceStore
from adapter.store.job_files import FolderJobFiles
from adapter.store.layout import Layout
from adapter.store.ledger import RowLedger
from adapter.store.opening import open_ledger
from adapter.store.payloads import FolderPayloadStore
from adapter.store.quarantine import Quarantine
from adapter.store.space import DiskSpaceGauge, SpaceLimits
from adapter.store.survey import FolderSurvey

DISK_THREADS = 4
"""For groups, payloads, space and results; who receives an instance writes it."""
FLAG_THREADS = 1
"""Looks at the flags of jobs; a file server that hangs holds up nothing else."""
GB = 10**9


def new_id() -> str:
    """Return an id that sorts by time: microseconds and 32 random bits, in hexadecimal."""
    return f"{time.time_ns() // 1000:014x}-{secrets.token_hex(4)}"


def new_uid() -> str:
    """Return a UID made from a random UUID (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def make_edges(live: LiveSettings, layout: Layout, lock: int, follow: Follow) -> Edges:
    """Make the real edges. Blocks; at boot.

    Receiver processes hold the storage root's lock as well: as long as one of them may write,
    nobody else recovers.

    Raises:
        ConfigurationError: The storage root or a file for TLS cannot be used.
        PortUnavailableError: A port cannot be bound.
        LedgerError: The ledger cannot be read.
    """
    settings = live.settings
    storage = settings.storage
    tls = tls_contexts(settings)
    _make_folders(layout)
    writer = WriterThread()
    ledger, found = open_ledger(layout, storage.durability, writer, time.time)
    disk = trio.CapacityLimiter(DISK_THREADS)
    disk_threads = DiskThreads(disk)
    space = _space(live, layout, disk_threads)
    payloads = _payloads(settings, layout, disk_threads)
    job_files = FolderJobFiles(layout, storage.durability, disk_threads, space)
    fetched = FetchedResults(layout, storage.durability, disk_threads, space)
    receivers = make_receivers(settings, layout, lock)
    files, trail = FilesOfDestinations(tls), Trail(ledger.audit, time.time)
    return Edges(
        listeners=make_listeners(live, layout, receivers, tls.listener),
        receivers=receivers.processes,
        receiver_loads=receivers.loads,
        identify=make_identity_check(settings),
        requestor=make_requestor(settings, tls, layout.transcoding),
        destination_files=files,
        certificate_expiries=tls.expiries,
        certificate_troubles=tls.troubles,
        resolver=resolve,
        store=FolderInstanceStore(layout, storage.durability, disk_threads),
        payloads=payloads,
        space=space,
        ledger=ledger,
        found=found,
        storage_view=_storage_view(live, layout, disk_threads),
        platform=_platform(live, layout, job_files, payloads),
        entities=ledger.entities,
        rejections=ledger.rejections,
        results=FolderResults(layout.payloads, disk),
        results_service=make_results_service(settings.results, fetched),
        hooks=make_hooks(settings.webhooks),
        held=FolderHeldInstances(layout, disk_threads, describe_stored),
        survey=FolderSurvey(layout, space, disk_threads),
        previews=make_previews(settings, layout.transcoding),
        web=_web(live, ledger, found, tls.api, trail),
        configuration=followed(live, follow, files, SettingsTrail(live, trail), warnings),
        custom_resources=make_custom_resources(settings.kubernetes, trail),
        new_id=new_id,
        new_uid=new_uid,
        now=time.time,
        draw=random.random,
    )


def _make_folders(layout: Layout) -> None:
    try:
        shutil.rmtree(layout.transcoding, ignore_errors=True)
        layout.make()
    except OSError as error:
        raise ConfigurationError([f"storage.root: {layout.root}: {error.strerror}"]) from error


def space_limits_of(settings: Settings) -> SpaceLimits:
    """Return what has to stay free."""
    storage = settings.storage
    return SpaceLimits(storage.watermark_percent, int(storage.reserve_space_gb * GB))


def _space(live: LiveSettings, layout: Layout, threads: DiskThreads) -> DiskSpaceGauge:
    durability = live.settings.storage.durability
    limits = live.kept(space_limits_of)
    return DiskSpaceGauge(layout, limits=limits, threads=threads, durability=durability)


def _storage_view(live: LiveSettings, layout: Layout, threads: DiskThreads) -> StorageView:
    listed = Quarantine(layout, threads).listed
    return StorageView(retention=live.kept(retention_of), put_aside=listed)


def _payloads(settings: Settings, layout: Layout, threads: DiskThreads) -> FolderPayloadStore:
    platform = settings.platform
    read = StoredAttributes(platform.metadata_dicom_source) if platform.upload_metadata else None
    return FolderPayloadStore(layout, settings.storage.durability, threads, read)


def tls_contexts(settings: Settings) -> TlsContexts:
    """Return the TLS contexts that are configured.

    Raises:
        ConfigurationError: Their files cannot be used.
    """
    return TlsContexts(settings.dicom.scp.tls, settings.destinations, settings.api.tls)


def warnings(settings: Settings) -> list[str]:
    """Return what is no reason to refuse to start, and does not work here and now."""
    careless = [*careless_api(settings), *careless_destinations(settings.destinations)]
    if settings.platform.engine != "command":
        return careless
    missing = missing_programs(settings.platform.pipelines)
    return [*careless, *missing, *pipelines_without_program(settings)]


def _platform(
    live: LiveSettings, layout: Layout, files: FolderJobFiles, payloads: FolderPayloadStore
) -> Platform:
    settings = live.settings
    match settings.platform.engine:
        case "folder":
            return FolderPlatform(layout.payloads, DoneFlags(trio.CapacityLimiter(FLAG_THREADS)))
        case "command":
            durable = settings.storage.durability == "fsync"
            return CommandPlatform(layout.payloads, live.kept(programs_of), durable=durable)
        case "http":
            return make_http_platform(settings.platform, files, payloads)


def _web(
    live: LiveSettings, ledger: RowLedger, found: LedgerReport, tls: TlsContext | None, trail: Trail
) -> ApiEdge:
    async def began() -> None:
        await trail.rebuilt(found)
        await SettingsTrail(live, trail).configured("start")

    with named("api.port"):
        return ApiEdge(live.settings.api, ledger, tls, trail, began)
