"""Finds instances in group and job folders by SOP Instance UID (port `HeldInstances`).

A file is named by its SOP Instance UID, so one walk over names answers any number of questions, and
only what was asked for is opened. The walk goes the way of the data - open groups, closed groups,
jobs - and a group is gone from one place only when it is in the next: nothing is missed on its way.
"""

import os
from collections.abc import Callable, Iterator, Set
from pathlib import Path

from adapter.domain.identifiers import path_part
from adapter.store.files import DiskThreads
from adapter.store.layout import Layout

Describe = Callable[[str], tuple[str, str]]
"""Returns SOP Class UID and SOP Instance UID of a file, as its File Meta Information has them.

Raises:
    OSError: It cannot be read. ValueError: It is damaged.
"""


class FolderHeldInstances:
    """What lies below one root as input of jobs, now or later."""

    def __init__(self, layout: Layout, threads: DiskThreads, describe: Describe) -> None:
        self._layout = layout
        self._threads = threads
        self._describe = describe

    async def find(self, sop_instance_uids: Set[str]) -> dict[str, set[str]]:
        """See `HeldInstances.find`."""
        return await self._threads.run(self._find, sop_instance_uids)

    def _find(self, sop_instance_uids: Set[str]) -> dict[str, set[str]]:
        wanted = {f"{path_part(uid)}.dcm" for uid in sop_instance_uids}
        found: dict[str, set[str]] = {}
        for path in self._files():
            if os.path.basename(path) in wanted:
                try:
                    sop_class_uid, sop_instance_uid = self._describe(path)
                except (FileNotFoundError, NotADirectoryError, ValueError):
                    continue  # on its way to the next place, or damaged: not held here
                if sop_instance_uid in sop_instance_uids:
                    found.setdefault(sop_instance_uid, set()).add(sop_class_uid)
        return found

    def _files(self) -> Iterator[str]:
        layout = self._layout
        for parent, inner in (
            (layout.incoming, "dcm"), (layout.closed, "dcm"), (layout.payloads, "input/dcm"),
        ):  # fmt: skip
            for folder in _names(parent):
                if not folder.startswith("."):
                    yield from _files_below(parent / folder / inner)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []  # it has moved on since its parent was listed


def _files_below(dcm: Path) -> Iterator[str]:
    for study in _names(dcm):
        for series in _names(dcm / study):
            folder = dcm / study / series
            yield from (f"{folder}/{name}" for name in _names(folder))
