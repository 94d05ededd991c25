"""Refused associations (port `RejectionLedger`): rows as they are encoded.

A rule is written by its name, which stays; its words are for people, and may be put better one day.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapter.domain.rejections import RejectionRow, Why
from adapter.store.group_commit import Change


class RejectionRows:
    """Every row in memory, every change written by `commit`."""

    def __init__(self, commit: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._commit = commit
        self._rows: dict[str, bytes] = {}

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        self._rows[msgspec.msgpack.decode(row)["id"]] = row

    def all(self) -> list[RejectionRow]:
        """See `RejectionLedger.all`."""
        found = [msgspec.msgpack.decode(row) for row in self._rows.values()]
        known = [{**row, "why": Why[row["why"]]} for row in found if row["why"] in Why.__members__]
        return sorted(msgspec.convert(known, list[RejectionRow]), key=lambda row: row.first_at)

    async def keep(self, rows: Sequence[RejectionRow]) -> None:
        """See `RejectionLedger.keep`."""
        now = {row.id: _encoded(row) for row in rows}
        changes: list[Change] = [
            (f"rejection/{name}", row) for name, row in now.items() if self._rows.get(name) != row
        ]
        changes += [(f"rejection/{name}", None) for name in self._rows.keys() - now.keys()]
        self._rows = now
        if changes:
            await self._commit(changes)


def _encoded(row: RejectionRow) -> bytes:
    return msgspec.msgpack.encode({**msgspec.structs.asdict(row), "why": row.why.name})
