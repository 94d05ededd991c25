"""AE Titles that exist: those of the file, and those made over REST, rows of the ledger."""

from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from adapter.domain.conversion import Reader
from adapter.domain.entities import ApplicationEntity

ROW_BYTES_MAX = 16 << 10
"""Of an AE Title made over REST; a row of the ledger stays below 32 KiB."""
ENTITIES_MAX = 1000
"""Made over REST; each costs two tasks and a mailbox."""


class EntityRow(Struct, frozen=True, kw_only=True):
    """An AE Title made over REST, as it was accepted then."""

    name: str
    settings: dict[str, Any]
    """The fields of an `ApplicationEntity`; what was right may be wrong at the next start."""
    retiring: bool = False
    """It takes no more associations, and goes when its groups have become jobs."""


class EntityLedger(Protocol):
    """The rows, durable before a method returns. Errors as of `Ledger`."""

    async def entities(self) -> list[EntityRow]:
        """Return all rows, in the order in which they were made."""

    async def put_entity(self, row: EntityRow) -> None:
        """Add a row, or replace the one of that name."""

    async def remove_entity(self, name: str) -> None:
        """Remove a row; again is harmless."""


class ListedEntity(Struct, frozen=True, kw_only=True):
    """An AE Title as people see it."""

    name: str
    ae_title: str
    origin: Literal["file", "api"]
    settings: dict[str, Any]
    """As of `EntityRow`."""
    entity: ApplicationEntity | None
    """None: it cannot be used, for what `problems` say."""
    retiring: bool = False
    problems: tuple[str, ...] = ()
    """Why it does not run although it is meant to."""


def of_file(entity: ApplicationEntity) -> ListedEntity:
    """Return an AE Title of the configuration file."""
    return ListedEntity(
        name=entity.name,
        ae_title=entity.ae_title,
        origin="file",
        settings=msgspec.to_builtins(entity),
        entity=entity,
    )


def of_row(row: EntityRow) -> ListedEntity:
    """Return an AE Title made over REST, with what is wrong with its values."""
    reader = Reader()
    return ListedEntity(
        name=row.name,
        ae_title=str(row.settings.get("ae_title", "")),
        origin="api",
        settings=row.settings,
        entity=reader.read(row.settings, ApplicationEntity),
        retiring=row.retiring,
        problems=tuple(reader.problems),
    )


def row_of(entity: ApplicationEntity) -> EntityRow:
    """Return the row of a new or changed AE Title.

    Raises:
        ValueError: It is too large, or holds a number that is.
    """
    row = EntityRow(name=entity.name, settings=msgspec.to_builtins(entity))
    try:
        size = len(msgspec.msgpack.encode(row))
    except OverflowError as error:
        raise ValueError(f"settings: a number is too large ({error})") from error
    if size > ROW_BYTES_MAX:
        raise ValueError(f"it takes {size} bytes, more than {ROW_BYTES_MAX}")
    return row
