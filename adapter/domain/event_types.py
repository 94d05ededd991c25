"""Every type of live event; docs/events.md and docs/asyncapi.json list them too."""

from functools import reduce
from operator import or_
from typing import Any

from adapter.domain import (
    association_events,
    export_events,
    group_events,
    job_events,
    system_events,
)
from adapter.domain.events import Event

_MODULES = (association_events, group_events, job_events, export_events, system_events)


def _types() -> dict[str, type[Event]]:
    found = {}
    for module in _MODULES:
        for one in vars(module).values():
            if isinstance(one, type) and issubclass(one, Event):
                tag = str(one.__struct_config__.tag)
                if "." in tag:  # else it is a base of others
                    found[tag] = one
    return found


EVENTS = _types()
"""Classes by type."""
EVENT_TYPES = frozenset(EVENTS)
TOPICS = tuple(dict.fromkeys(kind.partition(".")[0] for kind in EVENTS))
"""First words of types."""
ANY_EVENT: Any = reduce(or_, EVENTS.values())
"""What a message of the stream is decoded as, unless it is a `hello` or a `gap`."""
