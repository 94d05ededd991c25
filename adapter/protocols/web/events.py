"""`GET /api/events`: the live event stream over WebSocket (docs/events.md).

Rules: every frame is a JSON array. The sender waits on the hub's channel, never on the socket's
state; a reader runs beside it and ends both when the peer leaves, because sending on a closed
WebSocket is a silent no-op. A stream does not outlast the key it was opened with.
"""

from collections.abc import Mapping

import trio
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from msgspec import Struct

from adapter.channels import UNANSWERED, ask
from adapter.domain.event_types import TOPICS
from adapter.domain.subscriptions import Subscribe, Subscription
from adapter.domain.views import Views
from adapter.protocols.web.access import CALLER, Guarding
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import VIEWER

ANSWER_S = 5.0
SINCE_DIGITS_MAX = 15
SERVICE_RESTART = 1012  # RFC 6455 registry: the server goes away and comes back
POLICY_VIOLATION = 1008


@websocket("/api/events", opt=VIEWER)
async def events(socket: WebSocket, web: State, access: Guarding) -> None:  # type: ignore[type-arg]
    """Stream events to one subscriber until it leaves, its key ends or the adapter stops."""
    try:
        wanted = parameters(socket.query_params)
    except ValueError as error:
        await socket.accept()
        await socket.close(POLICY_VIOLATION, str(error))
        return
    await socket.accept()
    try:
        subscription = await subscribed(web, wanted)
    except UNANSWERED:
        await socket.close(SERVICE_RESTART)
        return
    why = ""
    with subscription.feed:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_until_gone, socket, nursery.cancel_scope)
            nursery.start_soon(_send, socket, subscription, nursery.cancel_scope)
            why = await access.ended(socket.state[CALLER])
            nursery.cancel_scope.cancel()
    if why:
        await socket.close(POLICY_VIOLATION, why)


class Wanted(Struct, frozen=True):
    """What a subscriber wants to be told."""

    topics: frozenset[str]
    since: int | None
    epoch: str
    """Of `since`; empty: it does not say."""


def parameters(query: Mapping[str, str]) -> Wanted:
    """Return what the parameters of a query ask for.

    Raises:
        ValueError: One of them cannot be meant.
    """
    topics = frozenset(filter(None, query.get("topics", "").split(",")))
    if unknown := topics - set(TOPICS):
        raise ValueError(f"unknown topic {min(unknown)[:32]}")
    since = query.get("since")
    if since is not None and not (since.isdecimal() and len(since) <= SINCE_DIGITS_MAX):
        raise ValueError("since is no sequence number")
    return Wanted(topics, int(since) if since is not None else None, query.get("epoch", ""))


async def subscribed(web: Views, wanted: Wanted) -> Subscription:
    """Return a subscription at the hub; raises what `channels.UNANSWERED` lists."""
    return await ask(
        web.subscriptions,
        lambda reply: Subscribe(
            topics=wanted.topics, since=wanted.since, epoch=wanted.epoch, reply=reply
        ),
        ANSWER_S,
    )


async def _read_until_gone(socket: WebSocket, scope: trio.CancelScope) -> None:  # type: ignore[type-arg]
    try:
        while True:
            await socket.receive_data(mode="text")  # nothing a subscriber says means anything
    except WebSocketDisconnect:
        scope.cancel()


async def _send(
    socket: WebSocket,  # type: ignore[type-arg]
    subscription: Subscription,
    scope: trio.CancelScope,
) -> None:
    await socket.send_data(greeting(subscription).decode(), mode="text")
    async for frame in subscription.feed:
        await socket.send_data(array(frame.messages).decode(), mode="text")
    await socket.close(SERVICE_RESTART)
    scope.cancel()


def greeting(subscription: Subscription) -> bytes:
    """Return the first JSON array: the hello, and what happened since the number that was said."""
    return array(b",".join(filter(None, (subscription.hello, subscription.backlog.messages))))


def array(messages: bytes) -> bytes:
    """Return messages as a JSON array."""
    return b"[%b]" % messages
