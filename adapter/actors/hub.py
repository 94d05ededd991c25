"""Hub: numbers, encodes and streams the live events.

Consumes: events, subscriptions. Produces: frames of encoded events to subscribers. Owns: the
sequence, the ring of recent events, the snapshot. Rebuilds from: nothing; a new epoch begins, and
subscribers get a new snapshot. Restart policy: essential.

Nobody waits for a subscriber: one that does not keep up is told which numbers it missed.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec
import trio

from adapter.domain.association_events import InstanceStored
from adapter.domain.event_types import EVENT_TYPES
from adapter.domain.events import Event
from adapter.domain.identifiers import NewId
from adapter.domain.ports import WallClock
from adapter.domain.snapshot import Snapshot
from adapter.domain.subscriptions import Frame, Subscribe, Subscription
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
FRAME_EVENTS_MAX = 500
COALESCE_S = 0.05
"""Events that happen within it share a frame."""


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
            number = b'{"seq":%d,"time":"%b",' % (self.seq, rfc3339(self.at).encode())
            self._encoded = number + msgspec.json.encode(self.event)[1:]  # it has a type at least
        return self._encoded


def _frame(numbered: Iterable[_Numbered], topics: frozenset[str], last: int) -> Frame:
    """Return the frame of those that are about the topics; empty: all."""
    wanted = [one.encoded for one in numbered if not topics or one.event.topic in topics]
    return Frame(messages=b",".join(wanted), count=len(wanted), last=last)


@dataclass(slots=True, kw_only=True)
class _Subscriber:
    feed: trio.MemorySendChannel[Frame]
    topics: frozenset[str]
    _counts: deque[int] = field(default_factory=deque)
    """Of events, by frame in the feed."""
    _waiting: int = 0
    """Their sum."""
    _missed: tuple[int, int] | None = None

    def send(self, frame: Frame, first: int) -> None:
        """Send without waiting; `first` is the number the frame begins with.

        Raises:
            trio.BrokenResourceError: The subscriber has gone.
        """
        while len(self._counts) > self.feed.statistics().current_buffer_used:
            self._waiting -= self._counts.popleft()
        if self._waiting + frame.count > FEED_MAX:
            self._missed = (self._missed[0] if self._missed else first, frame.last)
            return
        if self._missed is not None:
            begin, end = self._missed
            gap = msgspec.json.encode({"type": "gap", "from": begin, "to": end})
            frame = replace(frame, messages=b"%b,%b" % (gap, frame.messages))
        self.feed.send_nowait(frame)
        self._counts.append(frame.count)
        self._waiting += frame.count
        self._missed = None


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
    _untold: list[_Numbered] = field(default_factory=list)
    _news: trio.Event = field(default_factory=trio.Event)
    """Set when something is untold."""
    _throughput: Throughput = field(default_factory=Throughput)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._epoch, self._seq = self.new_id(), 0
        self._ring.clear()
        self._untold.clear()
        self._end_subscriptions()  # a crash left them with numbers of another epoch
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_subscriptions)
            nursery.start_soon(self._tell_news)
            task_status.started()
            async for event in self.events:
                self._take(event)
            nursery.cancel_scope.cancel()
        self._tell()
        self._end_subscriptions()

    def _end_subscriptions(self) -> None:
        for subscriber in self._subscribers:
            subscriber.feed.close()
        self._subscribers.clear()

    def close(self) -> None:
        """See `Actor.close`."""
        self.events.close()
        self.subscriptions.close()

    def _take(self, event: Event) -> None:
        self._seq += 1
        self.counts[event.type] = self.counts.get(event.type, 0) + 1
        numbered = _Numbered(self._seq, self.now(), event)
        self.snapshot.apply(event, numbered.at)
        if isinstance(event, InstanceStored):
            self._throughput.add(numbered.at, 1, event.data.payload_bytes or 0)
        self._ring.append(numbered)
        if self._subscribers:
            self._untold.append(numbered)
            self._news.set()

    async def _tell_news(self) -> None:
        while True:
            await self._news.wait()
            await trio.sleep(COALESCE_S)
            self._news = trio.Event()
            self._tell()

    def _tell(self) -> None:
        """Send what is untold to everybody who wants it."""
        untold, self._untold = self._untold, []
        for begin in range(0, len(untold), FRAME_EVENTS_MAX):
            self._send(untold[begin : begin + FRAME_EVENTS_MAX])

    def _send(self, numbered: list[_Numbered]) -> None:
        first, last = numbered[0].seq, numbered[-1].seq
        frames = dict[frozenset[str], Frame]()
        for subscriber in self._subscribers.copy():
            topics = subscriber.topics
            if topics not in frames:
                frames[topics] = _frame(numbered, topics, last)
            if not frames[topics].count:
                continue
            try:
                subscriber.send(frames[topics], first)
            except trio.BrokenResourceError:
                subscriber.feed.close()
                self._subscribers.remove(subscriber)

    async def _serve_subscriptions(self) -> None:
        async for request in self.subscriptions:
            with request.reply:
                self._tell()  # the newcomer's greeting has it already
                send, receive = trio.open_memory_channel[Frame](FEED_MAX)
                subscription = self._subscription(request, receive)
                try:
                    request.reply.send_nowait(subscription)
                except trio.BrokenResourceError:
                    send.close()
                    continue
                self._subscribers.append(_Subscriber(feed=send, topics=request.topics))

    def _subscription(
        self, request: Subscribe, feed: trio.MemoryReceiveChannel[Frame]
    ) -> Subscription:
        hello: dict[str, Any] = {"type": "hello", "epoch": self._epoch, "seq": self._seq}
        since = request.since if request.epoch in ("", self._epoch) else None
        first = self._ring[0].seq if self._ring else self._seq + 1
        if since is None or not first - 1 <= since <= self._seq:
            since = self._seq
            hello["snapshot"] = {
                "time": rfc3339(self.now()), "latest": self._latest(),
                "throughput": self._throughput.as_dict(), **self.snapshot.as_dict(),
            }  # fmt: skip
        missed = islice(self._ring, since + 1 - first, None)
        backlog = _frame(missed, request.topics, self._seq)
        return Subscription(
            hello=msgspec.json.encode(hello), epoch=self._epoch, backlog=backlog, feed=feed
        )

    def _latest(self) -> list[msgspec.Raw]:
        """Return the latest events that are not about single instances, oldest first."""
        told = (one for one in reversed(self._ring) if one.event.topic != "instance")
        return [msgspec.Raw(one.encoded) for one in islice(told, LATEST_MAX)][::-1]
