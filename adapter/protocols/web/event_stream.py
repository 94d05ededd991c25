"""`GET /api/events/stream`: live events as Server-Sent Events, where no WebSocket comes through.

Rules: what a WebSocket has in a frame is the data of one event here (HTML, 9.2 Server-sent events).
Its id is `EPOCH:SEQ`, so a browser that comes back resumes by `Last-Event-ID`; numbers of another
epoch mean nothing and get a snapshot. A comment goes out when nothing else does, for proxies, and
says why a stream ends with its key.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Annotated

import trio
from litestar import get
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import HeaderParameter, QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from adapter.channels import UNANSWERED
from adapter.domain.subscriptions import Frame, Subscription
from adapter.protocols.web.access import CALLER, Guarding
from adapter.protocols.web.events import array, greeting, parameters, subscribed
from adapter.protocols.web.health import State
from adapter.protocols.web.paging import AnyRequest
from adapter.protocols.web.roles import VIEWER

SILENCE_S = 15.0
RETRY_MS = 2000
LAST_ID_LENGTH_MAX = 128
LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", max_length=LAST_ID_LENGTH_MAX)
]
Topics = Annotated[
    str, QueryParameter(max_length=256, description='First words of types, with commas; "": all.')
]
Since = Annotated[
    str | None, QueryParameter(max_length=32, description="The number after which to go on.")
]
Epoch = Annotated[str, QueryParameter(max_length=64, description="Of `since`.")]
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """The answer: an ASGI application that goes on until the peer or the adapter leaves."""

    def __init__(self, subscription: Subscription, ended: Callable[[], Awaitable[str]]) -> None:
        """`ended` returns why once nobody may listen any more."""
        self._subscription = subscription
        self._ended = ended

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """See ASGI 3.0."""
        why = ""
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        with self._subscription.feed:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                nursery.start_soon(self._stream, send, nursery.cancel_scope)
                why = await self._ended()
                nursery.cancel_scope.cancel()
        if why:
            await _body(send, f": {why}\n\n".encode())
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, send: Send, scope: trio.CancelScope) -> None:
        told = self._subscription
        await _body(send, f"retry: {RETRY_MS}\n\n".encode())
        await _body(send, _event(f"{told.epoch}:{told.backlog.last}", greeting(told)))
        with suppress(trio.EndOfChannel):  # the adapter stops
            while True:
                frame = await self._next(send)
                await _body(send, _event(f"{told.epoch}:{frame.last}", array(frame.messages)))
        scope.cancel()

    async def _next(self, send: Send) -> Frame:
        """Return the next frame; raises `trio.EndOfChannel` if there is none."""
        while True:
            with trio.move_on_after(SILENCE_S):
                return await self._subscription.feed.receive()
            await _body(send, b": nothing happened\n\n")


def _event(identity: str, data: bytes) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (identity.encode(), data)  # JSON has no line breaks


async def _body(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


@get("/api/events/stream", opt=VIEWER, include_in_schema=False)
async def event_stream(
    web: State,
    access: Guarding,
    request: AnyRequest,
    topics: Topics = "",
    since: Since = None,
    epoch: Epoch = "",
    last_event_id: LastEventId = None,
) -> ASGIApp:
    """Stream events until one side leaves; query parameters as of the WebSocket at /api/events.

    400, 503 if nobody answers now.
    """
    if last_event_id:
        epoch, _, since = last_event_id.rpartition(":")
    query = {"topics": topics, "epoch": epoch, **({} if since is None else {"since": since})}
    try:
        wanted = parameters(query)
    except ValueError as error:
        raise ValidationException(str(error)) from None
    try:
        subscription = await subscribed(web, wanted)
    except UNANSWERED:
        raise HTTPException("nobody answers now; ask again", status_code=503) from None
    return EventStream(subscription, partial(access.ended, request.state[CALLER]))
