"""Answers to requests with an Idempotency-Key (port `AnswerRows`): the latest, as rows."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapter.domain.repeated_requests import KEPT_S, KEYS_MAX, Attempt
from adapter.store.group_commit import Change

ROW_BYTES_MAX = 24 << 10
"""A longer one is known until the process ends; rows of the ledger stay below 32 KiB."""


class KeptAnswerRows:
    """Every row in memory, every change written by `commit`."""

    def __init__(
        self, commit: Callable[[Sequence[Change]], Awaitable[None]], keys_max: int = KEYS_MAX
    ) -> None:
        self._commit = commit
        self._keys_max = keys_max
        self._rows: dict[bytes, Attempt] = {}
        """The one that came first is the first, but for those of before the start."""

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot."""
        attempt = msgspec.msgpack.decode(row, type=Attempt)
        self._rows[attempt.key] = attempt

    def all(self) -> list[Attempt]:
        """See `AnswerRows.all`."""
        return sorted(self._rows.values(), key=lambda each: each.at)

    async def put(self, attempt: Attempt) -> None:
        """See `AnswerRows.put`."""
        row = msgspec.msgpack.encode(attempt)
        if len(row) > ROW_BYTES_MAX:
            return
        self._rows[attempt.key] = attempt
        changes: list[Change] = [(_name(attempt), row)]
        rows = self.all()
        too_many = len(rows) - self._keys_max
        for place, old in enumerate(rows):
            if place < too_many or old.at <= attempt.at - KEPT_S:
                del self._rows[old.key]
                changes.append((_name(old), None))
        await self._commit(changes)


def _name(attempt: Attempt) -> str:
    return f"answer/{attempt.key.hex()}"
