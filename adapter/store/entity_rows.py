"""AE Titles made over REST (port `EntityLedger`): rows and their memory."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapter.domain.entity_rows import EntityRow
from adapter.store.group_commit import Change


class EntityRows:
    """Every row in memory, every change written by `commit`."""

    def __init__(self, commit: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._commit = commit
        self._rows: dict[str, EntityRow] = {}

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        entity = msgspec.msgpack.decode(row, type=EntityRow)
        self._rows[entity.name] = entity

    async def entities(self) -> list[EntityRow]:
        """See `EntityLedger.entities`."""
        return list(self._rows.values())

    async def put_entity(self, row: EntityRow) -> None:
        """See `EntityLedger.put_entity`."""
        self._rows[row.name] = row
        await self._commit([(f"entity/{row.name}", msgspec.msgpack.encode(row))])

    async def remove_entity(self, name: str) -> None:
        """See `EntityLedger.remove_entity`."""
        if self._rows.pop(name, None):
            await self._commit([(f"entity/{name}", None)])
