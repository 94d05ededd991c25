"""Messages between the hub and those who want to hear its events."""

from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Web -> hub: send me events from now on, or from `since` if that is still known."""

    topics: frozenset[str]
    """First words of event types; empty: all."""
    since: int | None
    epoch: str = ""
    """Of `since`: in another one it is not known; empty: it does not say."""
    reply: trio.MemorySendChannel["Subscription"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Messages that go out together; those who want the same topics share it."""

    messages: bytes
    """JSON, with commas between them."""
    count: int
    """Of the events among them."""
    last: int
    """The number of the last event that they tell of, or say was missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Hub -> web: the greeting and the stream behind it. Closing `feed` unsubscribes."""

    hello: bytes
    """JSON."""
    epoch: str
    backlog: Frame
    feed: trio.MemoryReceiveChannel[Frame]
