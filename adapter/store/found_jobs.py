"""Jobs whose folders are there and whose rows are not: the ledger was lost, damaged, or is older.

What a folder tells: the job as it opened, its input, and whether its results are complete. What it
does not tell: how often a step failed, what was delivered, registered, cancelled or held. So such a
job begins again, or, if its results are complete, they are exported again: what may have been done
is done once more rather than not at all.
"""

import os
from collections.abc import Iterator, Set
from datetime import datetime
from pathlib import Path

import msgspec

from adapter.domain.identifiers import is_id
from adapter.domain.records import DONE_FLAG, Job, JobChange
from adapter.domain.tables import JobState
from adapter.store.files import walk_files
from adapter.store.layout import Layout
from adapter.store.payloads import JobMeta


class FoundJobs(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at a start."""

    jobs: list[Job]
    """In the order in which they opened."""
    unknown: list[Path]
    """Folders that are no job's of ours."""


def find_jobs(layout: Layout, known: Set[str], now: float) -> FoundJobs:
    """Return the jobs in `payloads/` that are not among the known ones.

    A job whose closed group is still there is left out: the processor opens it again.
    """
    found, unknown = [], []
    for folder in _folders(layout.payloads):
        if folder.name in known or _is_fetched(folder):
            continue
        job = _read_job(folder, now)
        if job is None:
            unknown.append(folder)
        elif not layout.closed_group(job.group_id).exists():
            found.append(job)
    return FoundJobs(jobs=sorted(found, key=lambda job: (job.opened_at, job.id)), unknown=unknown)


def _folders(parent: Path) -> Iterator[Path]:
    with os.scandir(parent) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield Path(entry.path)


def _is_fetched(folder: Path) -> bool:
    """Return whether it holds results of a Results Service, which offers their task once more."""
    flagged = (folder / "output" / DONE_FLAG).is_file()
    return flagged and is_id(folder.name) and not os.path.lexists(folder / "job.meta")


def _read_job(folder: Path, now: float) -> Job | None:
    if not is_id(folder.name) or folder.is_symlink():
        return None
    try:
        meta = msgspec.json.decode((folder / "job.meta").read_bytes(), type=JobMeta)
        opened_at = datetime.fromisoformat(meta.opened_at).timestamp()
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
        return None
    if meta.job_id != folder.name or not is_id(meta.group_id):
        return None
    sizes = [entry.stat().st_size for entry in walk_files(folder / "input")]
    done = (folder / "output" / DONE_FLAG).is_file()
    state = JobState.COMPLETED if done else JobState.QUEUED
    return Job(
        id=meta.job_id, group_id=meta.group_id, ae_title=meta.ae_title,
        processor=meta.source.removeprefix(f"{meta.ae_title} (").removesuffix(")"),
        name=meta.name, pipeline=meta.pipeline, pipeline_id=meta.pipeline_id,
        priority=meta.priority, state=state, opened_at=opened_at, queued_at=opened_at,
        changed_at=now, instances=len(sizes), payload_bytes=sum(sizes),
        history=(JobChange(state, now),), destinations=meta.destinations,
        calling_ae_titles=meta.calling_ae_titles, supplements=meta.supplements,
    )  # fmt: skip
