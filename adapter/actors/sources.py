"""Sources: keeps the numeric addresses of those sources that are configured by name.

Consumes: nothing. Produces: `addresses`, read by admission. Owns: the rhythm of look-ups. Rebuilds
from: the configuration. Restart policy: replica. A name that cannot be resolved keeps the addresses
it had: a broken name server must not lock out a modality that could send a minute ago.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
import trio

from adapter.domain.entities import Source, network_of
from adapter.domain.ports import Resolver
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

    sources: Sequence[Source]
    resolver: Resolver
    stop: trio.Event
    name: str = "sources"
    addresses: dict[str, frozenset[str]] = field(default_factory=dict)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        async with trio.open_nursery() as names:
            tried = [trio.Event() for _ in self._names()]
            for host, event in zip(self._names(), tried, strict=True):
                names.start_soon(self._keep, host, event)
            with trio.move_on_after(BOOT_S):
                for event in tried:
                    await event.wait()
            task_status.started()
            await self.stop.wait()
            names.cancel_scope.cancel()

    def close(self) -> None:
        """See `Actor.close`."""

    def _names(self) -> list[str]:
        hosts = [host for source in self.sources for host in source.hosts]
        return [host for host in dict.fromkeys(hosts) if network_of(host) is None]

    async def _keep(self, host: str, tried: trio.Event) -> None:
        while True:
            try:
                self.addresses[host] = await self.resolver(host)
            except UnavailableError as error:
                log.warning("source.unresolved", host=host, why=str(error))
            tried.set()
            await trio.sleep(REFRESH_S if host in self.addresses else RETRY_S)
