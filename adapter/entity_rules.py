"""What the configuration file would say of AE Titles, sources and destinations made over REST."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from adapter.domain.carriers import DestinationFiles
from adapter.domain.entities import ApplicationEntity, Destination
from adapter.domain.entity_rows import KINDS, TABLES, WORDS, Configured, kind_of
from adapter.relations import listening_ports, relations
from adapter.settings import Settings

_ENTRY = re.compile(r"^(application_entities|sources|destinations)\[(\d+)\](?=[.:])")
_TABLE_KINDS = {table: kind for kind, table in TABLES.items()}


class HasSettings(Protocol):
    """Has the settings that count now."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class EntityRules:
    """See `actors.entity_branch.Rules`."""

    live: HasSettings
    files: DestinationFiles

    def problems(self, made: Sequence[Configured], wanted: Configured | None) -> list[str]:
        """See `Rules.problems`; keys of others begin with what they are."""
        together = self._together(made)
        return [_named(problem, together, wanted) for problem in relations(together)]

    def _together(self, made: Sequence[Configured]) -> Settings:
        tables: dict[str, list[Configured]] = {
            table: list(getattr(self.live.settings, table)) for table in TABLES.values()
        }
        for entity in made:
            tables[TABLES[kind_of(entity)]].append(entity)
        return msgspec.structs.replace(self.live.settings, **tables)

    def own_problems(self, entity: Configured) -> list[str]:
        """See `Rules.own_problems`."""
        ports = {port.serves for port in listening_ports(self.live.settings)}
        match entity:
            case ApplicationEntity(port=int(port)) if port not in ports:
                why = "is not listened on; a port of its own needs an AE Title in the"
                return [f"port: {port} {why} configuration file"]
            case Destination():
                return self.files.problems(entity)
            case _:
                return []


def _named(problem: str, together: Settings, wanted: Configured | None) -> str:
    """Return a problem with the name of what has it; what is wanted needs none."""
    found = _ENTRY.match(problem)
    if found is None:
        return problem
    kind = _TABLE_KINDS[found[1]]
    entity = getattr(together, found[1])[int(found[2])]
    assert isinstance(entity, KINDS[kind])
    rest = problem[found.end() :].lstrip(".: ")
    if entity is wanted:
        return rest
    return f"{WORDS[kind]} {entity.name or entity.ae_title!r}: {rest}"
