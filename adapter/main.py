"""Composition root: real edges around `adapter.gateway`, signals, exit codes."""

import gc
import os
import resource
import secrets
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog
import trio

from adapter.domain.ports import Platform
from adapter.domain.views import Views
from adapter.edges import make_requestor
from adapter.errors import ConfigurationError, LedgerError, PortUnavailableError
from adapter.gateway import gateway
from adapter.logs import configure
from adapter.protocols.dimse.acceptor import AcceptorOptions, TcpDimseListener
from adapter.protocols.dimse.file_meta import describe_stored
from adapter.protocols.dimse.scp import ScpLimits
from adapter.protocols.dimse.tls_contexts import TlsContext, TlsContexts
from adapter.protocols.dimse.turns import Turns
from adapter.protocols.identities import UserCheck, accept_any
from adapter.protocols.platform.command import CommandPlatform
from adapter.protocols.platform.folder import FolderPlatform
from adapter.protocols.resolver import resolve
from adapter.protocols.results.folder import FolderResults
from adapter.protocols.web.app import make_app
from adapter.protocols.web.server import WebServer, bind
from adapter.settings import Settings, listening_ports
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.files import DiskThreads
from adapter.store.group_commit import WriterThread
from adapter.store.held import FolderHeldInstances
from adapter.store.instances import FolderInstanceStore
from adapter.store.layout import Layout
from adapter.store.ledger import RowLedger
from adapter.store.lock import lock_root
from adapter.store.parts import PartFiles
from adapter.store.payloads import FolderPayloadStore
from adapter.store.space import DiskSpaceGauge
from adapter.wiring import Edges

log = structlog.get_logger("adapter.main")

CLEAN, FAILED, BAD_CONFIGURATION, PORT_TAKEN = 0, 1, 2, 3
DISK_THREADS = 4
"""For groups, payloads, space and results; association threads write their instances themselves."""
TURNS_MIN = 2
"""Associations that receive in bulk at a time, on a machine with fewer processors."""
IDENTITY_THREADS = 1
"""Hashing takes a core; the others are for instances."""
DESCRIPTORS_PER_ASSOCIATION = 3
"""Socket, instance, and a folder while it is synced."""
DESCRIPTORS_RESERVED = 256
"""For ledger, web clients, pipelines and logs."""
GB = 10**9


