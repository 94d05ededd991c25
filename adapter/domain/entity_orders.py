"""What an operator wants of the AE Titles while the adapter runs, and what is answered."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

import trio

from adapter.domain.entities import ApplicationEntity
from adapter.domain.entity_rows import ListedEntity


class EntityRefusal(Enum):
    """Why an AE Title is not made, changed, removed or restarted."""

    UNKNOWN = auto()
    """There is none of this name."""
    CONFLICT = auto()
    """What there is does not allow it."""
    INVALID = auto()
    """The configuration file would be refused with it."""


@dataclass(frozen=True, slots=True)
class EntityRefused:
    """Entities -> web: nothing was changed."""

    refusal: EntityRefusal
    problems: tuple[str, ...]
    """At least one; keys as in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityOrder:
    """Web -> entities: what is to become of an AE Title.

    The answer is the AE Title as it is then, and it is durable.
    """

    action: Literal["create", "change", "remove", "restart"]
    name: str
    entity: ApplicationEntity | None = None
    """Of `create` and `change`."""
    reply: trio.MemorySendChannel[ListedEntity | EntityRefused]
