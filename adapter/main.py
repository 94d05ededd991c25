"""The process around `adapter.gateway`: signals, exit codes, limits of the operating system."""

import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import structlog
import trio

from adapter.composition import make_edges, warnings
from adapter.configuration import Layered
from adapter.configuration_edge import Follow
from adapter.descriptors import raise_descriptor_limit
from adapter.domain.recovery import AS_IT_SHOULD_BE
from adapter.edges import Edges
from adapter.errors import ConfigurationError, LedgerError, PortUnavailableError
from adapter.gateway import gateway
from adapter.live_settings import LiveSettings
from adapter.logs import configure, follow_levels
from adapter.protocols.service_manager import ALIVE, READY, STOPPING, ServiceManager
from adapter.settings import Settings
from adapter.store.layout import Layout
from adapter.store.lock import lock_root
from adapter.store.readable import check_groups

log = structlog.get_logger("adapter.main")

CLEAN, FAILED, BAD_CONFIGURATION, PORT_TAKEN = 0, 1, 2, 3


def serve(follow: Follow) -> int:
    """Run the adapter in the foreground until SIGTERM or SIGINT; return the exit code.

    Raises:
        ConfigurationError: The settings cannot be read.
    """
    layered = follow.load(None)
    settings = layered.settings
    configure(settings.logging)
    try:
        raise_descriptor_limit(settings)
        for why in warnings(settings):
            log.warning("pipeline.unusable", why=why)
        return trio.run(_serve, layered, follow)
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
    except Exception as crash:  # the last word of the process, in its log
        if isinstance(crash, ExceptionGroup) and crash.split(LedgerError)[1] is None:
            log.error("ledger.failed", why=_first(crash))  # told where it crashed
        else:
            log.exception("process.failed")
        return FAILED


def _first(crash: BaseException) -> str:
    """Return the words of the first of those that came together."""
    while isinstance(crash, BaseExceptionGroup):
        crash = crash.exceptions[0]
    return str(crash)


def spare_what_stays() -> None:
    """Let the garbage collector pass over what the boot made: it stays until the end.

    A collection stops every association, and nine tenths of what it looked at were modules.
    """
    gc.collect()
    gc.freeze()


async def _serve(layered: Layered, follow: Follow) -> int:
    live = LiveSettings(layered.settings, layered.origins)
    live.follow(lambda settings: follow_levels(settings.logging))
    layout = Layout(Path(live.settings.storage.root))
    manager = ServiceManager(os.environ)
    lock = lock_root(layout)
    try:
        check_groups(layout)
        # First: from the moment that its ports are bound, who stops it finds it there.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            edges = make_edges(live, layout, lock, follow)
            if edges.found != AS_IT_SHOULD_BE:
                log.warning("storage.rebuilt", **msgspec.to_builtins(edges.found))
            stop = trio.Event()
            clean = False
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, signals, stop, nursery.cancel_scope, manager)
                nursery.start_soon(_reload_on_signal, edges)
                clean = await _run(live, edges, stop, manager)
                nursery.cancel_scope.cancel()
        log.info("process.stopped", clean=clean)
        return CLEAN if clean else FAILED
    finally:
        os.close(lock)


async def _run(live: LiveSettings, edges: Edges, stop: trio.Event, manager: ServiceManager) -> bool:
    result: list[bool] = []

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        result.append(await gateway(live, edges, stop, task_status=task_status))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        if not stop.is_set():  # else there are no ports any more
            _announce(live.settings, edges, manager)
        nursery.start_soon(_show_life, manager)
    return result == [True]


def _announce(settings: Settings, edges: Edges, manager: ServiceManager) -> None:
    spare_what_stays()
    ports = [getattr(listener, "port", None) for listener in edges.listeners.values()]
    log.info(
        "process.ready",
        dicom_port=ports[0],
        dicom_ports=ports,
        api_port=getattr(edges.web, "port", None),
        ae_titles=[entity.ae_title for entity in settings.application_entities],
    )
    manager.tell(READY)


async def _show_life(manager: ServiceManager) -> None:
    """Tell the service manager that the event loop turns, twice as often as it has to be told."""
    while manager.watchdog_s:
        manager.tell(ALIVE)
        await trio.sleep(manager.watchdog_s / 2)


async def _stop_on_signal(
    signals: AsyncIterator[int],
    stop: trio.Event,
    everything: trio.CancelScope,
    manager: ServiceManager,
) -> None:
    async for number in signals:
        log.info("process.stopping", signal=signal.Signals(number).name)
        if stop.is_set():
            everything.cancel()  # asked twice: now
        manager.tell(STOPPING)
        stop.set()


async def _reload_on_signal(edges: Edges) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            if edges.configuration is not None:
                edges.configuration.look_again(signal.SIGHUP.name)
