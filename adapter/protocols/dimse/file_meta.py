"""File Meta Information (PS3.10 7.1): written before what is received, read before sending."""

from dataclasses import dataclass
from struct import Struct

from adapter.domain.identifiers import is_uid
from adapter.protocols.dimse.pdu import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

PREAMBLE = bytes(128)
"""Always zero: what a sender put there could be a program (PS3.10 7.5, CVE-2019-11687)."""
PREFIX = b"DICM"
META_BYTES_MAX = 64 << 10
"""Ceiling of the group length we believe in a file."""

_SHORT = Struct("<HH2sH")
_LONG = Struct("<HH2sxxI")
_LONG_VRS = (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF", b"UC", b"UR")


class NotPart10Error(Exception):
    """A file without usable File Meta Information."""


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What File Meta Information says, and where the data set begins (bytes from the start)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set_offset: int


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    return _SHORT.pack(2, element, vr, len(value)) + value


def _uid(uid: str) -> bytes:
    raw = uid.encode("ascii")
    return raw + b"\0" if len(raw) & 1 else raw


def _text(text: str) -> bytes:
    raw = text.encode("ascii")
    return raw + b" " if len(raw) & 1 else raw


class FileMetaWriter:
    """Writes File Meta Information for the instances of one presentation context."""

    def __init__(self, sop_class_uid: str, transfer_syntax_uid: str, calling_ae_title: str) -> None:
        self._head = _LONG.pack(2, 0x0001, b"OB", 2) + b"\0\1"
        self._head += _element(0x0002, b"UI", _uid(sop_class_uid))
        self._tail = _element(0x0010, b"UI", _uid(transfer_syntax_uid))
        self._tail += _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID))
        self._tail += _element(0x0013, b"SH", _text(IMPLEMENTATION_VERSION_NAME))
        self._tail += _element(0x0016, b"AE", _text(calling_ae_title))

    def encode(self, sop_instance_uid: str) -> bytes:
        """Return preamble, prefix and File Meta Information; the data set comes next."""
        body = self._head + _element(0x0003, b"UI", _uid(sop_instance_uid)) + self._tail
        return PREAMBLE + PREFIX + _element(0, b"UL", len(body).to_bytes(4, "little")) + body


def read_file_meta(path: str) -> FileMeta:
    """Read the File Meta Information of a Part 10 file.

    Raises:
        NotPart10Error: It has none, or it is damaged.
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(144)
        if len(start) < 144 or start[128:132] != PREFIX or start[132:136] != b"\2\0\0\0":
            raise NotPart10Error("no DICM prefix with a group length behind it")
        length = int.from_bytes(start[140:144], "little")
        if length > META_BYTES_MAX:
            raise NotPart10Error("File Meta Information of an impossible length")
        body = file.read(length)
    elements = _elements(body)
    sop_class, sop_instance, syntax = (
        elements.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")
        for element in (0x0002, 0x0003, 0x0010)
    )
    if not (is_uid(sop_class) and is_uid(sop_instance) and is_uid(syntax)):
        raise NotPart10Error("no SOP class, SOP instance or transfer syntax UID")
    return FileMeta(sop_class, sop_instance, syntax, 144 + length)


def _elements(body: bytes) -> dict[int, bytes]:
    elements: dict[int, bytes] = {}
    position = 0
    while position + 8 <= len(body):
        _, element, vr, length = _SHORT.unpack_from(body, position)
        position += 8
        if vr in _LONG_VRS:
            length = int.from_bytes(body[position : position + 4], "little")
            position += 4
        if position + length > len(body):
            raise NotPart10Error("an element is longer than File Meta Information")
        elements[element] = body[position : position + length]
        position += length
    return elements
