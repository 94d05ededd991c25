"""Live events: what the hub numbers, encodes and streams (`event_types` has every type).

Rules: no patient data; ids, UIDs, AE Titles and counts only. An event is published after the fact
it tells of is true. The tag of its class is its type: a topic, a point and a verb.
"""

from typing import Any, Protocol

import msgspec
from msgspec import Struct


class Data(Struct, frozen=True, kw_only=True, rename="camel"):
    """What events of a type are told with; a field that is UNSET is not told."""


NOTHING = Data()


class Event(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True,
            tag_field="type"):  # fmt: skip
    """One thing that happened; `seq` and `time` are added by the hub."""

    ae_title: str = ""
    association: str = ""
    group: str = ""
    job: str = ""
    export: str = ""
    destination: str = ""
    data: Data = NOTHING

    @property
    def type(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def topic(self) -> str:
        return self.type.partition(".")[0]

    @property
    def verb(self) -> str:
        return self.type.partition(".")[2]

    @property
    def facts(self) -> dict[str, Any]:
        """The data as JSON values, by their names on the wire."""
        return dict(msgspec.to_builtins(self.data))


class Publish(Protocol):
    """Hands an event to the hub. Never waits, never raises."""

    def __call__(self, event: Event, /) -> None: ...
