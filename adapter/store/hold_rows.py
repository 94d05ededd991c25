"""Holds of destinations (port `HoldLedger`): rows and their memory."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapter.domain.destination_holds import DestinationHold
from adapter.store.group_commit import Change


class HoldRows:
    """Every row in memory, every change written by `commit`."""

    def __init__(self, commit: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._commit = commit
        self._rows: dict[str, DestinationHold] = {}

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        hold = msgspec.msgpack.decode(row, type=DestinationHold)
        self._rows[hold.destination] = hold

    def of(self, destination: str) -> DestinationHold | None:
        """See `HoldLedger.of`."""
        return self._rows.get(destination)

    async def put(self, hold: DestinationHold) -> None:
        """See `HoldLedger.put`."""
        self._rows[hold.destination] = hold
        await self._commit([(f"hold/{hold.destination}", msgspec.msgpack.encode(hold))])

    async def remove(self, destination: str) -> None:
        """See `HoldLedger.remove`."""
        if self._rows.pop(destination, None):
            await self._commit([(f"hold/{destination}", None)])
