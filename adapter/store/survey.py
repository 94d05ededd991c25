"""Looks into the folders (port `Survey`)."""

import os
from pathlib import Path

from adapter.domain.identifiers import path_part
from adapter.domain.ports import SpaceReading
from adapter.domain.records import GroupRecord
from adapter.domain.survey import FolderFigures, StudyPlaces
from adapter.store.files import DiskThreads, walk_files
from adapter.store.instances import read_record
from adapter.store.layout import Layout
from adapter.store.space import DiskSpaceGauge

FILES_MAX = 100_000
"""Files of closed groups that are looked at for one answer: a closed group lives for moments."""


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


def _files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(walk_files(folder))
    except FileNotFoundError:
        return []  # it has become jobs since its parent was listed


def _finished(parent: Path) -> list[Path]:
    return [parent / name for name in sorted(os.listdir(parent)) if not name.startswith(".")]
