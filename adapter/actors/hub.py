"""Hub: numbers, encodes and streams the live events.

Consumes: events, subscriptions. Produces: encoded events to subscribers. Owns: the sequence, the
ring of recent events, the snapshot. Rebuilds from: nothing; a new epoch begins, and subscribers get
a new snapshot. Restart policy: essential.

Nobody waits for a subscriber: one that does not keep up is told which numbers it missed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import trio

from adapter.domain.events import EVENT_TYPES, Event
from adapter.domain.identifiers import NewId
from adapter.domain.messages import Subscribe, Subscription
from adapter.domain.ports import WallClock
from adapter.domain.snapshot import Snapshot
from adapter.domain.throughput import Throughput
from adapter.domain.wall_time import rfc3339

EVENTS_MAX = 1 << 16
"""Events on their way to the hub; more than one turn of the event loop can publish."""
RING_MAX = 10_000
"""Events that can be asked for again by `since`."""
LATEST_MAX = 50
"""Events that a snapshot begins with."""
FEED_MAX = 2_000
"""Events on their way to one subscriber; then it has a gap."""


class Publisher:
    """Hands events to the hub (port `Publish`)."""

    def __init__(self, events: trio.MemorySendChannel[Event]) -> None:
        self._events = events
        self.lost = 0

    def __call__(self, event: Event, /) -> None:
        assert event.type in EVENT_TYPES, event.type
        try:
            self._events.send_nowait(event)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self.lost += 1


class _Numbered:
    """An event with its number and its wall time, encoded when the first subscriber wants it."""

    __slots__ = ("_encoded", "at", "event", "seq")

    def __init__(self, seq: int, at: float, event: Event) -> None:
        self.seq = seq
        self.at = at
        self.event = event
        self._encoded = b""

    @property
    def encoded(self) -> bytes:
        if not self._encoded:
            number: dict[str, Any] = {"seq": self.seq, "time": rfc3339(self.at)}
            self._encoded = msgspec.json.encode({**number, **msgspec.to_builtins(self.event)})
        return self._encoded


@dataclass(slots=True, kw_only=True)
class _Subscriber:
    feed: trio.MemorySendChannel[bytes]
    topics: frozenset[str]
    missed: tuple[int, int] | None = None

    def send(self, numbered: _Numbered) -> None:
        """Send without waiting.

        Raises:
            trio.BrokenResourceError: The subscriber has gone.
        """
        if self.topics and numbered.event.topic not in self.topics:
            return
        try:
            if self.missed is not None:
                first, last = self.missed
                self.feed.send_nowait(
                    msgspec.json.encode({"type": "gap", "from": first, "to": last})
                )
                self.missed = None
            self.feed.send_nowait(numbered.encoded)
        except trio.WouldBlock:
            self.missed = (self.missed[0] if self.missed else numbered.seq, numbered.seq)


@dataclass(slots=True, kw_only=True)
class Hub:
    """The event stream."""

    events: trio.MemoryReceiveChannel[Event]
    subscriptions: trio.MemoryReceiveChannel[Subscribe]
    new_id: NewId
    now: WallClock
    name: str = "hub"
    snapshot: Snapshot
    counts: dict[str, int]
    """Events by type since the process began; what /metrics shows."""
    _epoch: str = ""
    _seq: int = 0
    _ring: deque[_Numbered] = field(default_factory=lambda: deque(maxlen=RING_MAX))
    _subscribers: list[_Subscriber] = field(default_factory=list)
    _throughput: Throughput = field(default_factory=Throughput)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._epoch, self._seq = self.new_id(), 0
        self._ring.clear()
        self._end_subscriptions()  # a crash left them with numbers of another epoch
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_subscriptions)
            task_status.started()
            async for event in self.events:
                self._stream(event)
            nursery.cancel_scope.cancel()
        self._end_subscriptions()

    def _end_subscriptions(self) -> None:
        for subscriber in self._subscribers:
            subscriber.feed.close()
        self._subscribers.clear()

    def close(self) -> None:
        """See `Actor.close`."""
        self.events.close()
        self.subscriptions.close()

    def _stream(self, event: Event) -> None:
        self._seq += 1
        self.counts[event.type] = self.counts.get(event.type, 0) + 1
        numbered = _Numbered(self._seq, self.now(), event)
        self.snapshot.apply(event, numbered.at)
        if event.type == "instance.stored":
            self._throughput.add(numbered.at, 1, event.data.get("bytes", 0))
        self._ring.append(numbered)
        gone = []
        for subscriber in self._subscribers:
            try:
                subscriber.send(numbered)
            except trio.BrokenResourceError:
                gone.append(subscriber)
        for subscriber in gone:
            subscriber.feed.close()
            self._subscribers.remove(subscriber)

    async def _serve_subscriptions(self) -> None:
        async for request in self.subscriptions:
            with request.reply:
                send, receive = trio.open_memory_channel[bytes](FEED_MAX)
                subscription = self._subscription(request, receive)
                try:
                    request.reply.send_nowait(subscription)
                except trio.BrokenResourceError:
                    send.close()
                    continue
                self._subscribers.append(_Subscriber(feed=send, topics=request.topics))

    def _subscription(
        self, request: Subscribe, feed: trio.MemoryReceiveChannel[bytes]
    ) -> Subscription:
        hello: dict[str, Any] = {"type": "hello", "epoch": self._epoch, "seq": self._seq}
        is_known = request.epoch in ("", self._epoch)
        backlog = self._since(request.since, request.topics) if is_known else None
        if backlog is None:
            hello["snapshot"] = {
                "time": rfc3339(self.now()), "latest": self._latest(),
                "throughput": self._throughput.as_dict(), **self.snapshot.as_dict(),
            }  # fmt: skip
            backlog = []
        return Subscription(hello=msgspec.json.encode(hello), backlog=list(backlog), feed=feed)

    def _latest(self) -> list[msgspec.Raw]:
        """Return the latest events that are not about single instances, oldest first."""
        told = (one for one in reversed(self._ring) if one.event.topic != "instance")
        return [msgspec.Raw(one.encoded) for one in islice(told, LATEST_MAX)][::-1]

    def _since(self, since: int | None, topics: frozenset[str]) -> Sequence[bytes] | None:
        """Return the events behind `since`, or None if they are not all known any more."""
        first = self._ring[0].seq if self._ring else self._seq + 1
        if since is None or not first - 1 <= since <= self._seq:
            return None
        return [
            numbered.encoded
            for numbered in self._ring
            if numbered.seq > since and (not topics or numbered.event.topic in topics)
        ]
