"""Keys of the API (port `KeyLedger`): rows and their memory."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapter.domain.access import ApiKey
from adapter.store.group_commit import Change


class KeyRows:
    """Every row in memory, every change written by `commit`."""

    def __init__(self, commit: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._commit = commit
        self._rows: dict[str, ApiKey] = {}

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        key = msgspec.msgpack.decode(row, type=ApiKey)
        self._rows[key.id] = key

    def find(self, key_id: str) -> ApiKey | None:
        """See `KeyLedger.find`."""
        return self._rows.get(key_id)

    def all(self) -> list[ApiKey]:
        """See `KeyLedger.all`."""
        return sorted(self._rows.values(), key=lambda key: key.made_at)

    async def put(self, key: ApiKey) -> None:
        """See `KeyLedger.put`."""
        self._rows[key.id] = key
        await self._commit([key_change(key)])

    async def remove(self, key_id: str) -> None:
        """See `KeyLedger.remove`."""
        if self._rows.pop(key_id, None):
            await self._commit([(f"key/{key_id}", None)])


def key_change(key: ApiKey) -> Change:
    """Return the row of a key."""
    return f"key/{key.id}", msgspec.msgpack.encode(key)
