"""Destinations that an operator has stopped sending to."""

from typing import Protocol

from msgspec import Struct


class DestinationHold(Struct, frozen=True, kw_only=True):
    """Nothing is sent there until somebody says so; what comes for it waits."""

    destination: str
    why: str = ""
    """In the operator's words."""
    at: float


class HoldLedger(Protocol):
    """The holds, durable before a method returns. Errors as of `Ledger`."""

    def of(self, destination: str) -> DestinationHold | None:
        """Return the hold of a destination, if there is one."""

    async def put(self, hold: DestinationHold) -> None:
        """Add a hold, or replace that of the same destination."""

    async def remove(self, destination: str) -> None:
        """Remove a hold; again is harmless."""
