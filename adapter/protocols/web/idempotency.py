"""`Idempotency-Key` on every POST: the same request again is answered as it was, and does nothing.

The question is asked when a request has passed the guards, so that an answer is for those only who
may ask for it; the answer is taken off the wire, whoever made it. Rules: see
`domain.repeated_requests`.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from adapter.domain.ports import WallClock
from adapter.domain.repeated_requests import (
    AnswerRows,
    Attempt,
    KeptAnswer,
    KeyIsAnotherRequestsError,
    RepeatedRequests,
    StillRunningError,
)
from adapter.errors import LedgerError

KEY = "idempotency-key"
KEY_LENGTH_MAX = 255
KEY_PATTERN = r"^[!-~]([ -~]*[!-~])?$"
WRITE_S = 5.0
"""For an answer to be written; on a full disk it is sent before."""
_DROPPED = ("content-length", "date")
_REPEATED = ("idempotency-replayed", "true")


class Idempotency:
    """The middleware; `ask` is what is asked before the handler of a request."""

    def __init__(self, rows: AnswerRows | None = None, now: WallClock = trio.current_time) -> None:
        """Know what was answered before the start; without rows, nothing outlives the process."""
        self.known = RepeatedRequests(rows.all() if rows else ())
        self._rows = rows
        self._now = now

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Return the application with answers to such requests kept."""

        async def keeping(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP or scope["method"] != "POST":
                await app(scope, receive, send)
                return

            async def answered(answer: KeptAnswer) -> None:
                if (key := scope["state"].pop(KEY, None)) is not None:
                    await self._keep(self.known.end(key, answer))

            try:
                await app(scope, receive, _TakenAnswer(send, answered).send)
            finally:
                if (key := scope["state"].pop(KEY, None)) is not None:
                    self.known.end(key, None)  # it has no whole answer

        return keeping

    async def _keep(self, attempt: Attempt | None) -> None:
        """Have an answer outlive the process, before anybody hears it."""
        if self._rows is None or attempt is None or not attempt.may_be_stored:
            return
        with trio.move_on_after(WRITE_S), suppress(LedgerError):  # the process ends of it elsewhere
            await self._rows.put(attempt)

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
            answer = self.known.begin(key, fingerprint, self._now())
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

    def __init__(self, send: Send, answered: Callable[[KeptAnswer], Awaitable[None]]) -> None:
        """Have `answered` know the answer when it is whole, before its end is sent."""
        self._send = send
        self._answered = answered
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
                await self._answered(KeptAnswer(self._start["status"], kept, self._body))
        await self._send(message)
