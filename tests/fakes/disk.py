"""Fakes of everything that is kept: one disk that outlives the processes that use it.

`FakeDisk` is the platter. Each life of the program gets its own `FakeStore`, `FakeSpace` and ledger
engine on it; killing a life means that no operation of it ever ends again.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from random import Random

import msgspec
import trio
import trio.lowlevel

from adapter.domain.entities import SameInstance
from adapter.domain.messages import Placement
from adapter.domain.ports import SpaceReading
from adapter.domain.records import (
    NOT_HELD,
    Duplicate,
    GroupHold,
    GroupRecord,
    Job,
    Merged,
    OutgoingInstance,
    Results,
    StoredGroup,
)
from adapter.errors import GroupClosedError, StorageFaultError, StorageFullError

SAME = Duplicate(differs=False, kept="first")


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
    files: dict[str, float] = field(default_factory=dict)
    """When each came, by name."""
    staged: dict[str, dict[str, float]] = field(default_factory=dict)
    """By association."""
    hold: GroupHold = NOT_HELD


@dataclass(slots=True)
class FakePayload:
    job: Job | None
    """None: its results were fetched from a service."""
    files: frozenset[str]
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


class FakeStore:
    """Ports InstanceStore, PayloadStore and ResultSource on a FakeDisk."""

    def __init__(self, disk: FakeDisk, life: Life) -> None:
        self.disk = disk
        self.life = life

    async def recover(self) -> None:
        await trio.lowlevel.checkpoint()

    async def open_group(self, record: GroupRecord) -> None:
        await self.life.io()
        self.life.maybe_full()
        self.disk.open_groups[record.id] = FakeGroup(record)

    def commit(self, placement: Placement, group_id: str, now: float) -> Duplicate | None:
        """Commit an instance into one of its groups; its bytes are always the same."""
        self.life.maybe_full()
        group = self.disk.open_groups.get(group_id)
        if group is None:
            raise GroupClosedError("the group has closed")
        name = f"{placement.study}/{placement.series}/{placement.instance}"
        files = group.files
        if placement.association:
            files = group.staged.setdefault(placement.association, {})
        if name in files:
            return SAME
        files[name] = now
        return None

    async def hold_group(self, group_id: str, hold: GroupHold) -> None:
        await self.life.io()
        self.life.maybe_full()
        self._open(group_id).hold = hold

    async def add_sender(self, group_id: str, calling_ae_title: str) -> None:
        await self.life.io()
        self.life.maybe_full()
        group = self._open(group_id)
        senders = dict.fromkeys([*group.record.calling_ae_titles, calling_ae_title])
        group.record = msgspec.structs.replace(group.record, calling_ae_titles=tuple(senders))

    def _open(self, group_id: str) -> FakeGroup:
        try:
            return self.disk.open_groups[group_id]
        except KeyError:
            raise StorageFaultError("No such file or directory") from None

    async def release_staged(
        self, group_id: str, association: str, same_instance: SameInstance
    ) -> Merged:
        await self.life.io()
        self.life.maybe_full()
        group = self._open(group_id)
        staged = group.staged.pop(association, {})
        again = [name for name in staged if name in group.files]
        group.files = {**staged, **group.files}
        return Merged(
            duplicates=tuple((name, SAME) for name in again),
            instances_fewer=len(again),
            payload_bytes_fewer=len(again),
        )

    async def drop_staged(self, group_id: str, association: str) -> None:
        await self.life.io()
        self.life.maybe_full()
        staged = self._open(group_id).staged.pop(association, {})
        self.disk.dropped |= {(group_id, name) for name in staged}

    async def remember_closed(self, record: GroupRecord, at: float, until_at: float) -> None:
        await self.life.io()
        self.life.maybe_full()
        first = record.supplements or record.id
        self.disk.remembered[record.ae_title, record.processor, record.key] = (first, until_at)

    async def closed_before(self, ae_title: str, processor: str, key: str, now: float) -> str:
        await self.life.io()
        group, until_at = self.disk.remembered.get((ae_title, processor, key), ("", 0.0))
        return group if now < until_at else ""

    async def open_groups(self, ae_title: str) -> list[StoredGroup]:
        await self.life.io()
        return _stored(self.disk.open_groups, ae_title)

    async def close_group(self, group_id: str) -> None:
        await self.life.io()
        self.life.maybe_full()
        if group := self.disk.open_groups.pop(group_id, None):
            self.disk.closed_groups[group_id] = group
        assert group_id in self.disk.closed_groups

    async def closed_groups(self, ae_title: str) -> list[StoredGroup]:
        await self.life.io()
        return _stored(self.disk.closed_groups, ae_title)

    async def remove_group(self, group_id: str) -> int:
        await self.life.io()
        self.life.maybe_full()
        self.disk.closed_groups.pop(group_id, None)
        return 0

    async def create_payload(self, job: Job) -> None:
        await self.life.io()
        self.life.maybe_full()
        if job.id not in self.disk.payloads:
            group = self.disk.closed_groups[job.group_id]
            payload = FakePayload(job, frozenset(group.files))
            assert job.id not in self.disk.removed, "a job came back from the dead"
            self.disk.payloads[job.id] = self.disk.history[job.id] = payload
        self.disk.payloads[job.id].job = job  # its row may not have been written the first time

    async def metadata(self, job_id: str) -> dict[str, str]:
        await self.life.io()
        self.life.maybe_full()
        return {"Instances": str(len(self.disk.payloads[job_id].files))}

    async def count_inputs(self, job_id: str) -> int | None:
        await self.life.io()
        self.life.maybe_full()
        payload = self.disk.payloads.get(job_id)
        return len(payload.files) if payload else None

    async def folders(self) -> set[str]:
        await self.life.io()
        self.life.maybe_full()
        return set(self.disk.payloads)

    async def group_of(self, job_id: str) -> str:
        await self.life.io()
        self.life.maybe_full()
        payload = self.disk.payloads.get(job_id)
        return payload.job.group_id if payload and payload.job else ""

    async def remove_payload(self, job_id: str) -> int:
        await self.life.io()
        self.life.maybe_full()
        if self.disk.payloads.pop(job_id, None):
            self.disk.removed.add(job_id)
        return 1

    async def results(self, job_id: str) -> Results:
        await self.life.io()
        return Results(files=dict(self.disk.payloads[job_id].outputs or {}))

    async def inputs(self, job_id: str) -> set[str]:
        await self.life.io()
        return {name.rpartition("/")[2] for name in self.disk.payloads[job_id].files}

    async def find(self, sop_instance_uids: Set[str]) -> dict[str, set[str]]:
        await self.life.io()
        self.life.maybe_full()
        groups = [*self.disk.open_groups.values(), *self.disk.closed_groups.values()]
        names = [name for held in (*groups, *self.disk.payloads.values()) for name in held.files]
        held = {name.rpartition("/")[2] for name in names}
        return {uid: {"1.2.840.10008.5.1.4.1.1.2"} for uid in sop_instance_uids & held}


def _stored(groups: dict[str, FakeGroup], ae_title: str) -> list[StoredGroup]:
    return [
        StoredGroup(
            record=group.record,
            instances=len(group.files),
            payload_bytes=len(group.files),
            last_arrival_at=max([group.record.opened_at, *group.files.values()]),
            hold=group.hold,
            staged={each: (len(files), len(files)) for each, files in group.staged.items()},
        )
        for group in sorted(groups.values(), key=lambda group: group.record.opened_at)
        if group.record.ae_title == ae_title
    ]


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
