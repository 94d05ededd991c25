"""The seam to storage commitment requests of others; rules as of `adapter.domain.ports`."""

from collections.abc import Sequence
from typing import Protocol

from adapter.domain.commitment import Reference
from adapter.domain.records import Commitment


class CommitmentLedger(Protocol):
    """Storage commitment requests of others that were not reported yet; durable as `Ledger`."""

    async def open(self, commitment: Commitment, references: Sequence[Reference]) -> None:
        """Add a request, in one transaction."""

    async def change(self, commitment: Commitment) -> None:
        """Replace the row of a request; no effect on one that is gone."""

    async def remove(self, commitment_id: str) -> None:
        """Remove a request; again is harmless."""

    async def pending(self) -> list[Commitment]:
        """Return all requests, oldest first."""

    async def references(self, commitment_id: str) -> tuple[Reference, ...]:
        """Return the instances a request is about; none if it is gone."""
