"""Whether a file ends where its data set does: headers of elements are read, values are not.

Rules: only a data set that ends inside an element is torn. What is otherwise not as PS3.5 wants it
is for the receiver to judge.
"""

import errno
import os
from typing import BinaryIO

from adapter.domain.transfer_syntaxes import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
from adapter.protocols.dimse.elements import (
    Bytes,
    Layout,
    MalformedDataSetError,
    NeedMore,
    NoMore,
    Unclosed,
    scan,
)
from adapter.protocols.dimse.head import SOP_CLASS_UID

WINDOW_BYTES = 4 << 10
"""Read at once: headers of elements that follow each other."""
WINDOWS_MAX = 10_000
"""Of one file; one with more fragments or items than that is not judged."""
_LAST_TAG = 0xFFFFFFFF


class _UnjudgedError(Exception):
    """There is too much to look at."""


class _FileBytes:
    """The data set of an open file as bytes, of which only what is looked at is read."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._fd, self._offset, self._size = file.fileno(), offset, size - offset
        self._window, self._start, self._end = b"", 0, 0
        self._windows = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice, /) -> bytes:
        start, end = span.start, min(span.stop, self._size)
        if start < self._start or end > self._end:
            self._read(start, max(end - start, WINDOW_BYTES))
        return self._window[start - self._start : end - self._start]

    def _read(self, start: int, count: int) -> None:
        self._windows += 1
        if self._windows > WINDOWS_MAX:
            raise _UnjudgedError
        count = min(count, self._size - start)
        self._window = os.pread(self._fd, count, self._offset + start)
        if len(self._window) < count:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        self._start, self._end = start, start + count


def is_torn(file: BinaryIO, start: bytes, offset: int, size: int, transfer_syntax_uid: str) -> bool:
    """Return whether a file ends inside an element of its data set.

    Args:
        file: Open, unbuffered.
        start: Its first bytes: nearly always all but the value of the last element.
        offset: Of the data set, bytes from the start.
        size: Of the file, bytes.
        transfer_syntax_uid: Of the data set; a deflated one is not judged.

    Raises:
        OSError: It cannot be read.
    """
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        return False
    ends_at = _end(start[offset:], transfer_syntax_uid)
    if size > len(start) and (ends_at is None or ends_at < size - offset):  # there is more behind
        ends_at = _end(_FileBytes(file, offset, size), transfer_syntax_uid)
    return ends_at != size - offset


def _end(data: Bytes, transfer_syntax_uid: str) -> int | None:
    """Return where the last element of a data set ends; None: inside one that is not whole."""
    to_the_end = Layout(transfer_syntax_uid, frozenset((SOP_CLASS_UID, _LAST_TAG)))
    try:
        scan(data, to_the_end)
    except (NoMore, Unclosed, MalformedDataSetError, _UnjudgedError):
        pass
    except NeedMore as more:
        return more.args[1] if len(more.args) > 1 else None
    return len(data)
