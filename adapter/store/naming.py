"""Gives a received file its final name, and says what to do if there is one of that name.

Exactly one of several that come at once gets the name, by link(2); the others then meet a file that
is whole and durable. What is there is never changed in place: the same bytes may be the input of a
job, and of a pipeline that is reading them.
"""

import os

from adapter.domain.entities import SameInstance
from adapter.domain.records import Duplicate
from adapter.errors import StorageFaultError

COPIES_MAX = 100
"""Of one instance in one group, each with other bytes; more means that something is very wrong."""
_COPY = "_"
"""Before the number of a copy; in no UID, and in no other name (`path_part`)."""
_CHUNK_BYTES = 1 << 20
_PREFIX_AT, _GROUP_LENGTH_AT, _META_AT = 128, 140, 144  # PS3.10 7.1: DICM, value of (0002,0000)


def name_instance(path: str, final: str, same_instance: SameInstance) -> Duplicate | None:
    """Link the file at path to its final name; `path` may be left, or be gone.

    Returns:
        None if it is the only one of its name, else what became of the two.

    Raises:
        FileNotFoundError: The folder has gone.
        OSError: The file system has failed.
    """
    try:
        os.link(path, final)
    except FileExistsError:
        pass
    else:
        return None
    differs = not _same_data_set(path, final)
    match same_instance:
        case "replace":
            if differs:
                os.rename(path, final)
            return Duplicate(differs=differs, kept="last")
        case "keep-both":
            if differs and _linked_beside(path, final):
                return Duplicate(differs=True, kept="both")
            return Duplicate(differs=False, kept="first")
        case "keep-first":
            return Duplicate(differs=differs, kept="first")


def first_name(name: str) -> str:
    """Return the name that the first copy of an instance has, given that of any."""
    stem, extension = os.path.splitext(name)
    return stem.partition(_COPY)[0] + extension


def _linked_beside(path: str, final: str) -> bool:
    """Link the file to the next free name, `<instance>_2.dcm` and so on; False: it is there."""
    stem, extension = os.path.splitext(final)
    for number in range(2, COPIES_MAX + 1):
        beside = f"{stem}{_COPY}{number}{extension}"
        try:
            os.link(path, beside)
        except FileExistsError:
            if _same_data_set(path, beside):
                return False
        else:
            return True
    raise StorageFaultError(f"an instance has {COPIES_MAX} copies that differ")


def _same_data_set(one: str, other: str) -> bool:
    """Return whether two files hold the same bytes behind their File Meta Information."""
    with open(one, "rb") as first, open(other, "rb") as second:
        starts = [_data_set_at(os.pread(file.fileno(), _META_AT, 0)) for file in (first, second)]
        sizes = [os.fstat(file.fileno()).st_size for file in (first, second)]
        if sizes[0] - starts[0] != sizes[1] - starts[1]:
            return False
        first.seek(starts[0])
        second.seek(starts[1])
        while chunk := first.read(_CHUNK_BYTES):
            if chunk != second.read(_CHUNK_BYTES):
                return False
    return True


def _data_set_at(head: bytes) -> int:
    """Return where the data set begins in a file that begins so."""
    if head[_PREFIX_AT : _PREFIX_AT + 4] != b"DICM":
        return 0
    return _META_AT + int.from_bytes(head[_GROUP_LENGTH_AT:_META_AT], "little")
