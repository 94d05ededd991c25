"""The embedded ledger engine: diskcache, used as a durable map of rows and nothing more.

What is switched off, and why: pickle (CVE-2025-69872; our own `Disk` stores bytes and text only and
refuses a pickle it finds), eviction and culling (they delete), expiry, side files (never synced;
rows stay below 32 KiB, so there are none). `synchronous=FULL` makes a commit survive power loss.

A file beside the rows keeps some room: on a full disk it goes, and what ends jobs, and so frees
space, can be written. It is made again when there is space.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NoReturn

import diskcache

from adapter.errors import DamagedLedgerError, FullLedgerError, LedgerError
from adapter.store.damaged_pages import DATABASE
from adapter.store.files import SECRET_FILE_MODE, SECRET_FOLDER_MODE, walk_files

ROW_BYTES_MAX = 32 << 10
RESERVE_BYTES = 16 << 20
RESERVE_PART = 64
"""The reserve is not larger than this part of the disk, and made while four of it are free."""
_MODE_RAW = 1
_SYNCHRONOUS_FULL = 2
_FULL = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE))
_DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


class RowDisk(diskcache.Disk):  # type: ignore[misc]
    """Stores text keys and byte values as they are."""

    def put(self, key: object) -> tuple[str, bool]:
        """Return the key for the database; only text."""
        if not isinstance(key, str):
            raise TypeError("ledger keys are text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Return the key from the database."""
        if not isinstance(key, str) or not raw:
            _refuse("a key")
        return key

    def store(  # the parameters are diskcache's
        self,
        value: object,
        read: object,  # noqa: ARG002
        key: object = None,  # noqa: ARG002
    ) -> tuple[int, int, None, sqlite3.Binary]:
        """Return (size, mode, file name, value) for the database; only bytes."""
        if not isinstance(value, bytes):
            raise TypeError("ledger values are bytes")
        assert len(value) < ROW_BYTES_MAX, "a ledger row grew beyond its limit"
        return 0, _MODE_RAW, None, sqlite3.Binary(value)

    def fetch(self, mode: int, filename: object, value: Any, read: object) -> bytes:  # noqa: ARG002
        """Return the value from the database."""
        if mode != _MODE_RAW or filename is not None or not isinstance(value, bytes):
            _refuse("a value")
        return bytes(value)


def _refuse(what: str) -> NoReturn:
    raise LedgerError(f"the ledger holds {what} that this program did not write")


class RowCache(diskcache.Cache):  # type: ignore[misc]
    """Keeps nothing open when it cannot be opened."""

    def __init__(self, folder: str, **settings: object) -> None:
        try:
            super().__init__(folder, **settings)
        except sqlite3.Error:
            self.close()
            raise


def _open(folder: Path) -> diskcache.Cache:
    try:
        _close_to_others(folder)
        return RowCache(
            str(folder),
            disk=RowDisk,
            eviction_policy="none",
            cull_limit=0,
            size_limit=1 << 62,
            sqlite_synchronous=_SYNCHRONOUS_FULL,
            statistics=0,
            tag_index=0,
        )
    except (sqlite3.Error, OSError) as error:
        raise _translated(error, str(folder)) from error


def _close_to_others(folder: Path) -> None:
    """Let nobody else read a ledger, which holds passwords of destinations; also an older one."""
    folder.mkdir(SECRET_FOLDER_MODE, parents=True, exist_ok=True)
    fd = os.open(folder / DATABASE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, SECRET_FILE_MODE)
    os.close(fd)  # SQLite makes the files beside it with its mode
    with suppress(PermissionError):  # of another account, which has let us in
        os.chmod(folder, SECRET_FOLDER_MODE)
        for file in walk_files(folder):
            os.chmod(file.path, SECRET_FILE_MODE)


class DiskcacheEngine:
    """Rows by key; every method blocks. Writes come from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Open or make the ledger.

        Raises:
            DamagedLedgerError: It is damaged.
            FullLedgerError: There is no room, nor any reserve.
            LedgerError: It cannot be opened.
        """
        self._reserve = folder / ".reserve"
        try:
            self._cache = _open(folder)
        except FullLedgerError:
            if not self._reserve.exists():
                raise
            self._reserve.unlink()
            self._cache = _open(folder)
        self._keep_reserve()

    def load(self) -> Iterator[tuple[str, bytes]]:
        """Yield every row.

        Raises:
            DamagedLedgerError: It is damaged.
            LedgerError: It cannot be read.
        """
        try:
            self._check()
            for key in self._cache:
                yield key, self._cache[key]
        except (sqlite3.Error, OSError) as error:
            raise _translated(error, "the ledger cannot be read") from error

    def _check(self) -> None:
        """Look at all of it: reading passes over rows that are out of order, and most of an index.

        Raises:
            DamagedLedgerError: It is damaged.
        """
        with closing(sqlite3.connect(Path(self._cache.directory) / DATABASE)) as database:
            ((found,),) = database.execute("PRAGMA integrity_check(1)").fetchall()
        if found != "ok":
            raise DamagedLedgerError(f"the ledger is damaged: {' '.join(found.split())}")

    def write(self, changes: Sequence[tuple[str, bytes | None]]) -> None:
        """Write rows (None deletes) in one durable transaction.

        Raises:
            FullLedgerError: There is no room, nor any reserve; nothing was written.
            LedgerError: Nothing was written.
        """
        try:
            self._write(changes)
        except FullLedgerError:
            if not self._reserve.exists():
                raise
            self._reserve.unlink()
            self._write(changes)
        else:
            if not self._reserve.exists():
                self._keep_reserve()

    def _write(self, changes: Sequence[tuple[str, bytes | None]]) -> None:
        try:
            with self._cache.transact(retry=False):  # diskcache would retry whatever it was
                for key, value in changes:
                    if value is None:
                        self._cache.delete(key, retry=True)
                    else:
                        self._cache.set(key, value, retry=True)
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            raise _translated(error, "the ledger cannot be written") from error

    def _keep_reserve(self) -> None:
        """Put some room aside, if there is enough of it."""
        status = os.statvfs(self._reserve.parent)
        size = min(RESERVE_BYTES, status.f_blocks * status.f_frsize // RESERVE_PART)
        if os.path.lexists(self._reserve) or status.f_bavail * status.f_frsize < 4 * size:
            return
        new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(self._reserve, new, SECRET_FILE_MODE)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            pass  # less room than was said: what there is of it is kept
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close this thread's connection."""
        self._cache.close()


def _translated(error: BaseException, where: str) -> LedgerError:
    """Return what SQLite's error means; diskcache may have met another while it cleaned up."""
    first: BaseException | None = error
    while first is not None:
        code = getattr(first, "sqlite_errorcode", None)
        if code in _FULL:
            return FullLedgerError(f"{where}: no space left on the storage")
        if code is not None and code & 0xFF in _DAMAGED:
            return DamagedLedgerError(f"{where}: {first}")
        first = first.__context__
    return LedgerError(f"{where}: {error}")