def serve(settings: Settings) -> int:
    """Run the adapter in the foreground until SIGTERM or SIGINT; return the exit code."""
    configure(settings.logging)
    try:
        raise_descriptor_limit(settings)
        return trio.run(_serve, settings)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - one line each, for people
        return BAD_CONFIGURATION
    except PortUnavailableError as error:
        print(f"cannot listen: {error}", file=sys.stderr)  # noqa: T201
        return PORT_TAKEN
    except LedgerError as error:
        print(f"ledger: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    except Exception:
        log.exception("process.failed")
        return FAILED


def spare_what_stays() -> None:
    """Let the garbage collector pass over what the boot made: it stays until the end.

    A collection stops every association, and nine tenths of what it looked at were modules.
    """
    gc.collect()
    gc.freeze()


def raise_descriptor_limit(settings: Settings) -> None:
    """Take as many descriptors as we may have.

    Raises:
        ConfigurationError: The limits of `dicom` need more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scp, scu = settings.dicom.scp, settings.dicom.scu
    associations = scp.max_associations + scu.max_associations
    needed = DESCRIPTORS_PER_ASSOCIATION * associations + scp.max_half_open + DESCRIPTORS_RESERVED
    if hard != resource.RLIM_INFINITY and hard < needed:
        keys = "dicom.scp.max_associations, dicom.scp.max_half_open"
        raise ConfigurationError([
            f"{keys}: need {needed} descriptors, the hard limit is {hard} (ulimit -Hn)"
        ])  # fmt: skip


async def _serve(settings: Settings) -> int:
    layout = Layout(Path(settings.storage.root))
    lock = lock_root(layout)
    try:
        edges = make_edges(settings, layout)
        stop = trio.Event()
        clean = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, stop, nursery.cancel_scope)
            clean = await _run(settings, edges, stop)
            nursery.cancel_scope.cancel()
        log.info("process.stopped", clean=clean)
        return CLEAN if clean else FAILED
    finally:
        os.close(lock)


async def _run(settings: Settings, edges: Edges, stop: trio.Event) -> bool:
    result: list[bool] = []

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        result.append(await gateway(settings, edges, stop, task_status=task_status))

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        spare_what_stays()
        ports = [getattr(listener, "port", None) for listener in edges.listeners.values()]
        log.info(
            "process.ready",
            dicom_port=ports[0],
            dicom_ports=ports,
            api_port=getattr(edges.web, "port", None),
            ae_titles=[entity.ae_title for entity in settings.application_entities],
        )
    return result == [True]


async def _stop_on_signal(stop: trio.Event, everything: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("process.stopping", signal=signal.Signals(number).name)
            if stop.is_set():
                everything.cancel()  # asked twice: now
            stop.set()


def new_id() -> str:
    """Return an id that sorts by time: microseconds and 32 random bits, in hexadecimal."""
    return f"{time.time_ns() // 1000:014x}-{secrets.token_hex(4)}"


def new_uid() -> str:
    """Return a UID made from a random UUID (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def make_edges(settings: Settings, layout: Layout) -> Edges:
    """Make the real edges. Blocks; at boot.

    Raises:
        ConfigurationError: The storage root or a file for TLS cannot be used.
        PortUnavailableError: A port cannot be bound.
        LedgerError: The ledger cannot be read.
    """
    storage, scp = settings.storage, settings.dicom.scp
    tls = tls_contexts(settings)
    try:
        for folder in layout.folders():
            folder.mkdir(0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError([f"storage.root: {layout.root}: {error.strerror}"]) from error
    ledger = RowLedger(
        DiskcacheEngine(layout.ledger), WriterThread(trio.CapacityLimiter(1)), time.time
    )
    ledger.load()
    disk = trio.CapacityLimiter(DISK_THREADS)
    disk_threads = DiskThreads(disk)
    parts = PartFiles(layout, storage.durability)
    acceptor = AcceptorOptions(
        max_pdu=scp.max_pdu,
        verification_syntaxes=scp.verification.transfer_syntaxes
        if scp.verification.enabled
        else (),
        limits=ScpLimits(idle_s=scp.idle_s, dimse_s=scp.dimse_s),
        open_part=parts.open,
        threads=trio.CapacityLimiter(scp.max_associations),
        turns=Turns(max(os.cpu_count() or 1, TURNS_MIN)),
        preferred_transfer_syntaxes=scp.preferred_transfer_syntaxes,
    )
    return Edges(
        listeners=_listeners(settings, acceptor, tls.listener),
        identify=UserCheck(scp.user_identity.users, trio.CapacityLimiter(IDENTITY_THREADS)).check
        if scp.user_identity.mode == "verify"
        else accept_any,
        requestor=make_requestor(settings, tls),
        certificate_expiries=tls.expiries,
        resolver=resolve,
        store=FolderInstanceStore(layout, storage.durability, parts, disk_threads),
        payloads=FolderPayloadStore(layout, storage.durability, disk_threads),
        space=DiskSpaceGauge(
            layout,
            watermark_percent=storage.watermark_percent,
            reserve_bytes=int(storage.reserve_space_gb * GB),
            threads=disk_threads,
        ),
        ledger=ledger,
        platform=_platform(settings, layout, disk),
        results=FolderResults(layout.payloads, disk),
        held=FolderHeldInstances(layout, disk_threads, describe_stored),
        web=_Web(settings),
        new_id=new_id,
        new_uid=new_uid,
        now=time.time,
    )


def tls_contexts(settings: Settings) -> TlsContexts:
    """Return the TLS contexts that are configured.

    Raises:
        ConfigurationError: Their files cannot be used.
    """
    return TlsContexts(settings.dicom.scp.tls, settings.destinations)


def _listeners(
    settings: Settings, options: AcceptorOptions, tls: TlsContext | None
) -> dict[str, TcpDimseListener]:
    listeners = {}
    for listening in listening_ports(settings):
        with named(listening.key):
            listeners[listening.key] = TcpDimseListener.bind(
                settings.dicom.scp.host,
                listening.port,
                replace(options, tls=tls if listening.tls else None),
            )
    return listeners


@contextmanager
def named(key: str) -> Iterator[None]:
    """Say which key a port that cannot be had comes from."""
    try:
        yield
    except PortUnavailableError as error:
        raise PortUnavailableError(f"{key}: {error}") from error


def _platform(settings: Settings, layout: Layout, disk: trio.CapacityLimiter) -> Platform:
    match settings.platform.engine:
        case "folder":
            return FolderPlatform(layout.payloads)
        case "command":
            return CommandPlatform(layout.payloads, settings.platform.pipelines, disk)


class _Web:
    """Binds the port at boot, makes the server once its views exist."""

    def __init__(self, settings: Settings) -> None:
        with named("api.port"):
            self._socket = bind(settings.api.host, settings.api.port)
        self.port = int(self._socket.getsockname()[1])

    def __call__(self, views: Views, /) -> WebServer:
        return WebServer(app=make_app(views), sock=self._socket, stop=views.web_stop)
