"""File Meta Information (PS3.10 7.1): written before what is received, read before sending."""

from dataclasses import dataclass
from struct import Struct

from adapter.domain.identifiers import is_uid
from adapter.protocols.dimse.user_information import OUR_CLASS_UID, OUR_VERSION_NAME

PREAMBLE = bytes(128)
"""Always zero: what a sender put there could be a program (PS3.10 7.5, CVE-2019-11687)."""
PREFIX = b"DICM"
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
        self._tail += _element(0x0012, b"UI", _uid(OUR_CLASS_UID))
        self._tail += _element(0x0013, b"SH", _text(OUR_VERSION_NAME))
        self._tail += _element(0x0016, b"AE", _text(calling_ae_title))

    def encode(self, sop_instance_uid: str) -> bytes:
        """Return preamble, prefix and File Meta Information; the data set comes next."""
        body = self._head + _element(0x0003, b"UI", _uid(sop_instance_uid)) + self._tail
        return PREAMBLE + PREFIX + _element(0, b"UL", len(body).to_bytes(4, "little")) + body


_META_BYTES_MAX = 4096
"""What we write before a data set takes about 400 bytes."""


def describe_stored(path: str) -> tuple[str, str]:
    """Return SOP Class UID and SOP Instance UID of a file that `FileMetaWriter` began.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(_META_BYTES_MAX)
    try:
        meta = read_file_meta(head)
    except NotPart10Error as error:
        raise ValueError(str(error)) from error
    return meta.sop_class_uid, meta.sop_instance_uid


def read_file_meta(head: bytes) -> FileMeta:
    """Read File Meta Information from the first bytes of a Part 10 file.

    The group length is not believed: the group ends where another one begins. UIDs that are
    missing are empty.

    Raises:
        NotPart10Error: It has none, it is damaged, or it says nothing of the transfer syntax.
    """
    if head[128:132] != PREFIX:
        raise NotPart10Error("no DICM prefix")
    elements: dict[int, bytes] = {}
    position = 132
    while position + 8 <= len(head):
        group, element, vr, length = _SHORT.unpack_from(head, position)
        if group != 2:
            break
        position += 8
        if vr in _LONG_VRS:
            length = int.from_bytes(head[position : position + 4], "little")
            position += 4
        elements[element] = head[position : position + length]
        position += length
    if position > len(head):
        raise NotPart10Error("File Meta Information of an impossible length")
    sop_class, sop_instance, syntax = (
        elements.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")
        for element in (0x0002, 0x0003, 0x0010)
    )
    if not is_uid(syntax):
        raise NotPart10Error("no Transfer Syntax UID")
    return FileMeta(sop_class, sop_instance, syntax, position)
