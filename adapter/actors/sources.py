"""Sources: keeps the numeric addresses of those sources that are configured by name.

Consumes: nothing. Produces: `addresses`, read by admission. Owns: the rhythm of look-ups. Rebuilds
from: the configuration. Restart policy: replica. A name that cannot be resolved keeps the addresses
it had: a broken name server must not lock out a modality that could send a minute ago.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
import trio

from adapter.domain.entities import Source
from adapter.domain.ports import Resolver
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.sources")

REFRESH_S = 60.0
BOOT_S = 5.0
"""Look-ups delay the start no longer than this."""


@dataclass(slots=True, kw_only=True)
class SourceAddresses:
    """Resolves host names of sources, at start and every minute."""

    sources: Sequence[Source]
    resolver: Resolver
    stop: trio.Event
    name: str = "sources"
    addresses: dict[str, frozenset[str]] = field(default_factory=dict)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        with trio.move_on_after(BOOT_S):
            await self._resolve_all()
        task_status.started()
        names = self._names()
        while not self.stop.is_set():
            with trio.move_on_after(REFRESH_S if names else float("inf")):
                await self.stop.wait()
                return
            await self._resolve_all()

    def close(self) -> None:
        """See `Actor.close`."""

    def _names(self) -> list[str]:
        hosts = [host for source in self.sources for host in source.hosts]
        return [host for host in dict.fromkeys(hosts) if not _is_numeric(host)]

    async def _resolve_all(self) -> None:
        for host in self._names():
            try:
                self.addresses[host] = await self.resolver(host)
            except UnavailableError as error:
                log.warning("source.unresolved", host=host, why=str(error))


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_network(host, strict=False)
    except ValueError:
        return False
    return True
