"""AE Titles, sources and destinations that exist: those of the file, and those made over REST or by
custom resources of Kubernetes, rows of the ledger.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from adapter.domain.conversion import HIDDEN, Reader, is_secret
from adapter.domain.entities import CARRIER_KEYS, ApplicationEntity, Destination, Source
from adapter.domain.made_destination import MadeDestination

Kind = Literal["aetitle", "source", "destination"]
Origin = Literal["file", "api", "kubernetes"]
MadeBy = Literal["api", "kubernetes"]
Configured = ApplicationEntity | Source | Destination
KINDS: dict[Kind, type[Configured]] = {
    "destination": Destination,
    "source": Source,
    "aetitle": ApplicationEntity,
}
"""In the order in which they start: an AE Title names destinations."""
MADE: dict[Kind, type[Configured]] = {**KINDS, "destination": MadeDestination}
"""What is read of those that are made while the adapter runs."""
WORDS: dict[Kind, str] = {
    "aetitle": "AE Title",
    "source": "source",
    "destination": "destination",
}
TABLES: dict[Kind, str] = {
    "aetitle": "application_entities",
    "source": "sources",
    "destination": "destinations",
}
"""Of the configuration file."""
ROW_BYTES_MAX = 16 << 10
"""Of what is made over REST; a row of the ledger stays below 32 KiB."""
ENTITIES_MAX = 1000
"""Made over REST, of each kind; an AE Title or a destination costs two tasks and a mailbox."""


class EntityRow(Struct, frozen=True, kw_only=True):
    """What was made while the adapter ran, as it was accepted then."""

    kind: Kind = "aetitle"
    name: str
    settings: dict[str, Any]
    """Fields of its struct; what was right may be wrong at the next start."""
    retiring: bool = False
    """It is to go when nothing is left of its work."""
    revision: int = 0
    """How often it was changed."""
    origin: MadeBy = "api"


class EntityLedger(Protocol):
    """The rows, durable before a method returns. Errors as of `Ledger`."""

    async def entities(self) -> list[EntityRow]:
        """Return all rows, in the order in which they were made."""

    async def put_entity(self, row: EntityRow) -> None:
        """Add a row, or replace the one of that kind and name."""

    async def remove_entity(self, kind: Kind, name: str) -> None:
        """Remove a row; again is harmless."""


class ListedEntity(Struct, frozen=True, kw_only=True):
    """An AE Title, source or destination as people see it."""

    kind: Kind
    name: str
    ae_title: str
    origin: Origin
    settings: dict[str, Any]
    """As of `EntityRow`."""
    entity: Configured | None
    """None: it cannot be used, for what `problems` say."""
    retiring: bool = False
    problems: tuple[str, ...] = ()
    """Why it does not run although it is meant to."""
    revision: int = 0
    """As of `EntityRow`."""

    @property
    def tag(self) -> str:
        """The entity-tag (RFC 9110 8.8.3) of what is configured; what becomes of it is no part."""
        shown = hidden(MADE[self.kind], self.settings)
        what = (self.kind, self.name, self.origin, self.retiring, self.revision, shown)
        encoded = msgspec.msgpack.encode(what, order="deterministic")
        return f'"{hashlib.blake2b(encoded, digest_size=12).hexdigest()}"'


def named_sources(sources: Sequence[Source]) -> list[Source]:
    """Return sources of the configuration file, each with a name of its own."""
    named: dict[str, Source] = {}
    for source in sources:
        name = wanted = source.name or default_name(source.ae_title)
        number = 1
        while name in named:
            number += 1
            name = f"{wanted}-{number}"
        named[name] = msgspec.structs.replace(source, name=name)
    return list(named.values())


def default_name(ae_title: str) -> str:
    """Return the name of what is made without one."""
    return ae_title.strip().replace("/", "_")  # it becomes the last part of a path


def kind_of(entity: Configured) -> Kind:
    """Return of which kind it is."""
    return next(kind for kind, struct in KINDS.items() if isinstance(entity, struct))


def settings_of(entity: Configured) -> dict[str, Any]:
    """Return its fields with their values, without those of other types of destinations."""
    settings: dict[str, Any] = msgspec.to_builtins(entity)
    if isinstance(entity, Destination):
        own = CARRIER_KEYS[entity.type]
        others = {key for keys in CARRIER_KEYS.values() for key in keys} - set(own)
        settings = {key: value for key, value in settings.items() if key not in others}
    return settings


def of_file(entity: Configured) -> ListedEntity:
    """Return one of the configuration file."""
    return ListedEntity(
        kind=kind_of(entity),
        name=entity.name,
        ae_title=entity.ae_title,
        origin="file",
        settings=settings_of(entity),
        entity=entity,
    )


def of_row(row: EntityRow) -> ListedEntity:
    """Return one of the ledger, with what is wrong with its values."""
    reader = Reader()
    return ListedEntity(
        kind=row.kind,
        name=row.name,
        ae_title=str(row.settings.get("ae_title", "")),
        origin=row.origin,
        settings=row.settings,
        entity=reader.read(row.settings, MADE[row.kind]),
        retiring=row.retiring,
        revision=row.revision,
        problems=tuple(reader.problems),
    )


def hidden(kind: type[Struct], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without the secrets among them."""
    secret = {one.name for one in msgspec.structs.fields(kind) if is_secret(one.type)}
    return {key: HIDDEN if value and key in secret else value for key, value in settings.items()}


def kept_row(listed: ListedEntity) -> EntityRow:
    """Return the row that something listed has, or is to have."""
    return EntityRow(
        kind=listed.kind,
        name=listed.name,
        settings=listed.settings,
        retiring=listed.retiring,
        revision=listed.revision,
        origin="api" if listed.origin == "file" else listed.origin,
    )


def row_of(entity: Configured, revision: int = 0, origin: MadeBy = "api") -> EntityRow:
    """Return the row of what is new or changed.

    Raises:
        ValueError: It is too large, or holds a number that is.
    """
    row = EntityRow(
        kind=kind_of(entity), name=entity.name, settings=settings_of(entity), revision=revision,
        origin=origin,
    )  # fmt: skip
    try:
        size = len(msgspec.msgpack.encode(row))
    except OverflowError as error:
        raise ValueError(f"settings: a number is too large ({error})") from error
    if size > ROW_BYTES_MAX:
        raise ValueError(f"it takes {size} bytes, more than {ROW_BYTES_MAX}")
    return row
