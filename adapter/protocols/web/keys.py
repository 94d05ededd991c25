"""Keys of the API over the API: made, listed, revoked by administrators (docs/security.md)."""

import secrets
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath, JSONBody

from adapter.domain.access import (
    DRAWN_BYTES,
    ApiKey,
    Caller,
    NewKey,
    Role,
    make_key,
    shown,
    superfluous,
)
from adapter.domain.system_events import ConfigCreated, ConfigDeleted, ConfigEvent, ConfigFacts
from adapter.domain.views import Views
from adapter.protocols.web.access import CALLER, Access, Guarding
from adapter.protocols.web.health import State
from adapter.protocols.web.paging import PAGE_MAX, PAGED, AnyRequest, Limit, Offset, paged
from adapter.protocols.web.roles import ADMINISTRATOR, VIEWER


@get("/api/caller", opt=VIEWER, summary="Who asks, and what they may do")
async def caller(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return name and role of the key the request came with."""
    asks: Caller = request.state[CALLER]
    return {"name": asks.name, "role": asks.role, "address": asks.address}


@get("/api/keys", opt=ADMINISTRATOR, summary="Keys of the API", response_headers=PAGED)
async def keys(
    access: Guarding, request: AnyRequest, limit: Limit = PAGE_MAX, offset: Offset = 0
) -> Response[list[dict[str, Any]]]:
    """Return all, also those that have expired or were revoked; secrets are not kept."""
    now = access.now()
    return paged(request, [shown(key, now) for key in access.keys.all()], limit, offset)


@get("/api/keys/{key_id:str}", opt=ADMINISTRATOR, summary="One key")
async def one_key(access: Guarding, key_id: FromPath[str]) -> dict[str, Any]:
    """Return it, without its secret."""
    return shown(_found(access, key_id), access.now())


def _found(access: Access, key_id: str) -> ApiKey:
    key = access.keys.find(key_id)
    if key is None:
        raise NotFoundException(f"there is no key {key_id[:16]!r}")
    return key


@post("/api/keys", opt=ADMINISTRATOR, summary="Make a key")
async def create(
    web: State, access: Guarding, request: Request[Any, Any, Any], data: JSONBody[NewKey]
) -> Response[dict[str, Any]]:
    """Make a key; `key` of the answer is shown this once.

    409 if a usable key has the name, or there are too many.
    """
    now = access.now()
    asks: Caller = request.state[CALLER]
    try:
        key, token = make_key(data, access.keys, now, asks.name, secrets.token_bytes(DRAWN_BYTES))
    except ValueError as error:
        raise HTTPException(str(error), status_code=HTTPStatus.CONFLICT) from None
    await access.keys.put(key)
    for old in superfluous(access.keys, now):
        await access.keys.remove(old.id)
    _tell(web, ConfigCreated, key)
    return Response(
        {**shown(key, now), "key": token}, status_code=HTTPStatus.CREATED,
        headers={"Cache-Control": "no-store"},
    )  # fmt: skip


@delete(
    "/api/keys/{key_id:str}", status_code=HTTPStatus.OK, opt=ADMINISTRATOR, summary="Revoke a key"
)
async def revoke(web: State, access: Guarding, key_id: FromPath[str]) -> dict[str, Any]:
    """Have a key be of no use from now on; again is harmless.

    404; 409 if it is the last one of an administrator.
    """
    now = access.now()
    key = _found(access, key_id)
    if key.ended_at(now):
        return shown(key, now)
    others = [one for one in access.keys.all() if one.id != key_id and not one.ended_at(now)]
    is_last = not any(one.role is Role.ADMINISTRATOR for one in others)
    if key.role is Role.ADMINISTRATOR and is_last:
        why = "it is the last key of an administrator; make another one before"
        raise HTTPException(why, status_code=HTTPStatus.CONFLICT)
    revoked = msgspec.structs.replace(key, revoked_at=now)
    await access.keys.put(revoked)
    _tell(web, ConfigDeleted, revoked)
    return shown(revoked, now)


def _tell(web: Views, kind: type[ConfigEvent], key: ApiKey) -> None:
    """Publish that there is a key, or no longer; nothing of its secret, nor its digest."""
    facts = ConfigFacts(kind="key", name=key.name, id=key.id, role=str(key.role))
    web.publish(kind(data=facts))


KEYS = [caller, keys, one_key, create, revoke]
