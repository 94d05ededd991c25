"""The configuration file, read again when it has changed or somebody says so (SIGHUP)."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import trio

from adapter.domain.reconfiguration import Proposal

LOOK_S = 2.0
"""Between two looks; a file counts as changed when it has stayed the same for one of them."""
FILE_CHANGE = "file change"
"""Who says so then."""
_Stamp = tuple[int, ...] | None


class ConfigurationTrail(Protocol):
    """Where it is kept who has changed it."""

    async def configured(self, who: str) -> None:
        """Keep what counts now, if it is something else."""

    async def refused(self, who: str, problems: Sequence[str]) -> None:
        """Keep why something else does not count."""


class ConfigurationFile:
    """Reads in a thread of its own (port `ConfigurationSource`)."""

    def __init__(
        self,
        file: Path | None,
        propose: Callable[[Mapping[str, Any] | None], Proposal],
        threads: trio.CapacityLimiter,
        trail: ConfigurationTrail,
    ) -> None:
        """Follow a file; None: there is none, and only `look_again` says anything."""
        self._file = file
        self._propose = propose
        self._threads = threads
        self._trail = trail
        self._seen = self._stamp()
        self._asked, self._asked_for = trio.open_memory_channel[str](1)

    async def read(self) -> Proposal:
        """See `ConfigurationSource.read`."""
        self._seen = await trio.to_thread.run_sync(self._stamp, limiter=self._threads)
        return await self.plan(None)

    async def plan(self, document: Mapping[str, Any] | None) -> Proposal:
        """See `ConfigurationSource.plan`."""
        return await trio.to_thread.run_sync(self._propose, document, limiter=self._threads)

    async def note(self, by: str) -> None:
        """See `ConfigurationSource.note`."""
        await self._trail.configured(by)

    async def note_refused(self, by: str, problems: Sequence[str]) -> None:
        """See `ConfigurationSource.note_refused`."""
        await self._trail.refused(by, problems)

    def look_again(self, by: str) -> None:
        """Have it read, whether it has changed or not."""
        try:
            self._asked.send_nowait(by)
        except trio.WouldBlock:
            pass  # it will be

    async def wait_changed(self) -> str:
        """See `ConfigurationSource.wait_changed`."""
        last = self._seen
        while True:
            with trio.move_on_after(LOOK_S):
                return await self._asked_for.receive()
            stamp = await trio.to_thread.run_sync(self._stamp, limiter=self._threads)
            if stamp is not None and stamp != self._seen and stamp == last:
                return FILE_CHANGE
            last = stamp

    def _stamp(self) -> _Stamp:
        """Return what changes with the file; None: it cannot be looked at, perhaps just now."""
        if self._file is None:
            return None
        try:
            status = os.stat(self._file)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev
