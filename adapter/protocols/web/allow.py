"""Letting a caller in that was refused as an unknown source: its rejection becomes a source."""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from litestar import Response, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from adapter.domain.addresses import address_matches
from adapter.domain.entities import Source
from adapter.domain.entity_rows import ListedEntity, default_name
from adapter.domain.rejections import Caller
from adapter.domain.views import Views
from adapter.protocols.web.entities import answer, ordered
from adapter.protocols.web.entity_forms import SOURCES
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import ADMINISTRATOR


@post(
    "/api/associations/{association_id:str}/allow",
    opt=ADMINISTRATOR,
    summary="Make a source of a caller that was refused as an unknown one",
)
async def allow(web: State, association_id: FromPath[str]) -> Response[dict[str, Any]]:
    """Make a source of its AE Title and address: 201 with it; 200 if there is one that lets it in.

    404, 409 if it was refused for something else, 503 if nobody answers now.
    """
    row = web.occupancy.rejected.find(association_id)
    if row is None:
        raise NotFoundException(f"no refused association {association_id}")
    if not row.why.may_be_allowed:
        why = f"no source would let it in: it was refused because {row.why!s}"
        raise HTTPException(why, status_code=HTTPStatus.CONFLICT)
    if known := _known(web, row.caller):
        return answer(SOURCES, web, known)
    title = row.caller.calling_ae_title
    wanted = {"name": _free_name(web, title), "aeTitle": title, "host": row.caller.peer}
    source = SOURCES.read(wanted, None)
    made = await ordered(SOURCES, web, "create", source.name, source)
    response = answer(SOURCES, web, made, HTTPStatus.CREATED)
    response.headers["Location"] = f"{SOURCES.route}/{quote(source.name, safe='')}"
    return response


def _known(web: Views, caller: Caller) -> ListedEntity | None:
    """Return a source that lets the caller in by its address; names are not looked up."""
    for listed in web.listed["source"].values():
        source = listed.entity
        if not isinstance(source, Source) or source.ae_title.strip() != caller.calling_ae_title:
            continue
        if any(address_matches(host, caller.peer, frozenset()) for host in source.hosts):
            return listed
    return None


def _free_name(web: Views, ae_title: str) -> str:
    name, number = default_name(ae_title), 1
    while name in web.listed["source"]:
        number += 1
        name = f"{default_name(ae_title)}-{number}"
    return name


ALLOW = [allow]
