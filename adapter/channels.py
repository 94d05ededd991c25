"""The two ways of speaking between actors: ask and wait, or hint and go on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import trio

from adapter.domain.export_figures import ExportFigures
from adapter.domain.exporter_orders import ExporterOrder
from adapter.domain.messages import (
    CommitmentQuestion,
    EntityNote,
    EntityQuestion,
    ReportEnded,
    Wake,
)

PAUSE_S_MIN = 0.001
"""Wall times are rounded (to 0.2 us today): whoever wakes a hair too early must let time pass."""

Message = TypeVar("Message")
Answer = TypeVar("Answer")
Item = TypeVar("Item")
Failure = TypeVar("Failure", bound=Exception)


def notify(wake: trio.MemorySendChannel[Wake]) -> None:
    """Hint that there is something to look at. Never waits, never raises."""
    try:
        wake.send_nowait(Wake.LOOK_AGAIN)
    except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # it is awake already, or gone: a hint may be lost


UNANSWERED = (
    trio.TooSlowError,
    trio.EndOfChannel,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)
"""What `ask` may raise."""


async def ask(
    channel: trio.MemorySendChannel[Message],
    message: Callable[[trio.MemorySendChannel[Answer]], Message],
    answer_s: float,
) -> Answer:
    """Send message(reply end) and return the answer.

    Raises:
        trio.TooSlowError: No answer within answer_s.
        trio.EndOfChannel: The asked actor crashed while it held the question.
        trio.BrokenResourceError, trio.ClosedResourceError: It is gone.
    """
    reply, replies = trio.open_memory_channel[Answer](1)
    with reply, replies, trio.fail_after(answer_s):
        await channel.send(message(reply.clone()))
        reply.close()
        return await replies.receive()


def answer(reply: trio.MemorySendChannel[Answer], value: Answer) -> None:
    """Answer a question. Never waits."""
    try:
        reply.send_nowait(value)
    except trio.BrokenResourceError:
        pass  # the asker ran out of time and has told its own peer so


def note(notes: trio.MemorySendChannel[Message], message: Message) -> None:
    """Tell an actor something it does not answer. Never waits, never raises."""
    try:
        notes.send_nowait(message)
    except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # it is being restarted, or parked: it will look at what is kept, not at old notes


async def wait_woken(wake: trio.MemoryReceiveChannel[Wake], deadline: float) -> None:
    """Wait for a hint, or until deadline (clock time).

    Raises:
        trio.EndOfChannel: All senders have closed: time to finish.
    """
    with trio.CancelScope(deadline=max(deadline, trio.current_time() + PAUSE_S_MIN)):
        await wake.receive()


async def first_failure(
    items: Iterable[Item], at_once: int, call: Callable[[Item], Awaitable[Failure | None]]
) -> Failure | None:
    """Call call(item) for each item, so many at once; the first failure returned ends the rest."""
    pending = iter(items)
    failures: list[Failure] = []

    async def work() -> None:
        for item in pending:
            if failure := await call(item):
                failures.append(failure)
                nursery.cancel_scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(work)
    return failures[0] if failures else None


class Conversation(Protocol):
    """Something a worker thread is busy with."""

    def abort(self) -> None: ...


@asynccontextmanager
async def aborted_on_cancel(conversation: Conversation) -> AsyncIterator[None]:
    """Hold a conversation; a cancel in here aborts it instead of waiting for its thread."""
    over = trio.Event()

    async def watch() -> None:
        try:
            await trio.sleep_forever()
        finally:
            if not over.is_set():
                conversation.abort()

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            yield
        except Exception as error:  # raised below, not in a group
            failure = error
        over.set()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityDoor:
    """What the listener needs to reach one application entity."""

    requests: trio.MemorySendChannel[EntityQuestion]
    """Capacity 0: whoever asks waits."""
    notes: trio.MemorySendChannel[EntityNote]
    """Roomy: whoever tells does not wait."""
    attributes: frozenset[str]
    """What to read of each instance."""
    grouping: frozenset[str]
    """What of it the processors read."""
    is_staffed: Callable[[], bool] = lambda: True
    """Tells whether somebody makes jobs of its groups."""
    commits: bool = False
    """Whether the entity is SCP of storage commitment."""

    @property
    def is_open(self) -> bool:
        """Whether the entity and its processors run, or are being restarted."""
        return self.requests.statistics().open_receive_channels > 0 and self.is_staffed()

    @property
    def holders(self) -> int:
        """How many can still tell the entity something, whoever lets them in among them."""
        return self.notes.statistics().open_send_channels

    def clone(self) -> "EntityDoor":
        """Return a door for somebody else; the entity hears of it when the last one closes."""
        return replace(self, requests=self.requests.clone(), notes=self.notes.clone())

    def close(self) -> None:
        """Close it; again is harmless."""
        self.requests.close()
        self.notes.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentDoor:
    """What an association needs to reach the commitments actor."""

    requests: trio.MemorySendChannel[CommitmentQuestion]
    """Capacity 0: whoever asks waits."""
    notes: trio.MemorySendChannel[ReportEnded]
    """Roomy: whoever tells does not wait."""

    def clone(self) -> "CommitmentDoor":
        """Return a door for another listener; the actor ends with the last one."""
        return replace(self, requests=self.requests.clone(), notes=self.notes.clone())

    def close(self) -> None:
        """Close it; again is harmless."""
        self.requests.close()
        self.notes.close()


def blind_door() -> EntityDoor:
    """Return a door with nobody behind it: whoever comes is told to try again later."""
    requests, nobody = trio.open_memory_channel[EntityQuestion](0)
    notes, nobody_either = trio.open_memory_channel[EntityNote](0)
    nobody.close()
    nobody_either.close()
    return EntityDoor(requests=requests, notes=notes, attributes=frozenset(), grouping=frozenset())


EntityDoors = Mapping[str, EntityDoor]
"""By called AE Title."""


class EntryHall:
    """Who answers on one port; read by its listeners, changed by the entities actor.

    A change holds for the next A-ASSOCIATE-RQ.
    """

    def __init__(self) -> None:
        self.doors: dict[str, EntityDoor] = {}
        self.limits: dict[str, int] = {}
        """Of associations, by called AE Title; 0: none."""

    def open(self, called_ae_title: str, door: EntityDoor, limit: int) -> None:
        """Let associations in by this door, from now on."""
        if self.doors.get(called_ae_title) is not door:
            self.shut(called_ae_title)
        self.doors[called_ae_title], self.limits[called_ae_title] = door, limit

    def shut(self, called_ae_title: str) -> None:
        """Let nobody in any more; associations keep the door they came by."""
        if door := self.doors.pop(called_ae_title, None):
            del self.limits[called_ae_title]
            door.close()


class ExportDesk:
    """Where operators' orders for exporters are given and taken, and what exporters count."""

    def __init__(self) -> None:
        self.given: dict[str, trio.MemorySendChannel[ExporterOrder]] = {}
        self.taken: dict[str, trio.MemoryReceiveChannel[ExporterOrder]] = {}
        """Both by destination."""
        self.figures = ExportFigures()

    def open(self, destination: str) -> None:
        """Take orders for a destination; again is harmless."""
        if destination not in self.given:
            ends = trio.open_memory_channel[ExporterOrder](0)
            self.given[destination], self.taken[destination] = ends

    def close(self, destination: str) -> None:
        """Take no more orders for a destination."""
        self.given.pop(destination).close()
        self.taken.pop(destination).close()

    def __enter__(self) -> "ExportDesk":
        return self

    def __exit__(self, *_: object) -> None:
        for orders in self.given.values():
            orders.close()
