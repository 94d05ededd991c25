"""Which actors there are, how often each was started, and what waits for it.

Read by those who show it; nobody reaches an actor through it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import trio


@dataclass(slots=True)
class RosterEntry:
    """An actor under supervision."""

    name: str
    essential: bool
    mailboxes: dict[str, trio.MemoryReceiveChannel[object]]
    """What it receives from, by what flows."""
    starts: int = 0
    crashes: int = 0
    """All of them, since it was made."""
    last_crash: str = ""
    """The name of the exception."""
    parked: bool = False

    def crashed(self, crash: Exception) -> None:
        """Note a crash."""
        self.crashes += 1
        self.last_crash = type(crash).__name__


class Roster:
    """The entries, in the order in which they were made."""

    def __init__(self) -> None:
        self.entries: dict[str, RosterEntry] = {}

    def enter(self, name: str, actor: object, *, essential: bool) -> RosterEntry:
        """List an actor; one of the same name before it is forgotten."""
        entry = self.entries[name] = RosterEntry(name, essential, dict(_mailboxes(actor)))
        return entry

    def leave(self, entry: RosterEntry) -> None:
        """Take it off the list, unless it is parked, or another has its name."""
        if not entry.parked and self.entries.get(entry.name) is entry:
            del self.entries[entry.name]


def _mailboxes(actor: object) -> Iterator[tuple[str, trio.MemoryReceiveChannel[object]]]:
    if dataclasses.is_dataclass(actor):
        for field in dataclasses.fields(actor):
            value = getattr(actor, field.name, None)
            if isinstance(value, trio.MemoryReceiveChannel):
                yield field.name, value
