"""Durable rows through one writer thread: changes that wait share its next transaction."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import trio

from adapter.errors import FullLedgerError, LedgerError

FULL_RETRY_S = 1.0
"""Pause before what found no room is written again."""

Change = tuple[str, bytes | None]
"""A key and its row; None: the row goes."""


class LedgerEngine(Protocol):
    """Keeps rows by key; blocking."""

    def load(self) -> Iterator[tuple[str, bytes]]: ...

    def write(self, changes: Sequence[Change]) -> None: ...

    def close(self) -> None: ...


class EngineThread(Protocol):
    """Runs the engine's writes one at a time, off the event loop where they block."""

    async def write(self, engine: LedgerEngine, changes: Sequence[Change]) -> None: ...

    def close(self, engine: LedgerEngine) -> None: ...


class WriterThread:
    """The one writer thread; it is the same one as long as the process lives.

    Trio's worker threads end when they were idle for a while, and an engine may have something open
    for each thread: diskcache has a connection, which goes with a later garbage collection.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "ledger")

    async def write(self, engine: LedgerEngine, changes: Sequence[Change]) -> None:
        """Write in the thread; a cancel waits for it."""
        token, over = trio.lowlevel.current_trio_token(), trio.Event()
        written = self._thread.submit(engine.write, changes)
        written.add_done_callback(lambda _: token.run_sync_soon(over.set))
        with trio.CancelScope(shield=True):
            await over.wait()
        written.result()

    def close(self, engine: LedgerEngine) -> None:
        """Close what the engine has open for the thread, which ends, and for the caller. Blocks."""
        self._thread.submit(engine.close).result()
        self._thread.shutdown()
        engine.close()


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
        self.outage = ""
        """Why nothing can be written now; empty: it can."""

    def close(self) -> None:
        """Close the engine; nothing may be written any more. Blocks."""
        self._thread.close(self._engine)

    async def commit(self, changes: Sequence[Change]) -> None:
        """Return when the changes are durable; on a full disk, when there is room again.

        Cancel: they are, or will be with the next ones; or, if this process ends, they are not.

        Raises:
            LedgerError: They are not; neither will any later ones be.
        """
        if self._broken is not None:
            raise self._broken
        batch = self._batch
        batch.changes += changes
        async with self._writing:  # whoever comes first writes for all who wait
            if self._broken is not None:
                raise self._broken
            if batch.written:
                return
            if self._batch is batch:
                self._batch = _Batch()
            try:
                await self._write(batch)
            except trio.Cancelled:  # while it waited for room: the next to write has it as well
                self._batch.changes[:0] = batch.changes
                raise

    async def _write(self, batch: _Batch) -> None:
        while not batch.written:
            with trio.CancelScope(shield=True):  # bounded by one transaction
                try:
                    await self._thread.write(self._engine, batch.changes)
                except FullLedgerError as error:
                    self.outage = str(error)
                except LedgerError as error:
                    self._broken = error  # memory is ahead of the disk now: no further promise
                    raise
                else:
                    self.outage = ""
                    batch.written = True
                    return
            await trio.sleep(FULL_RETRY_S)
