"""The configuration changes while the adapter runs: what is proposed, and what is said of it.

A proposal is taken as a whole or not at all. What cannot change without a restart is named, and
left as it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import trio
from msgspec import Struct

from adapter.domain.entity_rows import Configured, Kind, Origin


class Change(Struct, frozen=True, kw_only=True):
    """A key that is to have another value."""

    key: str
    """`dicom.scp.port`, `destinations[pacs].port`; a name alone: all of it comes or goes."""
    old: Any
    """None: it was not there."""
    new: Any
    restart: bool
    """It is left as it is until the adapter is restarted."""


Does = Literal["starts", "changes", "goes", "drains", "is usable again"]


class EntityEffect(Struct, frozen=True, kw_only=True):
    """What becomes of an AE Title, source or destination."""

    kind: Kind
    name: str
    origin: Origin
    """Where it is listed; what was not made by the file may be usable by what that says."""
    does: Does
    left: str = ""
    """What it drains."""


class Plan(Struct, frozen=True, kw_only=True):
    """What is to change, or has."""

    changes: tuple[Change, ...]
    entities: tuple[EntityEffect, ...] = ()
    warnings: tuple[str, ...] = ()
    """As of `Proposal`."""
    applied: bool

    def keys(self, *, restart: bool) -> list[str]:
        """Return the keys that need a restart, or those that do not."""
        return [change.key for change in self.changes if change.restart is restart]


class Proposal(Protocol):
    """A configuration that was read and is valid by itself."""

    changes: tuple[Change, ...]
    entities: Sequence[Configured]
    """All of the file, as they are to run."""
    warnings: tuple[str, ...]
    """What is no reason to refuse it, and does not work here and now."""

    def problems(self, made: Sequence[Configured]) -> list[str]:
        """Return what is wrong with it beside what was made over REST."""

    def adopt(self) -> None:
        """Let it count from now on."""


class ConfigurationSource(Protocol):
    """Where the configuration comes from."""

    async def read(self) -> Proposal:
        """Read it to have it count; `wait_changed` says nothing of what has been read.

        Raises:
            ConfigurationError: With every problem found.
        """

    async def plan(self, document: Mapping[str, Any] | None) -> Proposal:
        """Only look at it, or at this in its place.

        Raises:
            ConfigurationError: With every problem found.
        """

    async def wait_changed(self) -> str:
        """Return when it should be read again: who says so."""

    def look_again(self, by: str) -> None:
        """Have it read again now, whether it has changed or not."""

    async def note(self, by: str) -> None:
        """Tell the audit trail what counts now."""

    async def note_refused(self, by: str, problems: Sequence[str]) -> None:
        """Tell the audit trail that it was read, and why it does not count."""


@dataclass(frozen=True, slots=True)
class ReloadRefused:
    """Nothing was changed."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadOrder:
    """Web -> configuration: read the configuration again."""

    by: str
    """Who wants it, for the audit trail."""
    dry_run: bool
    """Only say what would change."""
    document: Mapping[str, Any] | None = None
    """What the file would say, of a dry run; None: what it says."""
    reply: trio.MemorySendChannel[Plan | ReloadRefused]


@dataclass(frozen=True, slots=True)
class EntitiesJudged:
    """Entities -> configuration."""

    problems: Sequence[str]
    """If there are any, nothing was changed."""
    effects: tuple[EntityEffect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitiesProposed:
    """Configuration -> entities: have run what the file lists now."""

    proposal: Proposal
    dry_run: bool
    reply: trio.MemorySendChannel[EntitiesJudged]


@dataclass(slots=True)
class ReloadFigures:
    """What became of the latest reload, for /metrics."""

    succeeded: bool = True
    at: float = 0.0
    """Wall time; 0: there was none."""


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], names: Mapping[str, str], path: str = ""
) -> Iterable[tuple[str, Any, Any]]:
    """Yield (key, old, new) of what differs between two configurations.

    Args:
        old: Keys and values.
        new: The same keys.
        names: By the keys of lists of tables, the key that names their entries.
        path: Of both.
    """
    for key, now in new.items():
        here, before = f"{path}{key}", old.get(key)
        if here in names:
            yield from _in_list(_by_name(before, names[here]), _by_name(now, names[here]), here)
        elif isinstance(now, dict) and isinstance(before, dict) and now and before:
            yield from differences(before, now, names, f"{here}.")
        elif now != before:
            yield here, before, now
    yield from ((f"{path}{key}", before, None) for key, before in old.items() if key not in new)


def _by_name(entries: Any, name: str) -> dict[str, Any]:
    return {entry[name]: entry for entry in entries}


def _in_list(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str
) -> Iterable[tuple[str, Any, Any]]:
    for name in (*new, *(name for name in old if name not in new)):
        here, before, now = f"{path}[{name}]", old.get(name), new.get(name)
        if before is None or now is None:
            yield here, before, now
        else:
            yield from differences(before, now, {}, f"{here}.")
