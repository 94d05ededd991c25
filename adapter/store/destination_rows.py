"""What is remembered of destinations (port `DestinationRows`): rows and their memory."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic

import msgspec

from adapter.domain.destination_rows import Row
from adapter.store.group_commit import Change


class StoredDestinationRows(Generic[Row]):
    """Every row in memory, every change written by `commit`."""

    def __init__(
        self, prefix: str, kind: type[Row], commit: Callable[[Sequence[Change]], Awaitable[None]]
    ) -> None:
        """Keys begin with prefix."""
        self._prefix = prefix
        self._kind: type[Row] = kind
        self._commit = commit
        self._rows: dict[str, Row] = {}

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        found = msgspec.msgpack.decode(row, type=self._kind)
        self._rows[found.destination] = found

    def of(self, destination: str) -> Row | None:
        """See `DestinationRows.of`."""
        return self._rows.get(destination)

    async def put(self, row: Row) -> None:
        """See `DestinationRows.put`."""
        self._rows[row.destination] = row
        await self._commit([(f"{self._prefix}/{row.destination}", msgspec.msgpack.encode(row))])

    async def remove(self, destination: str) -> None:
        """See `DestinationRows.remove`."""
        if self._rows.pop(destination, None):
            await self._commit([(f"{self._prefix}/{destination}", None)])
