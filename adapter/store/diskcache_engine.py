"""The embedded ledger engine: diskcache, used as a durable map of rows and nothing more.

What is switched off, and why: pickle (CVE-2025-69872; our own `Disk` stores bytes and text only and
refuses a pickle it finds), eviction and culling (they delete), expiry, side files (never synced;
rows stay below 32 KiB, so there are none). `synchronous=FULL` makes a commit survive power loss.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import diskcache

from adapter.errors import LedgerError

ROW_BYTES_MAX = 32 << 10
_MODE_RAW = 1
_SYNCHRONOUS_FULL = 2


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


class DiskcacheEngine:
    """Rows by key; every method blocks. Writes come from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Open or make the ledger.

        Raises:
            LedgerError: It cannot be opened, or is damaged.
        """
        try:
            self._cache = diskcache.Cache(
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
            raise LedgerError(f"{folder}: {error}") from error

    def load(self) -> Iterator[tuple[str, bytes]]:
        """Yield every row.

        Raises:
            LedgerError: It cannot be read.
        """
        try:
            for key in self._cache:
                yield key, self._cache[key]
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"the ledger cannot be read: {error}") from error

    def write(self, changes: Sequence[tuple[str, bytes | None]]) -> None:
        """Write rows (None deletes) in one durable transaction.

        Raises:
            LedgerError: Nothing was written.
        """
        try:
            with self._cache.transact(retry=True):
                for key, value in changes:
                    if value is None:
                        self._cache.delete(key, retry=True)
                    else:
                        self._cache.set(key, value, retry=True)
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            raise LedgerError(f"the ledger cannot be written: {error}") from error

    def close(self) -> None:
        """Close this thread's connection."""
        self._cache.close()
