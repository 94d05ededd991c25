"""AE Titles while the adapter runs: Clara's routes and names, with our fields beside them.

The body says what a table `[[application_entities]]` of the configuration file says, and what that
would refuse is refused here. The key of an AE Title is its `name`.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal

import trio
from litestar import Response, delete, get, post, put
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import Body, FromPath

from adapter.channels import UNANSWERED, ask
from adapter.domain.conversion import Reader
from adapter.domain.entities import ApplicationEntity, OneProcessor
from adapter.domain.entity_orders import EntityOrder, EntityRefusal, EntityRefused
from adapter.domain.entity_rows import ListedEntity
from adapter.domain.views import Views
from adapter.protocols.web.health import State
from adapter.protocols.web.origin import ours_only
from adapter.protocols.web.views import camel_name

ROUTE = "/api/config/claraaetitle"
ANSWER_S = 10.0
DEPTH_MAX = 16
"""Of a body; what is stored is walked through by functions that call themselves."""
CLARA = {"settings": "processorSettings"}
"""Where Clara's name is not ours in camelCase."""
_STATUS = {
    EntityRefusal.UNKNOWN: HTTPStatus.NOT_FOUND,
    EntityRefusal.CONFLICT: HTTPStatus.CONFLICT,
    EntityRefusal.INVALID: HTTPStatus.BAD_REQUEST,
}
Document = Annotated[
    dict[str, Any],
    Body(
        description=(
            "The keys of `[[application_entities]]` in camelCase, `settings` as "
            "`processorSettings`, also in `processors`; `name` is the AE Title if it is missing."
        )
    ),
]


class Objections(HTTPException):
    """What is wrong with a request, all of it."""

    def __init__(self, status: HTTPStatus, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems), status_code=status)
        self.problems = list(problems)


def spelled(field: str) -> str:
    """Return how a field of an AE Title is spelled here."""
    return CLARA.get(field) or camel_name(field)


_FIELDS = "|".join({*ApplicationEntity.__struct_fields__, *OneProcessor.__struct_fields__})
_KEY = re.compile(rf"^(processors\[\d+\]\.)?({_FIELDS})\b")


def _in_our_words(problem: str) -> str:
    """Return the problem with its key as it is spelled here."""
    return _KEY.sub(lambda found: (found[1] or "") + spelled(found[2]), problem)


def _read(document: dict[str, Any]) -> ApplicationEntity:
    """Return the AE Title that a body describes.

    Raises:
        Objections: It does not describe one.
    """
    if _is_deeper(document, DEPTH_MAX):
        problem = f"it is nested deeper than {DEPTH_MAX}"
        raise Objections(HTTPStatus.BAD_REQUEST, [problem])
    reader = Reader(spelled=spelled)
    entity: ApplicationEntity | None = reader.read(document, ApplicationEntity)
    if entity is None:
        raise Objections(HTTPStatus.BAD_REQUEST, reader.problems)
    return entity


def _is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in value)


def _shown(web: Views, listed: ListedEntity) -> dict[str, Any]:
    return {
        **_spelled(listed.settings),
        "processors": [_spelled(one) for one in listed.settings.get("processors", [])],
        "origin": listed.origin,
        "state": _state(web, listed),
        "problems": [_in_our_words(problem) for problem in listed.problems],
    }


def _spelled(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {spelled(key): value for key, value in settings.items()}


def _state(web: Views, listed: ListedEntity) -> Literal["running", "parked", "draining"]:
    own = re.compile(rf"(entity|processor):{re.escape(listed.name)}(:.+)?")
    actors = web.snapshot.sections["actors"].values()
    states = {row["state"] for row in actors if own.fullmatch(row["name"])}
    if listed.problems or "parked" in states:
        return "parked"
    return "draining" if listed.retiring else "running"


@get("/api/config/claraaetitle", summary="AE Titles that take instances")
async def entities(web: State) -> list[dict[str, Any]]:
    """Return all, those of the configuration file first."""
    rows = sorted(web.listed.values(), key=lambda one: (one.origin != "file", one.name))
    return [_shown(web, listed) for listed in rows]


@get("/api/config/claraaetitle/{name:str}", summary="One AE Title")
async def entity(web: State, name: FromPath[str]) -> dict[str, Any]:
    """Return one; its `state` is `running`, `parked` or `draining`."""
    if listed := web.listed.get(name):
        return _shown(web, listed)
    raise NotFoundException(f"no AE Title is named {name!r}")


@post("/api/config/claraaetitle", guards=[ours_only], summary="Make an AE Title")
async def create(web: State, data: Document) -> Response[dict[str, Any]]:
    """Make one; it takes associations from now on, and is there again after a restart.

    400 with all `problems`, 409 if its name or AE Title is used, 503 if nobody answers now.
    """
    wanted = _read({**data, "name": data.get("name") or data.get("aeTitle")})
    made = await _order(web, "create", wanted.name, wanted)
    return Response(made, status_code=201, headers={"Location": f"{ROUTE}/{wanted.name}"})


@put("/api/config/claraaetitle/{name:str}", guards=[ours_only], summary="Change an AE Title")
async def change(web: State, name: FromPath[str], data: Document) -> dict[str, Any]:
    """Replace it; what is missing gets its default. Open groups go on under the new settings.

    400 with all `problems`, 404, 409 if it is of the file or being removed, 503.
    """
    wanted = _read({"name": name, **data})
    if wanted.name != name:
        problem = f"name: {wanted.name!r} is not {name!r}, and cannot be changed"
        raise Objections(HTTPStatus.BAD_REQUEST, [problem])
    return await _order(web, "change", name, wanted)


@delete(
    "/api/config/claraaetitle/{name:str}",
    status_code=HTTPStatus.OK,
    guards=[ours_only],
    summary="Remove an AE Title",
)
async def remove(web: State, name: FromPath[str]) -> dict[str, Any]:
    """Let no association in any more; it is gone when its groups have become jobs.

    404, 409 if it is of the file, 503.
    """
    return await _order(web, "remove", name)


@post(
    "/api/config/claraaetitle/{name:str}/restart",
    status_code=HTTPStatus.OK,
    guards=[ours_only],
    summary="Start an AE Title again that is parked",
)
async def restart(web: State, name: FromPath[str]) -> dict[str, Any]:
    """Start it again. 404, 409 if it is not parked or cannot run as it is, 503."""
    return await _order(web, "restart", name)


async def _order(
    web: Views,
    action: Literal["create", "change", "remove", "restart"],
    name: str,
    wanted: ApplicationEntity | None = None,
) -> dict[str, Any]:
    def order(reply: trio.MemorySendChannel[ListedEntity | EntityRefused]) -> EntityOrder:
        return EntityOrder(action=action, name=name, entity=wanted, reply=reply)

    try:
        done = await ask(web.entity_orders, order, ANSWER_S)
    except UNANSWERED:
        raise HTTPException("nobody answers now; look, and ask again", status_code=503) from None
    if isinstance(done, EntityRefused):
        raise Objections(_STATUS[done.refusal], [_in_our_words(each) for each in done.problems])
    return _shown(web, done)


ENTITIES = [entities, entity, create, change, remove, restart]
