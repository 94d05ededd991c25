"""Around the application: what every answer says to browsers.

The policy lets pages use what this adapter serves and nothing else (CSP Level 3; fetch standard
for the rest). A route that says otherwise is not contradicted, so static files may be cached.
"""

from collections.abc import Iterable
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

PROTOCOL = "dicom-adapter"
"""The subprotocol of `/api/events`: who offers a key as another one offers this one too."""
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
STRICT_TRANSPORT = ("strict-transport-security", "max-age=31536000")
"""RFC 6797; not for subdomains, which are somebody else's."""
_STARTS = ("http.response.start", "websocket.http.response.start")


class SafeAnswers:
    """The ASGI application, with these headers on each of its answers."""

    def __init__(self, app: ASGIApp, *, is_tls: bool) -> None:
        self._app = app
        more = [STRICT_TRANSPORT] if is_tls else []
        self._headers = [(n.encode(), v.encode()) for n, v in [*HEADERS.items(), *more]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI 3.0."""

        async def send_safely(message: Any) -> None:
            if message["type"] in _STARTS:
                given = list(message.get("headers", ()))
                message = {**message, "headers": [*given, *self._missing(given)]}
            elif message["type"] == "websocket.accept" and PROTOCOL in _offered(scope):
                message = {**message, "subprotocol": PROTOCOL}
            await send(message)

        await self._app(scope, receive, send_safely)

    def _missing(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in given}
        return [header for header in self._headers if header[0] not in names]


def _offered(scope: Any) -> list[str]:
    return list(scope.get("subprotocols") or ())
