"""Reads a few attributes from the first bytes of a data set, never the pixels (PS3.5 7).

Rules: works on whatever has arrived so far and says if it needs more. Nested data sets are skipped
iteratively, to a fixed depth. A deflated data set is inflated as far as needed and no further.
Elements come in ascending order of tag (PS3.5 7.1), so the scan ends behind the last wanted tag.
"""

import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from struct import Struct

from adapter.protocols.dimse.negotiation import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

HEAD_BYTES_MAX = 1 << 20
"""So much of an instance is searched for its attributes; what lies behind counts as absent."""
NESTING_MAX = 64

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E

_FIRST_GROUP = 0x0008  # 0000 is for commands, 0002 and 0004 for files (PS3.5 7.1)
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)  # PS3.5 7.1.2: two reserved bytes and a 32-bit length
_EXPLICIT = {False: Struct("<HH2sH"), True: Struct(">HH2sH")}
_IMPLICIT = Struct("<HHI")
_TAG = {False: Struct("<HHI"), True: Struct(">HHI")}


class MalformedDataSetError(Exception):
    """Bytes that are no data set in the negotiated transfer syntax."""


class _NeedMore(Exception):  # noqa: N818 - a signal inside this module
    """The scan ran off the end of what has arrived, inside an element."""


class _NoMore(_NeedMore):
    """The scan came to the end of what has arrived, between two elements."""


@dataclass(slots=True)
class Head:
    """Attributes found so far; feed it the first fragments until `complete`."""

    transfer_syntax_uid: str
    wanted: frozenset[int]
    values: dict[int, str] = field(default_factory=dict)
    complete: bool = False
    _bytes: bytearray = field(default_factory=bytearray)
    _scan_at: int = 0
    _inflater: "zlib._Decompress | None" = None

    def feed(self, fragment: memoryview, *, last: bool) -> None:
        """Look at the next piece of the data set.

        Raises:
            MalformedDataSetError: This is not a data set in this transfer syntax.
        """
        if self.complete:
            return
        broken = False
        if self.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            fragment, broken = self._inflate(fragment)
        data = fragment
        if self._bytes:  # the first fragment nearly always has all, and is not copied
            self._bytes += fragment
            if len(self._bytes) < self._scan_at and not (last or broken):
                return  # tiny fragments must not cost a scan each
            data = memoryview(bytes(self._bytes))
        self._judge(data, last=last and not broken)
        if broken and not self.complete:
            raise MalformedDataSetError("not a deflated data set")
        if self.complete:
            self._bytes = bytearray()
            self._inflater = None

    def _judge(self, data: memoryview, *, last: bool) -> None:
        try:
            self.values = _scan(data, self.wanted, self.transfer_syntax_uid)
            self.complete = True
        except _NeedMore as found:
            self.values = found.args[0]
            whole = last and isinstance(found, _NoMore)
            if whole or (len(data) >= HEAD_BYTES_MAX and self.values):
                self.complete = True
            elif len(data) >= HEAD_BYTES_MAX:
                raise MalformedDataSetError("no UID in the first MiB") from None
            elif last:
                raise MalformedDataSetError("the data set ends inside an element") from None
            else:
                self._scan_at = min(2 * len(data), HEAD_BYTES_MAX)
                self._bytes = self._bytes or bytearray(data)

    def _inflate(self, fragment: memoryview) -> tuple[memoryview, bool]:
        """Return what comes out, and whether the stream breaks behind it."""
        if self._inflater is None:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # PS3.5 A.5: no zlib header
        room = HEAD_BYTES_MAX - len(self._bytes)
        before = self._inflater.copy()
        try:
            return memoryview(self._inflater.decompress(fragment, room)), False
        except zlib.error:
            return memoryview(_up_to_the_break(before, fragment)), True


def _up_to_the_break(inflater: "zlib._Decompress", fragment: memoryview) -> bytes:
    """Return what comes out before the stream breaks, however it was cut into fragments."""
    inflated = bytearray()
    try:
        for position in range(len(fragment)):
            inflated += inflater.decompress(fragment[position : position + 1], HEAD_BYTES_MAX)
            if len(inflated) >= HEAD_BYTES_MAX:
                break
    except zlib.error:
        pass  # found it
    return bytes(inflated[:HEAD_BYTES_MAX])


