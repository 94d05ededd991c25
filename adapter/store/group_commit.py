"""Durable rows through one writer thread: changes that wait share its next transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from adapter.errors import LedgerError

Change = tuple[str, bytes | None]
"""A key and its row; None: the row goes."""


class LedgerEngine(Protocol):
    """Keeps rows by key; blocking."""

    def load(self) -> Iterator[tuple[str, bytes]]: ...

    def write(self, changes: Sequence[Change]) -> None: ...


class EngineThread(Protocol):
    """Runs the engine's writes one at a time, off the event loop where they block."""

    async def write(self, engine: LedgerEngine, changes: Sequence[Change]) -> None: ...


class WriterThread:
    """The one writer thread."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        assert limiter.total_tokens == 1
        self._limiter = limiter

    async def write(self, engine: LedgerEngine, changes: Sequence[Change]) -> None:
        """Write in the thread; a cancel waits for it."""
        await trio.to_thread.run_sync(engine.write, changes, limiter=self._limiter)


@dataclass(slots=True)
class _Batch:
    """Changes that will be written by one transaction."""

    changes: list[Change] = field(default_factory=list)
    written: bool = False


class GroupCommit:
    """Writes changes in the order in which they are committed."""

    def __init__(self, engine: LedgerEngine, thread: EngineThread) -> None:
        self._engine = engine
        self._thread = thread
        self._batch = _Batch()
        self._writing = trio.Lock()
        self._broken: LedgerError | None = None

    async def commit(self, changes: Sequence[Change]) -> None:
        """Return when the changes are durable.

        Raises:
            LedgerError: They are not; neither will any later ones be.
        """
        if self._broken is not None:
            raise self._broken
        batch = self._batch
        batch.changes += changes
        async with self._writing:  # whoever comes first writes for all who wait
            if batch.written:
                return
            self._batch = _Batch()
            with trio.CancelScope(shield=True):  # bounded by one transaction
                try:
                    await self._thread.write(self._engine, batch.changes)
                except LedgerError as error:
                    self._broken = error  # memory is ahead of the disk now: no further promise
                    raise
            batch.written = True
        if self._broken is not None:
            raise self._broken
