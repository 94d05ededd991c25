"""Job folders (port `PayloadStore`): the closed group as input by hard links, job.meta, output.

No byte is copied: a job's input files are the received files under another name. They are
read-only, because the same bytes may be the input of another job.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from adapter.domain.entities import Priority
from adapter.domain.identifiers import is_id
from adapter.domain.metadata import MetadataValues, ReadAttributes
from adapter.domain.records import Job
from adapter.errors import StorageFaultError
from adapter.store.files import (
    FOLDER_MODE,
    DiskThreads,
    Durability,
    sync_folder,
    walk_files,
    write_file,
)
from adapter.store.instances import remove_folder
from adapter.store.layout import Layout, unfinished

READ_TURN = 200
"""Instances whose attributes are read in one turn of a thread, so that others get theirs."""


class JobMeta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file job.meta of a job's folder."""

    job_id: str
    name: str
    pipeline: str
    pipeline_id: str
    priority: Priority
    source: str
    ae_title: str
    group_id: str
    opened_at: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
    supplements: str
    destinations: tuple[str, ...] = ()
    calling_ae_titles: tuple[str, ...] = ()
    metadata: dict[str, str]


class FolderPayloadStore:
    """Job folders below one root."""

    def __init__(
        self,
        layout: Layout,
        durability: Durability,
        threads: DiskThreads,
        read_attributes: ReadAttributes | None = None,
    ) -> None:
        """Make it; with `read_attributes`, what it returns goes into job.meta."""
        self._layout = layout
        self._durability = durability
        self._threads = threads
        self._read_attributes = read_attributes
        self._latest: tuple[str, dict[str, str]] = ("", {})
        """A group and what its instances say: its jobs are made one after the other."""

    async def create_payload(self, job: Job) -> None:
        """See `PayloadStore.create_payload`."""
        attributes = await self._attributes(job) if self._read_attributes else {}
        await self._threads.run(self._create_payload, job, attributes)

    async def _attributes(self, job: Job) -> dict[str, str]:
        if self._latest[0] != job.group_id:
            folder = self._layout.closed_group(job.group_id) / "dcm"
            paths = await self._threads.run(_sorted_files, folder)
            values = MetadataValues()
            for first in range(0, len(paths), READ_TURN):
                turn = paths[first : first + READ_TURN]
                await self._threads.run(self._read_into, values, turn)
            self._latest = (job.group_id, values.metadata())
        return self._latest[1]

    def _read_into(self, values: MetadataValues, paths: Sequence[str]) -> None:
        assert self._read_attributes is not None
        for path in paths:
            values.add(self._read_attributes(path).items())

    def _create_payload(self, job: Job, attributes: Mapping[str, str]) -> None:
        final = self._layout.payload(job.id)
        if final.exists():
            return
        folder = unfinished(final)
        shutil.rmtree(folder, ignore_errors=True)  # a try that failed half-way
        folder.mkdir(FOLDER_MODE)
        (folder / "output").mkdir(FOLDER_MODE)
        (folder / "input").mkdir(FOLDER_MODE)
        self._link_tree(self._layout.closed_group(job.group_id) / "dcm", folder / "input" / "dcm")
        meta = msgspec.json.encode(job_meta(job, attributes))
        write_file(folder / "job.meta", meta, self._durability)
        sync_folder(folder / "input", self._durability)
        sync_folder(folder, self._durability)
        folder.rename(final)
        sync_folder(self._layout.payloads, self._durability)

    def _link_tree(self, source: Path, target: Path) -> None:
        target.mkdir(FOLDER_MODE)
        with os.scandir(source) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._link_tree(Path(entry.path), target / entry.name)
                else:
                    os.link(entry.path, target / entry.name)
        sync_folder(target, self._durability)

    async def metadata(self, job_id: str) -> dict[str, str]:
        """See `PayloadStore.metadata`."""
        return await self._threads.run(self._metadata, job_id)

    def _metadata(self, job_id: str) -> dict[str, str]:
        content = (self._layout.payload(job_id) / "job.meta").read_bytes()
        try:
            return msgspec.json.decode(content, type=JobMeta).metadata
        except msgspec.MsgspecError as error:
            raise StorageFaultError("job.meta cannot be read") from error

    async def count_inputs(self, job_id: str) -> int | None:
        """See `PayloadStore.count_inputs`."""
        return await self._threads.run(self._count_inputs, job_id)

    def _count_inputs(self, job_id: str) -> int | None:
        folder = self._layout.payload(job_id)
        try:
            return sum(1 for _ in walk_files(folder / "input"))
        except FileNotFoundError:
            return 0 if folder.exists() else None

    async def folders(self) -> set[str]:
        """See `PayloadStore.folders`."""
        return await self._threads.run(self._folders)

    def _folders(self) -> set[str]:
        return {name for name in os.listdir(self._layout.payloads) if is_id(name)}

    async def group_of(self, job_id: str) -> str:
        """See `PayloadStore.group_of`."""
        return await self._threads.run(self._group_of, job_id)

    def _group_of(self, job_id: str) -> str:
        try:
            content = (self._layout.payload(job_id) / "job.meta").read_bytes()
            return msgspec.json.decode(content, type=JobMeta).group_id
        except (FileNotFoundError, msgspec.MsgspecError):
            return ""

    async def remove_payload(self, job_id: str) -> int:
        """See `PayloadStore.remove_payload`."""
        folder = self._layout.payload(job_id)
        return await self._threads.run(remove_folder, self._layout, folder, self._durability)


def _sorted_files(folder: Path) -> list[str]:
    return sorted(entry.path for entry in walk_files(folder))


def job_meta(job: Job, attributes: Mapping[str, str]) -> JobMeta:
    """Return what job.meta says of a job; free of patient data but for the attributes."""
    return JobMeta(
        job_id=job.id,
        name=job.name,
        pipeline=job.pipeline,
        pipeline_id=job.pipeline_id,
        priority=job.priority,
        source=job.source,
        ae_title=job.ae_title,
        group_id=job.group_id,
        opened_at=datetime.fromtimestamp(job.opened_at, UTC).isoformat(timespec="milliseconds"),
        supplements=job.supplements,
        destinations=job.destinations,
        calling_ae_titles=job.calling_ae_titles,
        metadata={"Source": job.source, "Instances": str(job.instances), **attributes},
    )
