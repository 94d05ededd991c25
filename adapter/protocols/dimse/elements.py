"""Walks the elements of a data set as far as they have arrived (PS3.5 7): lengths, not values.

Rules: elements come in ascending order of tag (PS3.5 7.1), so a walk ends behind the last wanted
one. Nested data sets are skipped iteratively, to a fixed depth.

Instances of a series repeat each other's elements: the eight bytes of tag, VR and length of one
that was looked at and is of no interest are remembered with the distance to the next, and the walk
steps over them wherever they come again. A CT has 124 elements before its Series Instance UID; this
makes them 15 instead of 120 us.
"""

from enum import Enum
from struct import Struct
from typing import Literal

from adapter.domain.transfer_syntaxes import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

NESTING_MAX = 64
KNOWN_ELEMENTS_MAX = 1024
"""Remembered at most, about 100 kB; real series have some hundred different ones."""

_FIRST_GROUP = 0x0008  # 0000 is for commands, 0002 and 0004 for files (PS3.5 7.1)
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)  # PS3.5 7.1.2: two reserved bytes and a 32-bit length
_EXPLICIT = {False: Struct("<HH2sH"), True: Struct(">HH2sH")}
_TAG = {False: Struct("<HHI"), True: Struct(">HHI")}


class _Encoding(Enum):
    """How elements are written: (explicit VR, big endian)."""

    IMPLICIT_LITTLE = (False, False)
    EXPLICIT_LITTLE = (True, False)
    EXPLICIT_BIG = (True, True)

    def __init__(self, explicit: bool, big: bool) -> None:
        self.explicit = explicit
        self.big = big
        self.order: Literal["little", "big"] = "big" if big else "little"


class MalformedDataSetError(Exception):
    """Bytes that are no data set in the negotiated transfer syntax."""


class NeedMore(Exception):  # noqa: N818 - a signal to `head`
    """The scan ran off the end of what has arrived, inside an element."""


class NoMore(NeedMore):
    """The scan came to the end of what has arrived, between two elements."""


class Layout:
    """What the heads of one presentation context have in common; used by one thread."""

    __slots__ = ("known", "last_wanted", "transfer_syntax_uid", "wanted")

    def __init__(self, transfer_syntax_uid: str, wanted: frozenset[int]) -> None:
        """Begin with nothing known.

        Args:
            transfer_syntax_uid: How data sets are encoded; unknown ones are Explicit VR Little
                Endian, as every encapsulated and every future one is (PS3.5 A.4).
            wanted: Tags as 0xGGGGEEEE.
        """
        self.transfer_syntax_uid = transfer_syntax_uid
        self.wanted = wanted
        self.last_wanted = max(wanted)
        self.known: dict[_Encoding, dict[bytes, int]] = {}
        """Distance to the next element, by the first eight bytes of one that is not wanted."""

    def remember(self, encoding: _Encoding, header: bytes, distance: int) -> None:
        """An element with this header can be stepped over."""
        known = self.known[encoding]
        if len(known) >= KNOWN_ELEMENTS_MAX:
            known.clear()
        known[header] = distance


def scan(data: bytes, layout: Layout) -> dict[int, str]:
    """Return the wanted attributes of the main data set, as text, once the last one is passed.

    Args:
        data: The first bytes of the data set, inflated if need be.
        layout: Of its presentation context.

    Raises:
        NeedMore: It is not passed yet; carries what was found so far.
        MalformedDataSetError: This is not a data set.
    """
    if len(data) < 8:
        raise (NeedMore if data else NoMore)({})
    # Some writers leave Implicit VR in files that announce an encapsulated syntax; the first
    # element tells, and such a data set is stored as it came like any other.
    syntax = layout.transfer_syntax_uid
    if syntax == IMPLICIT_VR_LITTLE_ENDIAN or not _is_vr(data[4:6]):
        return _walk(data, layout, _Encoding.IMPLICIT_LITTLE)
    if syntax == EXPLICIT_VR_BIG_ENDIAN:
        return _walk(data, layout, _Encoding.EXPLICIT_BIG)
    return _walk(data, layout, _Encoding.EXPLICIT_LITTLE)


def _walk(data: bytes, layout: Layout, encoding: _Encoding) -> dict[int, str]:
    found: dict[int, str] = {}
    known = layout.known.setdefault(encoding, {})
    previous = -1
    position, end = 0, len(data)
    while position < end:
        # What is known was held to the rules when it was met first, except for their order.
        while found and (distance := known.get(data[position : position + 8])):
            position += distance
        if position >= end:
            break
        start = position
        tag, vr, length, position = _header(data, start, encoding, found)
        previous = _check(tag, vr, previous, found)
        if tag > layout.last_wanted and found:
            return found
        if length == _UNDEFINED:
            implicit = vr is None or vr == b"UN"  # PS3.5 6.2.2
            position = _skip_undefined(data, position, implicit, encoding.big, found)
            continue
        if position + length > end:
            raise NeedMore(found)
        if tag in layout.wanted:
            found[tag] = data[position : position + length].decode("latin-1").strip("\0 ")
        elif position == start + 8 and tag < layout.last_wanted:
            layout.remember(encoding, data[start:position], 8 + length)
        position += length
    raise (NoMore if position == end else NeedMore)(found)


def _header(
    data: bytes, position: int, encoding: _Encoding, found: dict[int, str]
) -> tuple[int, bytes | None, int, int]:
    """Return tag, VR (None: implicit), length, and the position of the value."""
    if position + 8 > len(data):
        raise NeedMore(found)
    if not encoding.explicit:
        group, element, length = _TAG[encoding.big].unpack_from(data, position)
        return group << 16 | element, None, length, position + 8
    group, element, vr, length = _EXPLICIT[encoding.big].unpack_from(data, position)
    position += 8
    if vr in _LONG:
        if position + 4 > len(data):
            raise NeedMore(found)
        length = int.from_bytes(data[position : position + 4], encoding.order)
        position += 4
    return group << 16 | element, vr, length, position


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


def _skip_undefined(
    data: bytes, position: int, implicit: bool, big: bool, found: dict[int, str]
) -> int:
    """Return the position behind a sequence of undefined length (PS3.5 7.5)."""
    order: Literal["little", "big"] = "big" if big else "little"
    open_items = [implicit]  # for each open sequence or item: is its content implicit VR?
    end = len(data)
    while open_items:
        if position + 8 > end:
            raise NeedMore(found)
        group, element, length = _TAG[big and not open_items[-1]].unpack_from(data, position)
        tag = group << 16 | element
        position += 8
        implicit = open_items[-1]
        if tag in (_ITEM_END, _SEQUENCE_END):
            open_items.pop()
            continue
        if tag != _ITEM and not implicit:
            vr = data[position - 4 : position - 2]
            length = int.from_bytes(data[position - 2 : position], order)
            if vr in _LONG:
                length = int.from_bytes(data[position : position + 4], order)
                position += 4
                implicit = vr == b"UN"
        if length == _UNDEFINED:
            open_items.append(implicit)
            if len(open_items) > 2 * NESTING_MAX:
                raise MalformedDataSetError(f"sequences nested deeper than {NESTING_MAX}")
        else:
            position += length
    if position > end:
        raise NeedMore(found)
    return position
