"""AE Titles, sources and destinations as JSON: Clara's names, with our fields beside them.

A body says what a table of the configuration file says, in camelCase, and what that would refuse is
refused here. What an answer shows can be sent back: what only we can know is left out then.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, get_args

import msgspec
from litestar.exceptions import HTTPException
from msgspec import Struct

from adapter.domain import plugins
from adapter.domain.assignments import (
    DECIDED_BY,
    contradictions,
    decided_by_settings,
    processing_of,
)
from adapter.domain.conversion import HIDDEN, Reader, is_secret
from adapter.domain.entities import ApplicationEntity, DestinationTls, OneProcessor
from adapter.domain.entity_rows import (
    MADE,
    WORDS,
    Configured,
    Kind,
    ListedEntity,
    default_name,
    hidden,
)
from adapter.domain.views import Views
from adapter.protocols.web.views import camel_name

DEPTH_MAX = 16
"""Of a body; what is stored is walked through by functions that call themselves."""
HOST, CLARA_HOST = "host", "hostIp"
PROCESSING = "processing"
SHOWN_ONLY = ("origin", "state", "problems", PROCESSING)
_PARTS = (OneProcessor, DestinationTls)


class Objections(HTTPException):
    """What is wrong with a request, all of it."""

    def __init__(self, status: HTTPStatus, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems), status_code=status)
        self.problems = list(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one kind is written."""

    kind: Kind
    route: str
    actors: str
    """Whose state is its state: a pattern, with the name in place of `NAME`."""
    clara: Mapping[str, str] = field(default_factory=dict)
    """Where Clara's name is not ours in camelCase."""

    @property
    def one(self) -> str:
        """The route of a single one."""
        return f"{self.route}/{{name:str}}"

    @property
    def words(self) -> str:
        """What it is called."""
        return WORDS[self.kind]

    def spelled(self, name: str) -> str:
        """Return how a field is spelled here."""
        return self.clara.get(name) or camel_name(name)

    def in_our_words(self, problem: str) -> str:
        """Return a problem with its key as it is spelled here."""
        structs = (MADE[self.kind], *_PARTS)
        fields = "|".join({name for struct in structs for name in struct.__struct_fields__})
        key = re.compile(rf"^((?:processors\[\d+\]|tls)\.)?({fields})\b")
        return key.sub(lambda found: (found[1] or "") + self.spelled(found[2]), problem)

    # --- from JSON

    def read(self, document: dict[str, Any], now: ListedEntity | None) -> Configured:
        """Return what a body describes.

        Args:
            document: The body.
            now: What is to be changed, if it is.

        Raises:
            Objections: It does not describe one.
        """
        if _is_deeper(document, DEPTH_MAX):
            raise Objections(HTTPStatus.BAD_REQUEST, [f"it is nested deeper than {DEPTH_MAX}"])
        problems: list[str] = []
        document = {key: value for key, value in document.items() if key not in SHOWN_ONLY}
        if HOST in MADE[self.kind].__struct_fields__:
            problems += _read_host(document)
        if self.kind != "destination" and not document.get("name"):
            title = document.get("aeTitle")
            document["name"] = default_name(title) if isinstance(title, str) else ""
        if self.kind == "aetitle" and isinstance(processor := document.get("processor"), str):
            document["processor"] = plugins.in_our_words(processor)
        self._keep_secrets(document, now)
        reader = Reader(spelled=self.spelled)
        entity: Configured | None = reader.read(document, MADE[self.kind])
        problems += reader.problems
        if entity is None or problems:
            raise Objections(HTTPStatus.BAD_REQUEST, problems)
        return entity

    def _keep_secrets(self, document: dict[str, Any], now: ListedEntity | None) -> None:
        """Put back what was hidden when it was shown."""
        for one in msgspec.structs.fields(MADE[self.kind]):
            key = self.spelled(one.name)
            if is_secret(one.type) and document.get(key) == HIDDEN:
                document[key] = now.settings.get(one.name, "") if now is not None else ""

    def contradictions(self, document: Mapping[str, Any], entity: Configured) -> list[str]:
        """Return where a body says two things of which one would have no effect."""
        if not isinstance(entity, ApplicationEntity):
            return []
        given = {one for one in entity.__struct_fields__ if self.spelled(one) in document}
        return [
            f"{one.where}{self.spelled(one.field)}: {one.says!r}, but "
            f"{one.where}{self.spelled('settings')}.{DECIDED_BY[one.field]} decides, and makes it "
            f"{one.in_force!r}; change it there, or leave it out there"
            for one in contradictions(entity, given)
        ]

    # --- to JSON

    def shown(self, web: Views, listed: ListedEntity) -> dict[str, Any]:
        """Return what people see."""
        struct = MADE[self.kind]
        fields = hidden(struct, listed.settings)
        entity, problems = listed.entity, [self.in_our_words(one) for one in listed.problems]
        more: dict[str, Any] = {}
        if isinstance(entity, ApplicationEntity):
            more[PROCESSING] = [] if problems else processing_of(entity)
            fields |= {} if problems else decided_by_settings(entity)
            problems += web.programs.problems(entity)
        settings = self._spelled(struct, fields)
        if HOST in settings:
            host = settings[HOST]
            settings[CLARA_HOST] = host[0] if isinstance(host, list) and host else host
        state = self._state(web, listed)
        return {**settings, "origin": listed.origin, "state": state, "problems": problems, **more}

    def _spelled(self, struct: type[Struct], settings: Mapping[str, Any]) -> dict[str, Any]:
        types = {one.name: one.type for one in msgspec.structs.fields(struct)}
        shown: dict[str, Any] = {}
        for key, value in settings.items():
            part = _part_of(types.get(key))
            if part is not None and isinstance(value, list):
                value = [self._spelled(part, one) for one in value]
            elif part is not None and isinstance(value, dict):
                value = self._spelled(part, value)
            shown[self.spelled(key)] = value
        return shown

    def _state(self, web: Views, listed: ListedEntity) -> Literal["running", "parked", "draining"]:
        own = re.compile(self.actors.replace("NAME", re.escape(listed.name)))
        actors = web.snapshot.roster.at_work()
        states = {row["state"] for row in actors if own.fullmatch(row["name"])}
        if listed.problems or "parked" in states:
            return "parked"
        return "draining" if listed.retiring else "running"


def _read_host(document: dict[str, Any]) -> list[str]:
    """Put Clara's `hostIp` where ours is; return what is wrong if both are given."""
    if CLARA_HOST not in document:
        return []
    clara = document.pop(CLARA_HOST)
    ours = document.setdefault(HOST, clara)
    first = ours[0] if isinstance(ours, list) and ours else ours
    if first == clara:
        return []
    return [f"{CLARA_HOST}, {HOST}: they are one thing, and differ; leave one of them out"]


def _part_of(kind: Any) -> type[Struct] | None:
    """Return the struct in a field's type."""
    if kind in _PARTS:
        part: type[Struct] = kind
        return part
    return next((part for part in map(_part_of, get_args(kind)) if part), None)


def _is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in value)


AE_TITLES = Form(
    kind="aetitle",
    route="/api/config/claraaetitle",
    actors=r"(entity|processor):NAME(:.+)?",
    clara={"settings": "processorSettings"},
)
SOURCES = Form(kind="source", route="/api/config/sourceaetitle", actors="source:NAME")
DESTINATIONS = Form(
    kind="destination", route="/api/config/destinationaetitle", actors="exporter:NAME"
)
FORMS = (AE_TITLES, SOURCES, DESTINATIONS)
