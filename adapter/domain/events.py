"""Live events: what the hub numbers, encodes and streams (docs/events.md lists every type).

Rules: no patient data; ids, UIDs, AE Titles and counts only. An event is published after the fact
it tells of is true.
"""

from typing import Any, Protocol

from msgspec import Struct, field

TOPICS: dict[str, tuple[str, ...]] = {
    "association": ("requested", "accepted", "rejected", "released", "aborted"),
    "instance": ("stored", "ignored", "duplicate", "refused"),
    "group": ("opened", "extended", "held", "dropped", "closed"),
    "job": ("opened", "state", "faulted", "cancelled", "completed", "collected"),
    "task": ("registered", "taken", "state", "failed", "succeeded"),
    "export": ("opened", "state", "sent", "given", "failed", "completed"),
    "commitment": ("requested", "refused", "reported", "expired"),
    "destination": ("up", "down", "tried", "held", "released"),
    "storage": ("low", "recovered", "reclaimed", "rebuilt"),
    "actor": ("started", "crashed", "parked", "stopped"),
    "config": ("created", "changed", "deleted", "refused"),
    "kubernetes": ("lost", "reached", "refused"),
}
EVENT_TYPES = frozenset(f"{topic}.{verb}" for topic, verbs in TOPICS.items() for verb in verbs)


class Event(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that happened; `seq` and `time` are added by the hub."""

    type: str
    ae_title: str = ""
    association: str = ""
    group: str = ""
    job: str = ""
    export: str = ""
    destination: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        return self.type.partition(".")[0]


class Publish(Protocol):
    """Hands an event to the hub. Never waits, never raises."""

    def __call__(self, event: Event, /) -> None: ...
