"""Fakes of everything that is kept: one disk that outlives the processes that use it.

`FakeDisk` is the platter. Each life of the program gets its own store, `FakeSpace` and ledger
engine on it; killing a life means that no operation of it ever ends again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import trio
import trio.lowlevel
from fakes.contents import FakeFiles

from adapter.domain.ports import SpaceReading
from adapter.domain.records import (
    NOT_HELD,
    GroupHold,
    GroupRecord,
    Job,
    OutgoingInstance,
)
from adapter.errors import StorageFaultError, StorageFullError


class UnexpectedError(Exception):
    """An exception nobody expects: crashes the actor it reaches."""


@dataclass(slots=True)
class Rates:
    """How often things go wrong, 0 to 1; drawn for each seed, so some runs are calm."""

    full: float = 0.0
    fault: float = 0.0
    bug: float = 0.0
    platform: float = 0.0
    unreachable: float = 0.0
    refused: float = 0.0
    lost: float = 0.0
    abort: float = 0.0
    silent: float = 0.0
    """The archive never reports."""
    operator: float = 0.0
    """Somebody holds, extends and closes groups."""
    unkept: float = 0.0
    """It does not have what it was sent."""
    tasks: float = 0.0
    """Results are registered; agents die, or want to retry later."""
    changes: float = 0.0
    """AE Titles and destinations are made, changed and removed."""
    again: float = 0.0
    """Senders send again what they have sent, with the same bytes or with others."""

    @classmethod
    def drawn(cls, rng: Random) -> "Rates":
        def rate(most: float) -> float:
            return rng.choice((0.0, 0.0, most / 4, most))

        return cls(
            full=rate(0.1), fault=rate(0.1), bug=rate(0.01), platform=rate(0.3),
            unreachable=rate(0.5), refused=rate(0.2), lost=rate(0.2), abort=rate(0.2),
            silent=rate(0.4), unkept=rate(0.2), operator=rate(0.5),
            tasks=rate(0.5), changes=rate(0.6),
        )  # fmt: skip


@dataclass(slots=True)
class FakeGroup:
    record: GroupRecord
    files: FakeFiles = field(default_factory=dict)
    staged: dict[str, FakeFiles] = field(default_factory=dict)
    """By association."""
    released: dict[str, FakeFiles] = field(default_factory=dict)
    """By association: on their way from `staged` to `files`."""
    hold: GroupHold = NOT_HELD


@dataclass(slots=True)
class FakePayload:
    job: Job | None
    """None: its results were fetched from a service."""
    files: FakeFiles
    outputs: dict[str, OutgoingInstance] | None = None


@dataclass(slots=True)
class FakeDisk:
    """What survives."""

    open_groups: dict[str, FakeGroup] = field(default_factory=dict)
    closed_groups: dict[str, FakeGroup] = field(default_factory=dict)
    payloads: dict[str, FakePayload] = field(default_factory=dict)
    rows: dict[str, bytes] = field(default_factory=dict)
    history: dict[str, FakePayload] = field(default_factory=dict)
    """Every payload ever made: what the checkers look at."""
    fetched: dict[str, FakePayload] = field(default_factory=dict)
    """The same for results that were fetched from a service."""
    removed: set[str] = field(default_factory=set)
    remembered: dict[tuple[str, str, str], tuple[str, float]] = field(default_factory=dict)
    dropped: set[tuple[str, str]] = field(default_factory=set)
    """(group, file) of what was staged and dropped."""
    fetching: dict[str, dict[str, OutgoingInstance]] = field(default_factory=dict)
    """Files of jobs that are being fetched, by job; what is unfinished goes at the next start."""


class Life:
    """One life of the program: delays, faults, and death."""

    def __init__(self, rng: Random, rates: Rates) -> None:
        self.rng = rng
        self.rates = rates
        self.dead = False

    async def io(self, longest_s: float = 0.02) -> None:
        """Take some time; never end after death; sometimes fail."""
        await trio.sleep(self.rng.uniform(0, longest_s))
        if self.dead:
            await trio.sleep_forever()
        if self.rng.random() < self.rates.bug:
            raise UnexpectedError

    def maybe_full(self) -> None:
        draw = self.rng.random()
        if draw < self.rates.full:
            raise StorageFullError("no space left on the storage")
        if draw < self.rates.full + self.rates.fault:
            raise StorageFaultError("storage failed")


class FakeEngine:
    """Ledger engine on a FakeDisk."""

    def __init__(self, disk: FakeDisk) -> None:
        self.disk = disk

    def load(self) -> Iterator[tuple[str, bytes]]:
        yield from list(self.disk.rows.items())

    def write(self, changes: Sequence[tuple[str, bytes | None]]) -> None:
        for key, value in changes:
            if value is None:
                self.disk.rows.pop(key, None)
            else:
                self.disk.rows[key] = value


class FakeWriter:
    """The writer thread without a thread."""

    def __init__(self, life: Life) -> None:
        self.life = life

    async def write(self, engine: FakeEngine, changes: Sequence[tuple[str, bytes | None]]) -> None:
        await trio.sleep(self.life.rng.uniform(0, 0.01))
        if not self.life.dead:  # the ledger shields a write, so a dead one ends, with nothing done
            engine.write(changes)


class FakeSpace:
    """Port SpaceGauge: low now and then."""

    def __init__(self, life: Life) -> None:
        self.low = False
        self.fault = ""
        self._life = life

    async def measure(self) -> SpaceReading:
        await self._life.io()
        self.low = self._life.rng.random() < self._life.rates.full
        return SpaceReading(total_bytes=100, free_bytes=50, reserved_bytes=10)
