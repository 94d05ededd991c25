"""Looks into the folders (port `Survey`)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from adapter.domain.identifiers import is_uid, path_part
from adapter.domain.ports import SpaceReading
from adapter.domain.previews import Instance
from adapter.domain.records import GroupRecord
from adapter.domain.survey import FolderFigures, StudyPlaces
from adapter.store.files import DiskThreads, walk_files
from adapter.store.instances import read_record
from adapter.store.layout import Layout
from adapter.store.space import DiskSpaceGauge

FILES_MAX = 100_000
"""Files that are looked at for one answer; a closed group lives for moments."""

INSTANCES_MAX = 10_000
"""Of a study that are told of."""

STUDIES_MAX = 100
"""Of a job that are told of; most have one."""


class FolderSurvey:
    """What lies below one root."""

    def __init__(self, layout: Layout, gauge: DiskSpaceGauge, threads: DiskThreads) -> None:
        self._layout = layout
        self._gauge = gauge
        self._threads = threads

    async def study(self, study_instance_uid: str) -> StudyPlaces:
        """See `Survey.study`."""
        return await self._threads.run(self._study, path_part(study_instance_uid))

    def _study(self, part: str) -> StudyPlaces:
        # The way of the data, so that nothing is missed that moves on meanwhile.
        groups: dict[str, GroupRecord] = {}
        for parent in (self._layout.incoming, self._layout.closed):
            for folder in _finished(parent):
                if (folder / "dcm" / part).is_dir() and (record := read_record(folder)) is not None:
                    groups[record.id] = record
        payloads = _finished(self._layout.payloads)
        jobs = [folder.name for folder in payloads if (folder / "input" / "dcm" / part).is_dir()]
        return StudyPlaces(groups=tuple(groups.values()), jobs=tuple(jobs))

    async def studies(self, job_id: str) -> tuple[str, ...]:
        """See `Survey.studies`."""
        return await self._threads.run(self._studies, self._layout.payload(job_id))

    @staticmethod
    def _studies(payload: Path) -> tuple[str, ...]:
        try:
            names = os.listdir(payload / "input" / "dcm")
        except FileNotFoundError:
            return ()  # it is not there yet, or not any more
        return tuple(sorted(filter(is_uid, names))[:STUDIES_MAX])

    async def instances(self, study_instance_uid: str) -> tuple[Instance, ...]:
        """See `Survey.instances`."""
        return await self._threads.run(self._instances, path_part(study_instance_uid))

    def _instances(self, part: str) -> tuple[Instance, ...]:
        found: dict[tuple[str, str], Instance] = {}
        for entry in islice(self._received(part), FILES_MAX):
            with suppress(FileNotFoundError):  # it has moved on
                instance = _instance(entry)
                found.setdefault((instance.series, instance.name), instance)
            if len(found) == INSTANCES_MAX:
                break
        return tuple(sorted(found.values(), key=lambda one: (one.series, len(one.name), one.name)))

    def _received(self, part: str) -> Iterator[os.DirEntry[str]]:
        """Yield the files of a study, where they stay longest first."""
        layout = self._layout
        for folder in _finished(layout.payloads):
            yield from _files(folder / "input" / "dcm" / part)
        for parent in (layout.closed, layout.incoming):
            for folder in _finished(parent):
                yield from _files(folder / "dcm" / part)

    async def closed(self) -> FolderFigures:
        """See `Survey.closed`."""
        return await self._threads.run(self._closed)

    def _closed(self) -> FolderFigures:
        folders, size, files = _finished(self._layout.closed), 0, 0
        for folder in folders:
            for entry in _files(folder / "dcm"):
                size += entry.stat(follow_symlinks=False).st_size
                files += 1
                if files == FILES_MAX:
                    return FolderFigures(groups=len(folders), payload_bytes=size, complete=False)
        return FolderFigures(groups=len(folders), payload_bytes=size, complete=True)

    async def space(self) -> SpaceReading:
        """See `Survey.space`."""
        return await self._gauge.read()

    async def quarantined(self) -> int:
        """See `Survey.quarantined`."""
        return await self._threads.run(lambda: len(os.listdir(self._layout.quarantine)))


def _instance(entry: os.DirEntry[str]) -> Instance:
    path = Path(entry.path)
    size = entry.stat(follow_symlinks=False).st_size
    return Instance(series=path.parent.name, name=path.stem, path=entry.path, size_bytes=size)


def _files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(walk_files(folder))
    except FileNotFoundError:
        return []  # it has become jobs since its parent was listed


def _finished(parent: Path) -> list[Path]:
    return [parent / name for name in sorted(os.listdir(parent)) if not name.startswith(".")]
