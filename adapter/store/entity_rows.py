"""What was made over REST (port `EntityLedger`): rows and their memory."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapter.domain.entity_rows import EntityRow, Kind
from adapter.store.group_commit import Change

PREFIXES: dict[Kind, str] = {
    "aetitle": "entity",
    "source": "source",
    "destination": "destination",
}


class EntityRows:
    """Every row in memory, every change written by `commit`."""

    def __init__(self, commit: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._commit = commit
        self._rows: dict[str, EntityRow] = {}

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        entity = msgspec.msgpack.decode(row, type=EntityRow)
        self._rows[entity_key(entity.kind, entity.name)] = entity

    async def entities(self) -> list[EntityRow]:
        """See `EntityLedger.entities`."""
        return list(self._rows.values())

    async def put_entity(self, row: EntityRow) -> None:
        """See `EntityLedger.put_entity`."""
        key = entity_key(row.kind, row.name)
        self._rows[key] = row
        await self._commit([(key, msgspec.msgpack.encode(row))])

    async def remove_entity(self, kind: Kind, name: str) -> None:
        """See `EntityLedger.remove_entity`."""
        key = entity_key(kind, name)
        if self._rows.pop(key, None):
            await self._commit([(key, None)])


def entity_key(kind: Kind, name: str) -> str:
    """Return the key of the row."""
    return f"{PREFIXES[kind]}/{name}"
