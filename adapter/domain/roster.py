"""Which actors there are, how they are, and what waits for them.

How they are is folded from their events, for the event stream, `/api/actors`, health and metrics
alike. Mailboxes are read when somebody asks; nobody reaches an actor through them.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from adapter.domain.events import Event
from adapter.domain.wall_time import rfc3339

LOOK_S = 1.0
"""Between two looks at the mailboxes."""


@dataclass(slots=True)
class Mailbox:
    """A channel an actor receives from."""

    channel: trio.MemoryReceiveChannel[object]
    empty_at: float
    """When it was last seen empty; clock time."""

    def waiting(self) -> int:
        """Return how many messages are in it, and askers that wait to put one in."""
        figures = self.channel.statistics()
        return figures.current_buffer_used + figures.tasks_waiting_send

    def capacity(self) -> int:
        """Return for how many messages nobody waits."""
        return int(self.channel.statistics().max_buffer_size)

    def not_empty_s(self, now: float) -> float:
        """Look at it; return for how long nobody who looked has found it empty.

        Nothing in it has waited longer. It says little of a mailbox that is filled again as fast
        as it is emptied: what it takes to know better is a clock time in every message.
        """
        if not self.waiting():
            self.empty_at = now
        return now - self.empty_at


class Roster:
    """The actors by name; what was stopped stays in the rows, and is not at work."""

    def __init__(self, rows: dict[str, dict[str, Any]]) -> None:
        """Keep the rows, one for each actor, in this dictionary."""
        self._rows = rows
        self.crashes = Counter[str]()
        """Since the process began, by actor."""
        self.restarts = Counter[str]()
        self._mailboxes: dict[str, Mapping[str, Mailbox]] = {}

    def apply(self, event: Event, at: float) -> None:
        """Fold an event of an actor, which happened at this wall time, into its row."""
        facts = event.facts
        name = facts["actor"]
        row = self._rows.setdefault(name, {"name": name, "crashes": 0})
        if "crashes" in facts:  # else it was never started
            self.crashes[name] += 1
        self.restarts[name] += event.verb == "started" and row.get("state") == "crashed"
        row.update(facts, state=event.verb, changedAt=rfc3339(at))

    def at_work(self) -> list[dict[str, Any]]:
        """Return the rows of actors that are meant to run, in the order in which they came."""
        return [row for row in self._rows.values() if row.get("state") != "stopped"]

    def enter(self, name: str, actor: object, now: float) -> Mapping[str, Mailbox]:
        """Note from what an actor receives."""
        self._mailboxes[name] = {key: Mailbox(one, now) for key, one in _channels_of(actor)}
        return self._mailboxes[name]

    def leave(self, name: str, mailboxes: Mapping[str, Mailbox]) -> None:
        """Forget what was entered, unless another has the name by now."""
        if self._mailboxes.get(name) is mailboxes:
            del self._mailboxes[name]

    def mailboxes(self, name: str) -> Mapping[str, Mailbox]:
        """Return the mailboxes of an actor, by what flows; none while it is parked."""
        return self._mailboxes.get(name, {})

    def look(self, now: float) -> None:
        """Note which mailboxes are empty."""
        for mailboxes in self._mailboxes.values():
            for one in mailboxes.values():
                one.not_empty_s(now)


def _channels_of(actor: object) -> Iterator[tuple[str, trio.MemoryReceiveChannel[object]]]:
    if dataclasses.is_dataclass(actor):
        for field in dataclasses.fields(actor):
            value = getattr(actor, field.name, None)
            if isinstance(value, trio.MemoryReceiveChannel):
                yield field.name.strip("_"), value
