"""Who may use which route: one guard before every handler, over HTTP and WebSocket.

A route states its role (`roles`); one that states none is for administrators. The guard looks at
the Host header (no name of somebody else's may lead here: DNS rebinding), at the Origin of whatever
is no mere look, at the key, at the role. Keys come as `Authorization: Bearer` or `X-API-Key`, and
from browsers, which can set neither for a WebSocket, as a subprotocol; never in the URL.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import trio
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.params import SkipValidation

from adapter.domain.access import Caller, KeyLedger, Role, key_of
from adapter.domain.failed_logins import FailedLogins
from adapter.domain.ports import WallClock
from adapter.protocols.web.before import BEFORE, looked_at
from adapter.protocols.web.places import Places
from adapter.protocols.web.roles import ROLE
from adapter.protocols.web.trail import Trail

Connection = ASGIConnection[Any, Any, Any, Any]
KEY_SUBPROTOCOL = "key."
"""Before a key that a browser shows as a subprotocol."""
CALLER = "caller"
"""In the state of a connection: who makes the request."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MISDIRECTED = 421
TOO_MANY = 429
KEY_LOOK_S = 1.0
"""How long a stream may outlast its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The guard, and what it has to know."""

    keys: KeyLedger
    trail: Trail
    now: WallClock
    auth: Literal["api-key", "none"] = "none"
    host_names: Sequence[str] = ()
    """Under which this API may be asked for, besides addresses and `localhost`."""
    places: Places = field(default_factory=Places)
    """Of connections, to be shown."""
    failed: FailedLogins = field(default_factory=FailedLogins)

    async def guard(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let a request through to its handler, or not.

        Raises:
            HTTPException: 401, 403, 421, 429; it may not.
        """
        needed = Role(handler.opt.get(ROLE, Role.ADMINISTRATOR))
        if needed is Role.OPEN:
            return
        if self.auth == "none":
            self._check_host(connection)
        if needed.includes(Role.OPERATOR) or _is_no_look(connection):
            self._check_origin(connection)
        caller = await self._caller(connection)
        connection.scope["state"][CALLER] = caller
        if not caller.role.includes(needed):
            raise PermissionDeniedException(f"the key {caller.name!r} is no {needed}'s")
        if _is_no_look(connection) and connection.scope["type"] == ScopeType.HTTP:
            connection.scope["state"][BEFORE] = await looked_at(connection.scope)

    async def ended(self, caller: Caller) -> str:
        """Return why a stream has to end, once the key it was opened with is of no use; waits.

        Looks again and again: an event tells of a revoked key, but none of one that expires.
        """
        if not caller.key_id:
            await trio.sleep_forever()
        while True:
            key = self.keys.find(caller.key_id)
            if key is None or key.ended_at(self.now()):
                expired = key is not None and not key.revoked_at
                return "the key has expired" if expired else "the key was revoked"
            await trio.sleep(KEY_LOOK_S)

    # --- where a request comes from

    def _check_host(self, connection: Connection) -> None:
        host = connection.headers.get("host", "")
        if not self._is_our_name(_host_name(f"//{host}")):
            raise HTTPException("no such host; see api.host_names", status_code=MISDIRECTED)

    def _check_origin(self, connection: Connection) -> None:
        """Refuse what a page of somebody else's asks for; programs send no Origin."""
        origin = connection.headers.get("origin")
        if origin is None:
            return
        name = _host_name(origin)
        theirs, ours = _netloc(origin), _netloc(f"//{connection.headers.get('host', '')}")
        if not name or (theirs != ours and name not in self.host_names):
            raise PermissionDeniedException("origin is not allowed")

    def _is_our_name(self, name: str) -> bool:
        if name == "localhost" or name in self.host_names:
            return True
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return False
        return True  # names are rebound, addresses are not

    # --- who makes it

    async def _caller(self, connection: Connection) -> Caller:
        address = connection.client.host if connection.client else ""
        if self.auth == "none":
            return Caller(name="anybody", role=Role.ADMINISTRATOR, address=address)
        token = _token(connection)
        if not token:
            raise _unauthorized("a key is needed")
        now = self.now()
        key = key_of(token, self.keys, now)
        if key is None:
            if wait_s := self.failed.wait_s(address, now):
                headers = {"Retry-After": str(int(wait_s) + 1)}
                raise HTTPException("too many wrong keys", status_code=TOO_MANY, headers=headers)
            await self.trail.failed(address)
            raise _unauthorized("this key is not known, has expired or was revoked")
        caller = Caller(name=key.name, role=key.role, address=address, key_id=key.id)
        await self.trail.logged_in(caller)
        return caller


Guarding = NamedDependency[SkipValidation[Access]]


def _unauthorized(why: str) -> NotAuthorizedException:
    return NotAuthorizedException(why, headers={"WWW-Authenticate": "Bearer"})


def _is_no_look(connection: Connection) -> bool:
    if connection.scope["type"] == ScopeType.WEBSOCKET:
        return True
    return connection.scope["method"] not in SAFE_METHODS


def _token(connection: Connection) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if key := connection.headers.get("x-api-key", ""):
        return key.strip()
    offered: Any = connection.scope.get("subprotocols") or ()
    return next((one[len(KEY_SUBPROTOCOL) :] for one in offered if _is_key(one)), "")


def _is_key(subprotocol: str) -> bool:
    return subprotocol.startswith(KEY_SUBPROTOCOL)


def _host_name(url: str) -> str:
    """Return the host of a URL in lower case; "": there is none, or it cannot be understood."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _netloc(url: str) -> tuple[str, int | None]:
    """Return host and port of a URL; the port that its scheme means is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", None
    return parts.hostname or "", None if port in (80, 443) else port
