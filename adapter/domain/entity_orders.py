"""What an operator wants of AE Titles, sources and destinations while the adapter runs."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

import trio

from adapter.domain.entity_rows import Configured, Kind, ListedEntity, MadeBy

EntityAction = Literal["create", "change", "remove", "restart"]


class EntityRefusal(Enum):
    """Why nothing is made, changed, removed or restarted."""

    UNKNOWN = auto()
    """There is none of this name."""
    CONFLICT = auto()
    """What there is does not allow it."""
    INVALID = auto()
    """The configuration file would be refused with it."""
    CHANGED = auto()
    """It is not any more what whoever orders has seen."""


@dataclass(frozen=True, slots=True)
class EntityRefused:
    """Entities -> web: nothing was changed."""

    refusal: EntityRefusal
    problems: tuple[str, ...]
    """At least one; keys as in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityOrder:
    """Web, custom resources -> entities: what is to become of one of them.

    The answer is the entity as it is then, and it is durable.
    """

    action: EntityAction
    kind: Kind = "aetitle"
    name: str
    entity: Configured | None = None
    """Of `create` and `change`."""
    tags: frozenset[str] | None = None
    """Its entity-tag has to be one of these; None: any will do."""
    drain: bool | None = None
    """Of `remove`: also while there is work for it, which it does before it goes; None: as its kind
    does unasked."""
    origin: MadeBy = "api"
    """Whose order it is; others' are left to them."""
    reply: trio.MemorySendChannel[ListedEntity | EntityRefused]
