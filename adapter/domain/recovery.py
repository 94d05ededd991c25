"""What a start had to do before there was anything to go on with."""

from typing import Protocol

import msgspec
from msgspec import Struct

from adapter.domain.events import Data


class LedgerReport(Data, frozen=True, kw_only=True, omit_defaults=True):
    """How ledger and folders were found, and what was done about it."""

    damage: str = ""
    """Why the ledger could not be used; empty: it could, or there was none."""
    put_aside: str = ""
    """Where it lies now, below the storage root."""
    jobs_found: int = 0
    """Jobs that came back from their folders alone."""
    jobs_to_run: int = 0
    """Of these, jobs that begin again; the results of the others are exported again."""
    folders_put_aside: int = 0
    """Folders in `payloads/` that are no job's, now in `quarantine/`."""
    rows_kept: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows of the damaged ledger that are in the new one, by what they tell of."""
    rows_unreadable: int = 0
    """Others that were found in it and could not be understood."""
    lost: str = ""
    """What the new ledger may not tell of, or does not; empty: it is the old one."""


AS_IT_SHOULD_BE = LedgerReport()
NOT_IN_FOLDERS = (
    "API keys, sources, destinations and AE Titles made over REST, holds, and the audit trail"
)
UNREAD = f"{NOT_IN_FOLDERS}, as far as they could not be read"


class PutAside(Struct, frozen=True, kw_only=True):
    """Something in `quarantine/`."""

    name: str
    why: str


class ListPutAside(Protocol):
    """Lists what lies in `quarantine/`, the first thousand by name."""

    async def __call__(self) -> list[PutAside]:
        """Return it.

        Raises:
            UnavailableError: It cannot be read now.
        """


async def nothing_put_aside() -> list[PutAside]:
    """Return nothing, where there are no folders."""
    return []
