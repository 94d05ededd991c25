"""Storage commitment requests of others (port `CommitmentLedger`): rows and their memory.

A request may name thousands of instances and a row stays below 32 KiB, so the references are rows
of their own, `REFERENCES_PER_ROW` each.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapter.domain.commitment import Reference
from adapter.domain.records import Commitment
from adapter.store.group_commit import Change

REFERENCES_PER_ROW = 200
"""Of at most 2 x 64 characters each, and as many bytes of encoding."""
PREFIXES = frozenset({"commitment", "references"})


class CommitmentRows:
    """Every request in memory, every change written by `commit`."""

    def __init__(self, commit: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._commit = commit
        self._commitments: dict[str, Commitment] = {}
        self._references: dict[str, dict[int, list[Reference]]] = {}

    def adopt(self, key: str, row: bytes) -> None:
        """Take up a row at boot."""
        prefix, commitment_id, *index = key.split("/")
        if prefix == "commitment":
            self._commitments[commitment_id] = msgspec.msgpack.decode(row, type=Commitment)
        else:
            references = msgspec.msgpack.decode(row, type=list[Reference])
            self._references.setdefault(commitment_id, {})[int(index[0])] = references

    async def open(self, commitment: Commitment, references: Sequence[Reference]) -> None:
        """See `CommitmentLedger.open`."""
        rows = {
            first // REFERENCES_PER_ROW: list(references[first : first + REFERENCES_PER_ROW])
            for first in range(0, len(references), REFERENCES_PER_ROW)
        }
        self._commitments[commitment.id] = commitment
        self._references[commitment.id] = rows
        encode = msgspec.msgpack.encode
        await self._commit(
            [
                (f"commitment/{commitment.id}", encode(commitment)),
                *((f"references/{commitment.id}/{n}", encode(row)) for n, row in rows.items()),
            ]
        )

    async def change(self, commitment: Commitment) -> None:
        """See `CommitmentLedger.change`."""
        if commitment.id not in self._commitments:
            return
        self._commitments[commitment.id] = commitment
        await self._commit([(f"commitment/{commitment.id}", msgspec.msgpack.encode(commitment))])

    async def remove(self, commitment_id: str) -> None:
        """See `CommitmentLedger.remove`."""
        self._commitments.pop(commitment_id, None)
        rows = self._references.pop(commitment_id, {})
        await self._commit(
            [
                (f"commitment/{commitment_id}", None),
                *((f"references/{commitment_id}/{index}", None) for index in rows),
            ]
        )

    async def pending(self) -> list[Commitment]:
        """See `CommitmentLedger.pending`."""
        return sorted(self._commitments.values(), key=lambda row: row.requested_at)

    async def references(self, commitment_id: str) -> tuple[Reference, ...]:
        """See `CommitmentLedger.references`."""
        rows = self._references.get(commitment_id, {})
        return tuple(reference for index in sorted(rows) for reference in rows[index])
