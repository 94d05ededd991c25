"""Part files: an instance from its first fragment to its durable place in a group folder.

Called from association threads, many at once, in several processes. The order is the promise behind
0x0000: bytes synced, name linked into the series folder, folder synced, and only then an answer.
The link is made only while the group's folder is at its open place; closing renames that folder, so
a commit that comes too late fails as a whole instead of landing in a group that has become a job.
"""

import itertools
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from adapter.domain.messages import Placement
from adapter.domain.records import Duplicate
from adapter.errors import GroupClosedError, StorageFaultError
from adapter.store.files import (
    FILE_MODE,
    FOLDER_MODE,
    Durability,
    sync_folder,
    translated,
    write_all,
)
from adapter.store.layout import Layout
from adapter.store.naming import name_instance
from adapter.store.staged import STAGED

SPARE = "spare"
GROUPS_REMEMBERED = 10_000
"""Groups whose folders are known to be durable; a folder of any other is synced once more."""


class PartFiles:
    """Opens part files; remembers which folders are known to be durable. One for each process."""

    def __init__(self, layout: Layout, durability: Durability) -> None:
        self._path = f"{layout.parts}/{_name_of(os.getpid())}"
        self.incoming = str(layout.incoming)
        self.durability = durability
        self._numbers = itertools.count()
        self._durable_folders: dict[str, set[str]] = {}
        self._mutex = threading.Lock()
        self._left: list[str] = []
        """Part files that could not be deleted; tried again with the next one."""

    def open(self) -> "DiskPartFile":
        """Open a part file.

        Raises:
            StorageFullError, StorageFaultError: It cannot be created.
        """
        path = f"{self._path}{next(self._numbers)}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise translated(error) from error
        return DiskPartFile(self, path, fd)

    def series_folder(self, placement: Placement, group_id: str) -> str:
        """Return the folder for the instance in this group, made and durable.

        A folder another thread has just made is synced here again: its maker may not have got
        that far, and our instance may be acknowledged first.
        """
        durable = self._durable_in(group_id)
        folder = f"{self.incoming}/{group_id}"
        parts = ["dcm", placement.study, placement.series]
        if placement.association:
            parts = [STAGED, placement.association, placement.study, placement.series]
        else:
            folder += f"/{parts.pop(0)}"  # it was made with the group
        for part in parts:
            parent, folder = folder, f"{folder}/{part}"
            if folder in durable:
                continue
            try:
                os.mkdir(folder, FOLDER_MODE)
            except FileExistsError:
                if os.path.islink(folder):  # not ours: nothing leaves the root
                    raise StorageFaultError("a folder of the group is a link") from None
            sync_folder(parent, self.durability)
            durable.add(folder)
        return folder

    def remove(self, path: str) -> None:
        """Delete a part file, and those that could not be deleted before.

        A failure changes nothing about an instance that has been answered; at the latest the next
        start deletes what is left.
        """
        pending = [path]
        if self._left:
            with self._mutex:
                pending += self._left
                self._left.clear()
        for each in pending:
            try:
                _remove(each)
            except OSError:
                self._left.append(each)

    def _durable_in(self, group_id: str) -> set[str]:
        folders = self._durable_folders.get(group_id)
        if folders is None:
            with self._mutex:
                while len(self._durable_folders) >= GROUPS_REMEMBERED:
                    del self._durable_folders[next(iter(self._durable_folders))]
                folders = self._durable_folders.setdefault(group_id, set())
        return folders


class DiskPartFile:
    """See port `PartFile`."""

    __slots__ = ("_fd", "_files", "_path", "_synced")

    def __init__(self, files: PartFiles, path: str, fd: int) -> None:
        self._files = files
        self._path = path
        self._fd = fd
        self._synced = False

    def write(self, views: Sequence[bytes | memoryview]) -> None:
        """See `PartFile.write`."""
        try:
            write_all(self._fd, views)
        except OSError as error:
            raise translated(error) from error

    def commit(self, placement: Placement, group_id: str) -> Duplicate | None:
        """See `PartFile.commit`."""
        files = self._files
        try:
            if files.durability == "fsync" and not self._synced:
                os.fsync(self._fd)
                self._synced = True
            folder = files.series_folder(placement, group_id)
            final = f"{folder}/{placement.instance}.dcm"
            duplicate = self._name(final, placement)
            sync_folder(folder, files.durability)
        except FileNotFoundError as error:
            raise GroupClosedError("the group has closed, please send again") from error
        except OSError as error:
            raise translated(error) from error
        return duplicate

    def _name(self, final: str, placement: Placement) -> Duplicate | None:
        if placement.same_instance != "replace" or len(placement.groups) == 1:
            return name_instance(self._path, final, placement.same_instance)
        spare = f"{self._path}-{SPARE}"  # replacing takes a name away, and another group needs one
        os.link(self._path, spare)
        try:
            return name_instance(spare, final, placement.same_instance)
        finally:
            self._files.remove(spare)

    def discard(self) -> None:
        """See `PartFile.discard`."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
        except OSError:
            pass  # it is closed all the same (close(2)); what had to be synced has been
        self._files.remove(self._path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # renamed to its final place


def _name_of(pid: int) -> str:
    return f"{pid}-"


def clear_parts(folder: Path, pid: int | None = None) -> int:
    """Delete what was being received by a process that has ended; return how many files.

    Args:
        folder: `Layout.parts`.
        pid: Of that process; None: of all there were.
    """
    count = 0
    for path in folder.glob("*" if pid is None else f"{_name_of(pid)}*"):
        path.unlink()
        count += 1
    return count