def _scan(data: memoryview, wanted: Collection[int], transfer_syntax_uid: str) -> dict[int, str]:
    """Return the wanted attributes of the main data set, as text, once the last one is passed.

    Args:
        data: The first bytes of the data set, inflated if need be.
        wanted: Tags as 0xGGGGEEEE.
        transfer_syntax_uid: How data is encoded; unknown ones are Explicit VR Little Endian, as
            every encapsulated and every future one is (PS3.5 A.4).

    Raises:
        _NeedMore: It is not passed yet; carries what was found so far.
        MalformedDataSetError: This is not a data set.
    """
    if len(data) < 8:
        raise (_NeedMore if data else _NoMore)({})
    # Some writers leave Implicit VR in files that announce an encapsulated syntax; the first
    # element tells, and such a data set is stored as it came like any other.
    explicit = _is_vr(bytes(data[4:6]))
    if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN or not explicit:
        return _scan_implicit(data, wanted)
    return _scan_explicit(data, wanted, transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN)


def _scan_explicit(data: memoryview, wanted: Collection[int], big: bool) -> dict[int, str]:
    found: dict[int, str] = {}
    unpack = _EXPLICIT[big].unpack_from
    order = "big" if big else "little"
    last_wanted = max(wanted)
    previous = -1
    position, end = 0, len(data)
    while position < end:
        if position + 8 > end:
            raise _NeedMore(found)
        group, element, vr, length = unpack(data, position)
        tag = group << 16 | element
        previous = _check(tag, vr, previous, found)
        if tag > last_wanted and found:
            return found
        position += 8
        if vr in _LONG:
            if position + 4 > end:
                raise _NeedMore(found)
            length = int.from_bytes(data[position : position + 4], order)  # type: ignore[arg-type]
            position += 4
            if length == _UNDEFINED:
                position = _skip_undefined(data, position, vr == b"UN", big, found)
                continue
        if position + length > end:
            raise _NeedMore(found)
        if tag in wanted:
            found[tag] = _text(data[position : position + length])
        position += length
    raise _NoMore(found)


def _scan_implicit(data: memoryview, wanted: Collection[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    unpack = _IMPLICIT.unpack_from
    last_wanted = max(wanted)
    previous = -1
    position, end = 0, len(data)
    while position < end:
        if position + 8 > end:
            raise _NeedMore(found)
        group, element, length = unpack(data, position)
        tag = group << 16 | element
        previous = _check(tag, None, previous, found)
        if tag > last_wanted and found:
            return found
        position += 8
        if length == _UNDEFINED:
            position = _skip_undefined(data, position, True, False, found)
            continue
        if position + length > end:
            raise _NeedMore(found)
        if tag in wanted:
            found[tag] = _text(data[position : position + length])
        position += length
    raise _NoMore(found)


def _check(tag: int, vr: bytes | None, previous: int, found: dict[int, str]) -> int:
    """Return the tag if an element may begin with it.

    As long as nothing that was looked for has been found this may be noise: then the elements are
    held to their order (PS3.5 7.1) to the end. A data set that has shown a UID is not: there are
    archives full of misplaced elements.
    """
    if tag >> 16 < _FIRST_GROUP:
        raise MalformedDataSetError(f"group {tag >> 16:04X} in a data set")
    if vr is not None and not _is_vr(vr):
        raise MalformedDataSetError("no VR where the transfer syntax has one")
    if tag <= previous and not found:
        raise MalformedDataSetError("elements out of order")
    return tag


def _is_vr(raw: bytes) -> bool:
    return raw.isalpha() and raw.isupper()


def _text(value: memoryview) -> str:
    return bytes(value).decode("latin-1").strip("\0 ")


def _skip_undefined(
    data: memoryview, position: int, implicit: bool, big: bool, found: dict[int, str]
) -> int:
    """Return the position behind a sequence of undefined length (PS3.5 7.5)."""
    order = "big" if big else "little"
    open_items = [implicit]  # for each open sequence or item: is its content implicit VR?
    end = len(data)
    while open_items:
        if position + 8 > end:
            raise _NeedMore(found)
        group, element, length = _TAG[big and not open_items[-1]].unpack_from(data, position)
        tag = group << 16 | element
        position += 8
        implicit = open_items[-1]
        if tag in (_ITEM_END, _SEQUENCE_END):
            open_items.pop()
            continue
        if tag != _ITEM and not implicit:
            vr = bytes(data[position - 4 : position - 2])
            length = int.from_bytes(data[position - 2 : position], order)  # type: ignore[arg-type]
            if vr in _LONG:
                length = int.from_bytes(data[position : position + 4], order)  # type: ignore[arg-type]
                position += 4
                implicit = vr == b"UN"
        if length == _UNDEFINED:
            open_items.append(implicit)
            if len(open_items) > 2 * NESTING_MAX:
                raise MalformedDataSetError(f"sequences nested deeper than {NESTING_MAX}")
        else:
            position += length
    if position > end:
        raise _NeedMore(found)
    return position
