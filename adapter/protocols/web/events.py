"""`GET /api/events`: the live event stream over WebSocket (docs/events.md).

Rules: every frame is a JSON array. The sender waits on the hub's channel, never on the socket's
state; a reader runs beside it and ends both when the peer leaves, because sending on a closed
WebSocket is a silent no-op. Events that come close together share a frame.
"""

import trio
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from adapter.channels import UNANSWERED, ask
from adapter.domain.events import TOPICS
from adapter.domain.messages import Subscribe, Subscription
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import VIEWER

COALESCE_S = 0.05
FRAME_EVENTS_MAX = 1000
ANSWER_S = 5.0
SERVICE_RESTART = 1012  # RFC 6455 registry: the server goes away and comes back
POLICY_VIOLATION = 1008


@websocket("/api/events", opt=VIEWER)
async def events(socket: WebSocket, web: State) -> None:  # type: ignore[type-arg]
    """Stream events to one subscriber until it leaves or the adapter stops."""
    try:
        topics, since = _parameters(socket)
    except ValueError as error:
        await socket.accept()
        await socket.close(POLICY_VIOLATION, str(error))
        return
    await socket.accept()
    try:
        subscription: Subscription = await ask(
            web.subscriptions,
            lambda reply: Subscribe(topics=topics, since=since, reply=reply),
            ANSWER_S,
        )
    except UNANSWERED:
        await socket.close(SERVICE_RESTART)
        return
    with subscription.feed:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_until_gone, socket, nursery.cancel_scope)
            await _send(socket, subscription)
            nursery.cancel_scope.cancel()


def _parameters(socket: WebSocket) -> tuple[frozenset[str], int | None]:  # type: ignore[type-arg]
    query = socket.query_params
    topics = frozenset(filter(None, query.get("topics", "").split(",")))
    if unknown := topics - TOPICS.keys():
        raise ValueError(f"unknown topic {min(unknown)[:32]}")
    since = query.get("since")
    if since is not None and not since.isdecimal():
        raise ValueError("since is no sequence number")
    return topics, int(since) if since is not None else None


async def _read_until_gone(socket: WebSocket, scope: trio.CancelScope) -> None:  # type: ignore[type-arg]
    try:
        while True:
            await socket.receive_data(mode="text")  # nothing a subscriber says means anything
    except WebSocketDisconnect:
        scope.cancel()


async def _send(socket: WebSocket, subscription: Subscription) -> None:  # type: ignore[type-arg]
    await _send_frame(socket, [subscription.hello, *subscription.backlog])
    feed = subscription.feed
    while True:
        try:
            frame = [await feed.receive()]
        except trio.EndOfChannel:
            await socket.close(SERVICE_RESTART)
            return
        await trio.sleep(COALESCE_S)
        while len(frame) < FRAME_EVENTS_MAX:
            try:
                frame.append(feed.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        await _send_frame(socket, frame)


async def _send_frame(socket: WebSocket, encoded: list[bytes]) -> None:  # type: ignore[type-arg]
    await socket.send_data((b"[" + b",".join(encoded) + b"]").decode(), mode="text")
