"""Reads the rows of a damaged ledger off the pages of its file, where SQLite does not find them.

SQLite comes to a row by the pages above it, and reads nothing at all without the first page. Each
leaf page of a table says by itself what is in it (SQLite's "Database File Format", 1.6 B-tree
Pages, 2.1 Record Format, 4.2 WAL File Format): so what is lost is what was on the broken pages. No
page holds rows that were deleted, as none is free: diskcache asks for `auto_vacuum = FULL`.

Nothing is written, also not what SQLite would write when it opens a file.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DATABASE = "cache.db"
PAGE_BYTES = 4096
"""SQLite's default, which diskcache leaves as it is."""
PAYLOAD_BYTES_MAX = 64 << 10
"""Of a row with its key; those of the ledger are shorter."""
COLUMNS = 12
"""Of diskcache's table: rowid, key, raw, three times, count, tag, size, mode, file name, value."""
_KEY, _RAW, _STORED_AT, _MODE, _VALUE = 1, 2, 3, 9, 11
_OTHER_TABLES = (2, 5)  # columns of diskcache's settings, and of SQLite's schema
_TABLE_LEAF = 0x0D
_LOCAL_MAX = PAGE_BYTES - 35
_LOCAL_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
_LOG_MAGIC = 0x377F0682
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes by serial type
_REAL, _ZERO, _ONE, _FIRST_BLOB = 7, 8, 9, 12


class FoundRow(NamedTuple):
    """A row of the ledger."""

    rowid: int
    """In the order in which rows were made; one that was changed keeps its own."""
    key: str
    value: bytes
    stored_at: float


class _UnreadableError(ValueError):
    """What stands there is no row."""


def found_rows(folder: Path) -> Iterator[FoundRow | None]:
    """Yield the rows on all pages, in no order, a key perhaps twice; None for what is none.

    Raises:
        OSError: The file cannot be read.
    """
    fd = os.open(folder / DATABASE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pages = _Pages(fd, _logged(folder / f"{DATABASE}-wal"))
        for number in range(1, pages.count + 1):
            yield from _rows_of(pages, number)
    finally:
        os.close(fd)


class _Log(NamedTuple):
    """Pages that were committed to the write-ahead log, and how many there are since."""

    pages: dict[int, bytes]
    size: int


class _Pages:
    def __init__(self, fd: int, log: _Log) -> None:
        self._fd = fd
        self._log = log
        self.count = log.size or os.fstat(fd).st_size // PAGE_BYTES

    def read(self, number: int) -> bytes:
        if not 1 <= number <= self.count:
            raise _UnreadableError
        logged = self._log.pages.get(number)
        page = logged or os.pread(self._fd, PAGE_BYTES, (number - 1) * PAGE_BYTES)
        return page.ljust(PAGE_BYTES, b"\0")


def _logged(path: Path) -> _Log:
    """Return what the log holds up to its last commit; a frame that does not verify ends it."""
    committed, pages, count = dict[int, bytes](), dict[int, bytes](), 0
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return _Log({}, 0)
    with file:
        head = file.read(32)
        if len(head) < 32 or struct.unpack_from(">I", head)[0] & ~1 != _LOG_MAGIC:
            return _Log({}, 0)
        order = ">" if head[3] & 1 else "<"
        sums = _checksum(order, head[:24], (0, 0))
        while len(frame := file.read(24 + PAGE_BYTES)) == 24 + PAGE_BYTES:
            number, size, salt, expected = struct.unpack_from(">II8s8s", frame)
            sums = _checksum(order, frame[:8] + frame[24:], sums)
            if salt != head[16:24] or struct.pack(">II", *sums) != expected:
                break
            pages[number] = frame[24:]
            if size:
                committed |= pages
                pages, count = {}, size
    return _Log(committed, count)


def _checksum(order: str, content: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    for even, odd in struct.iter_unpack(f"{order}II", content):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _rows_of(pages: _Pages, number: int) -> Iterator[FoundRow | None]:
    page = pages.read(number)
    start = 100 if number == 1 else 0  # behind the header of the file
    if page[start] != _TABLE_LEAF:
        return
    cells = min(struct.unpack_from(">H", page, start + 3)[0], (PAGE_BYTES - start - 8) // 2)
    for offset in struct.unpack_from(f">{cells}H", page, start + 8):
        try:
            rowid, record = _record(pages, page, offset)
            columns = _columns(record)
            if len(columns) not in _OTHER_TABLES:
                yield _row(rowid, columns)
        except (_UnreadableError, IndexError, struct.error, UnicodeDecodeError):
            yield None


def _record(pages: _Pages, page: bytes, offset: int) -> tuple[int, bytes]:
    """Return the rowid of a cell and what it holds, with what has overflowed to other pages."""
    size, offset = _varint(page, offset)
    rowid, offset = _varint(page, offset)
    if size > PAYLOAD_BYTES_MAX:
        raise _UnreadableError
    local = size
    if size > _LOCAL_MAX:
        local = _LOCAL_MIN + (size - _LOCAL_MIN) % (PAGE_BYTES - 4)
        if local > _LOCAL_MAX:
            local = _LOCAL_MIN
    record = page[offset : offset + local]
    follows = offset + local
    while len(record) < size:
        if len(page) - follows < 4:
            raise _UnreadableError
        page = pages.read(struct.unpack_from(">I", page, follows)[0])
        record += page[4 : 4 + size - len(record)]
        follows = 0
    return rowid, record


class _Column(NamedTuple):
    serial: int
    content: bytes


def _columns(record: bytes) -> list[_Column]:
    end, offset = _varint(record, 0)
    serials = []
    while offset < end:
        serial, offset = _varint(record, offset)
        serials.append(serial)
    columns = []
    for serial in serials:
        size = _size(serial)
        if size > len(record) - end:
            raise _UnreadableError
        columns.append(_Column(serial, record[end : end + size]))
        end += size
    return columns


def _size(serial: int) -> int:
    if serial >= _FIRST_BLOB:
        return (serial - _FIRST_BLOB) // 2
    return 8 if serial == _REAL else _INTEGERS.get(serial, 0)


def _row(rowid: int, columns: list[_Column]) -> FoundRow:
    if len(columns) != COLUMNS:
        raise _UnreadableError
    key, value = columns[_KEY], columns[_VALUE]
    is_ours = key.serial > _FIRST_BLOB and key.serial % 2 == 1  # text
    is_ours &= value.serial >= _FIRST_BLOB and value.serial % 2 == 0  # bytes
    if not is_ours or _number(columns[_RAW]) != 1 or _number(columns[_MODE]) != 1:
        raise _UnreadableError
    return FoundRow(rowid, key.content.decode(), value.content, _number(columns[_STORED_AT]))


def _number(column: _Column) -> float:
    match column.serial:
        case serial if serial in _INTEGERS:
            return int.from_bytes(column.content, "big", signed=True)
        case serial if serial == _REAL:
            return float(struct.unpack(">d", column.content)[0])
        case serial if serial in (_ZERO, _ONE):
            return serial - _ZERO
    raise _UnreadableError


def _varint(content: bytes, offset: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and where the next begins."""
    number = 0
    for at in range(offset, offset + 8):
        number = number << 7 | content[at] & 0x7F
        if content[at] < 0x80:
            return number, at + 1
    return number << 8 | content[offset + 8], offset + 9
