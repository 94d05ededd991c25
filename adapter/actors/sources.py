"""Sources: keeps the numeric addresses of those sources that are configured by name.

Consumes: a hint that sources have changed. Produces: `addresses`, read by admission. Owns: the
rhythm of look-ups. Rebuilds from: the directory. Restart policy: replica. A name that cannot be
resolved keeps the addresses it had: a broken name server must not lock out a modality that could
send a minute ago.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog
import trio

from adapter.domain.addresses import Resolver, network_of
from adapter.domain.messages import Wake
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.sources")

REFRESH_S = 60.0
RETRY_S = 15.0
"""Pause before a name that has never been resolved is tried again."""
BOOT_S = 5.0
"""Look-ups delay the start no longer than this."""


@dataclass(slots=True, kw_only=True)
class SourceAddresses:
    """Resolves host names of sources, at start and every minute, each by itself."""

    hosts: Callable[[], Iterable[str]]
    resolver: Resolver
    wake: trio.MemoryReceiveChannel[Wake]
    stop: trio.Event
    name: str = "sources"
    addresses: dict[str, frozenset[str]] = field(default_factory=dict)
    _kept: dict[str, trio.CancelScope] = field(default_factory=dict)
    """By name."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._kept = {}
        async with trio.open_nursery() as names:
            tried = self._look(names)
            with trio.move_on_after(BOOT_S):
                for event in tried:
                    await event.wait()
            task_status.started()
            names.start_soon(self._follow, names)
            await self.stop.wait()
            names.cancel_scope.cancel()

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()

    async def _follow(self, names: trio.Nursery) -> None:
        async for _ in self.wake:
            self._look(names)

    def _look(self, names: trio.Nursery) -> list[trio.Event]:
        """Keep those names that there are; return what tells that new ones were tried."""
        wanted = dict.fromkeys(host for host in self.hosts() if network_of(host) is None)
        for host in [host for host in self._kept if host not in wanted]:
            self._kept.pop(host).cancel()
            self.addresses.pop(host, None)
        tried = []
        for host in [host for host in wanted if host not in self._kept]:
            self._kept[host], event = trio.CancelScope(), trio.Event()
            names.start_soon(self._keep, host, self._kept[host], event)
            tried.append(event)
        return tried

    async def _keep(self, host: str, scope: trio.CancelScope, tried: trio.Event) -> None:
        with scope:
            while True:
                try:
                    self.addresses[host] = await self.resolver(host)
                except UnavailableError as error:
                    log.warning("source.unresolved", host=host, why=str(error))
                tried.set()
                await trio.sleep(REFRESH_S if host in self.addresses else RETRY_S)
