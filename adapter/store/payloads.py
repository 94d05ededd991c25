"""Job folders (port `PayloadStore`): the closed group as input by hard links, job.meta, output.

No byte is copied: a job's input files are the received files under another name. They are
read-only, because the same bytes may be the input of another job.
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from adapter.domain.records import Job
from adapter.store.files import FOLDER_MODE, DiskThreads, Durability, sync_folder, write_file
from adapter.store.instances import remove_folder
from adapter.store.layout import Layout, unfinished


class JobMeta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file job.meta (docs/pipelines.md)."""

    job_id: str
    name: str
    pipeline: str
    pipeline_id: str
    priority: str
    source: str
    ae_title: str
    group_id: str
    opened_at: str
    metadata: dict[str, str]


class FolderPayloadStore:
    """Job folders below one root."""

    def __init__(self, layout: Layout, durability: Durability, threads: DiskThreads) -> None:
        self._layout = layout
        self._durability = durability
        self._threads = threads

    async def create_payload(self, job: Job) -> None:
        """See `PayloadStore.create_payload`."""
        await self._threads.run(self._create_payload, job)

    def _create_payload(self, job: Job) -> None:
        final = self._layout.payload(job.id)
        if final.exists():
            return
        folder = unfinished(final)
        shutil.rmtree(folder, ignore_errors=True)  # a try that failed half-way
        (folder / "output").mkdir(FOLDER_MODE, parents=True)
        (folder / "input").mkdir(FOLDER_MODE)
        self._link_tree(self._layout.closed_group(job.group_id) / "dcm", folder / "input" / "dcm")
        write_file(folder / "job.meta", msgspec.json.encode(job_meta(job)), self._durability)
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

    async def remove_payload(self, job_id: str) -> int:
        """See `PayloadStore.remove_payload`."""
        folder = self._layout.payload(job_id)
        return await self._threads.run(remove_folder, folder, self._durability)


def job_meta(job: Job) -> JobMeta:
    """Return what job.meta says of a job; free of patient data."""
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
        metadata={"Source": job.source, "Instances": str(job.instances)},
    )
