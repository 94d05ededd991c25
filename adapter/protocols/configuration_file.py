"""The configuration file, read again when it has changed or somebody says so (SIGHUP)."""

import os
from collections.abc import Callable
from pathlib import Path

import trio

from adapter.domain.reconfiguration import Proposal

LOOK_S = 2.0
"""Between two looks; a file counts as changed when it has stayed the same for one of them."""
_Stamp = tuple[int, ...] | None


class ConfigurationFile:
    """Reads in a thread of its own (port `ConfigurationSource`)."""

    def __init__(
        self, file: Path | None, propose: Callable[[], Proposal], threads: trio.CapacityLimiter
    ) -> None:
        """Follow a file; None: there is none, and only `look_again` says anything."""
        self._file = file
        self._propose = propose
        self._threads = threads
        self._seen = self._stamp()
        self._asked, self._asked_for = trio.open_memory_channel[None](1)

    async def propose(self) -> Proposal:
        """See `ConfigurationSource.propose`."""
        self._seen = await trio.to_thread.run_sync(self._stamp, limiter=self._threads)
        return await trio.to_thread.run_sync(self._propose, limiter=self._threads)

    def look_again(self) -> None:
        """Have it read, whether it has changed or not."""
        try:
            self._asked.send_nowait(None)
        except trio.WouldBlock:
            pass  # it will be

    async def wait_changed(self) -> None:
        """See `ConfigurationSource.wait_changed`."""
        last = self._seen
        while True:
            with trio.move_on_after(LOOK_S):
                await self._asked_for.receive()
                return
            stamp = await trio.to_thread.run_sync(self._stamp, limiter=self._threads)
            if stamp is not None and stamp != self._seen and stamp == last:
                return
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
