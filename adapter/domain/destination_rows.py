"""What is remembered of a destination itself: that it is held, that it is down."""

from typing import Protocol, TypeVar

from msgspec import Struct


class DestinationHold(Struct, frozen=True, kw_only=True):
    """Nothing is sent there until somebody says so; what comes for it waits."""

    destination: str
    why: str = ""
    """In the operator's words."""
    at: float


class DestinationOutage(Struct, frozen=True, kw_only=True):
    """It could not be reached; a restart does not make that any shorter."""

    destination: str
    why: str
    at: float
    """Since when."""


Row = TypeVar("Row", DestinationHold, DestinationOutage)


class DestinationRows(Protocol[Row]):
    """Rows of one kind, durable before a method returns. Errors as of `Ledger`."""

    def of(self, destination: str) -> Row | None:
        """Return the row of a destination, if there is one."""

    async def put(self, row: Row) -> None:
        """Add a row, or replace that of the same destination."""

    async def remove(self, destination: str) -> None:
        """Remove a row; again is harmless."""
