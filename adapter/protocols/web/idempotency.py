"""`Idempotency-Key` on every POST: the same request again is answered as it was, and does nothing.

The question is asked when a request has passed the guards, so that an answer is for those only who
may ask for it; the answer is taken off the wire, whoever made it. Rules: see
`domain.repeated_requests`.
"""

import hashlib
import re
from typing import Any

import trio
from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from adapter.domain.repeated_requests import (
    KeptAnswer,
    KeyIsAnotherRequestsError,
    RepeatedRequests,
    StillRunningError,
)

KEY = "idempotency-key"
KEY_LENGTH_MAX = 255
KEY_PATTERN = r"^[!-~]([ -~]*[!-~])?$"
_DROPPED = ("content-length", "date")
_REPEATED = ("idempotency-replayed", "true")


class Idempotency:
    """The middleware; `ask` is what is asked before the handler of a request."""

    def __init__(self) -> None:
        self.known = RepeatedRequests()

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Return the application with answers to such requests kept."""

        async def keeping(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP or scope["method"] != "POST":
                await app(scope, receive, send)
                return
            taken = _TakenAnswer(send)
            try:
                await app(scope, receive, taken.send)
            finally:
                if (key := scope["state"].get(KEY)) is not None:
                    self.known.end(key, taken.answer)

        return keeping

    async def ask(self, request: Request[Any, Any, Any]) -> Response[bytes] | None:
        """Return what was answered to the same request before; None: it is to be carried out.

        Raises:
            HTTPException: 400, 409, 422: the key cannot be used.
        """
        given = request.headers.get(KEY)
        if request.method != "POST" or given is None:
            return None
        if len(given) > KEY_LENGTH_MAX or not re.fullmatch(KEY_PATTERN, given):
            why = f"Idempotency-Key: 1 to {KEY_LENGTH_MAX} characters of ASCII"
            raise HTTPException(why, status_code=400)
        key = _digest(_who(request).encode(), given.encode())
        target = f"{request.method} {request.url.path}?{request.url.query}".encode()
        fingerprint = _digest(target, await request.body())
        try:
            answer = self.known.begin(key, fingerprint, trio.current_time())
        except KeyIsAnotherRequestsError:
            why = "Idempotency-Key: it belongs to another request"
            raise HTTPException(why, status_code=422) from None
        except StillRunningError:
            why = "Idempotency-Key: the first request with it has no answer yet"
            raise HTTPException(why, status_code=409) from None
        if answer is None:
            request.scope["state"][KEY] = key
            return None
        headers = dict((*answer.headers, _REPEATED))
        media_type = headers.pop("content-type", None)
        return Response(
            answer.body, status_code=answer.status, headers=headers, media_type=media_type
        )


def _who(request: Request[Any, Any, Any]) -> str:
    """Return whose key it is: two callers may have the same."""
    return request.headers.get("authorization", "") + "\n" + request.headers.get("x-api-key", "")


def _digest(*parts: bytes) -> bytes:
    whole = hashlib.blake2b(digest_size=20)
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.digest()


class _TakenAnswer:
    """What goes over the wire, and is kept."""

    def __init__(self, send: Send) -> None:
        self.answer: KeptAnswer | None = None
        """None: it is not whole."""
        self._send = send
        self._start: Any = None
        self._body = b""

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body") and self._start is not None:
                headers = [
                    (name.decode("latin-1").lower(), value.decode("latin-1"))
                    for name, value in self._start["headers"]
                ]
                kept = tuple(header for header in headers if header[0] not in _DROPPED)
                self.answer = KeptAnswer(self._start["status"], kept, self._body)
        await self._send(message)
