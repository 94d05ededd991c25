"""Durable steps on a file system: what must reach the disk before a promise is made.

A file is durable when its bytes are synced *and* the entry that names it is: creating, linking or
renaming a file changes the folder, which is synced by itself (fsync(2)).
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import trio

from adapter.errors import StorageFaultError, StorageFullError

Durability = Literal["fsync", "os"]
"""`fsync`: survives power loss. `os`: survives the death of this process only."""

FILE_MODE = 0o440  # never changed after it is written, never executable
FOLDER_MODE = 0o750
SECRET_FILE_MODE, SECRET_FOLDER_MODE = 0o600, 0o700
"""Of the ledger: nobody but the account has anything to look for there."""
_IOV_MAX = 1024
T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Translate OSError into the errors of the store."""
    try:
        yield
    except OSError as error:
        raise translated(error) from error


class DiskThreads:
    """Runs blocking steps in worker threads and translates what the file system says."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter

    async def run(self, call: Callable[..., T], *args: object) -> T:
        """Return call(*args); a cancel waits for it.

        Raises:
            StorageFullError, StorageFaultError: For any OSError.
        """

        def translating() -> T:
            with storage_errors():
                return call(*args)

        return await trio.to_thread.run_sync(translating, limiter=self._limiter, thread_name="disk")


def translated(error: OSError) -> StorageFullError | StorageFaultError:
    """Return the expected failure behind an OSError, without a path in its text."""
    if error.errno in _FULL:
        return StorageFullError("no space left on the storage")
    return StorageFaultError(f"storage failed: {os.strerror(error.errno or 0)}")


def write_all(fd: int, views: Sequence[bytes | memoryview]) -> None:
    """Write all views, in as few calls as possible."""
    for first in range(0, len(views), _IOV_MAX):
        pending = list(views[first : first + _IOV_MAX])
        while pending:
            count = os.writev(fd, pending)
            while pending and count >= len(pending[0]):
                count -= len(pending.pop(0))
            if pending and count:
                pending[0] = memoryview(pending[0])[count:]


def sync_folder(path: str | Path, durability: Durability) -> None:
    """Make the entries of a folder durable."""
    if durability == "os":
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, none of them for others to look into."""
    if not folder.parent.exists():
        make_folder(folder.parent)
    folder.mkdir(FOLDER_MODE, exist_ok=True)


def write_file(path: Path, content: bytes, durability: Durability) -> None:
    """Write a new file durably; its folder is the caller's to sync."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        write_all(fd, [content])
        if durability == "fsync":
            os.fsync(fd)
    finally:
        os.close(fd)


def walk_files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the regular files below folder; links are not followed."""
    pending = [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry
