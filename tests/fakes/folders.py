"""The folders of groups and jobs on a `FakeDisk`, for one life of the program."""

from collections.abc import Set

import msgspec
import trio.lowlevel
from fakes.contents import FakeFile, FakeFiles, first_name, name_file, series_of, uid_of
from fakes.disk import FakeDisk, FakeGroup, FakePayload, Life
from fakes.instances import sop_class_of

from adapter.domain.entities import SameInstance
from adapter.domain.messages import Placement
from adapter.domain.records import (
    Duplicate,
    GroupHold,
    GroupRecord,
    Job,
    Merged,
    Results,
    StoredGroup,
)
from adapter.errors import GroupClosedError, StorageFaultError


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

    def commit(
        self, placement: Placement, group_id: str, now: float, content: int = 0
    ) -> Duplicate | None:
        """Commit an instance into one of its groups."""
        self.life.maybe_full()
        group = self.disk.open_groups.get(group_id)
        if group is None:
            raise GroupClosedError("the group has closed")
        name = f"{placement.study}/{placement.series}/{placement.instance}"
        files = group.files
        if placement.association:
            files = group.staged.setdefault(placement.association, {})
        return name_file(files, name, FakeFile(content, now), placement.same_instance)

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

    async def release_staged(self, group_id: str, association: str) -> None:
        await self.life.io()
        self.life.maybe_full()
        group = self._open(group_id)
        if staged := group.staged.pop(association, None):
            group.released[association] = staged
        await self.life.io()
        self.life.maybe_full()

    async def merge_released(
        self, group_id: str, association: str, same_instance: SameInstance, merged: Merged
    ) -> None:
        """Take in one file after the other; it may fail, or die, after each."""
        group = self._open(group_id)
        released = group.released.get(association, {})
        for series in sorted({series_of(name) for name in released}):
            await self.life.io()
            self.life.maybe_full()
            if series not in {series_of(name) for name in group.files}:
                group.files |= _taken(released, series)
        for name, file in sorted(released.items()):
            await self.life.io()
            self.life.maybe_full()
            if file in group.files.values():
                continue
            if duplicate := name_file(group.files, first_name(name), file, same_instance):
                if duplicate.kept != "both":
                    del released[name]
                merged.add(uid_of(name), duplicate, 1)
        await self.life.io()
        self.life.maybe_full()
        group.released.pop(association, None)

    async def drop_staged(self, group_id: str, association: str) -> None:
        await self.life.io()
        self.life.maybe_full()
        staged = self._open(group_id).staged.pop(association, {})
        staged |= self._open(group_id).released.pop(association, {})
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
            payload = FakePayload(job, dict(group.files))
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
        return {uid_of(name) for name in self.disk.payloads[job_id].files}

    async def find(self, sop_instance_uids: Set[str]) -> dict[str, set[str]]:
        await self.life.io()
        self.life.maybe_full()
        groups = [*self.disk.open_groups.values(), *self.disk.closed_groups.values()]
        names = [name for held in (*groups, *self.disk.payloads.values()) for name in held.files]
        held = {uid_of(name) for name in names}
        return {uid: {sop_class_of(uid)} for uid in sop_instance_uids & held}


def _taken(released: FakeFiles, series: str) -> FakeFiles:
    """Take a whole series out of what was released."""
    return {name: released.pop(name) for name in list(released) if series_of(name) == series}


def _stored(groups: dict[str, FakeGroup], ae_title: str) -> list[StoredGroup]:
    return [
        StoredGroup(
            record=group.record,
            instances=len(group.files),
            payload_bytes=len(group.files),
            last_arrival_at=max([group.record.opened_at, *(file.at for file in _all(group))]),
            hold=group.hold,
            staged={each: (len(files), len(files)) for each, files in group.staged.items()},
            unmerged={each: _unmerged(group, each) for each in group.released},
        )
        for group in sorted(groups.values(), key=lambda group: group.record.opened_at)
        if group.record.ae_title == ae_title
    ]


def _unmerged(group: FakeGroup, association: str) -> tuple[int, int]:
    files = [file for file in group.released[association].values()
             if file not in group.files.values()]  # fmt: skip
    return len(files), len(files)


def _all(group: FakeGroup) -> list[FakeFile]:
    waiting = (*group.staged.values(), *group.released.values())
    return [file for files in (group.files, *waiting) for file in files.values()]
