"""Which methods a path has, for whoever asks (RFC 9110 9.3.7, 15.5.6)."""

from typing import Any

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.types import ASGIApp, Receive, Scope, Send

METHODS = ("DELETE", "GET", "OPTIONS", "POST", "PUT")


def methods_of(app: Litestar, path: str) -> list[str]:
    """Return the methods of a path; each handler has its own route, so each is asked for."""
    found = []
    for method in METHODS:
        try:
            app.asgi_router.handle_routing(path=path, method=method)
        except (MethodNotAllowedException, NotFoundException):
            continue
        found.append(method)
    return found


def options(app: ASGIApp) -> ASGIApp:
    """Return the application with OPTIONS answered for all handlers of a path."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "OPTIONS":
            await app(scope, receive, send)
            return
        allow = ", ".join(methods_of(scope["litestar_app"], scope["path"]))
        start: Any = {
            "type": "http.response.start", "status": 204, "headers": [(b"allow", allow.encode())],
        }  # fmt: skip
        end: Any = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(start)
        await send(end)

    return answering
